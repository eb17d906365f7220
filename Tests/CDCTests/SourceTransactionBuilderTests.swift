import CDC
import PGProtocol
import Testing

@Suite struct SourceTransactionBuilderTests {
    private func text(_ value: String) -> ColumnImage { StreamBytes.text(value) }

    private func feed(
        _ builder: inout SourceTransactionBuilder, _ messages: [[UInt8]]
    ) throws -> [SourceTransactionBuilder.Completed] {
        var completed: [SourceTransactionBuilder.Completed] = []
        for bytes in messages {
            if let one = try bytes.withUnsafeBytes({ try builder.messageReceived(ByteView($0)) }) {
                completed.append(one)
            }
        }
        return completed
    }

    private func transaction(
        _ completed: [SourceTransactionBuilder.Completed]
    ) -> SourceTransaction? {
        completed.last?.transaction
    }

    @Test func aTransactionComesWholeAtItsCommit() throws {
        var builder = SourceTransactionBuilder()
        let before = try feed(
            &builder,
            [
                StreamBytes.begin(7, final: 100, at: 55), StreamBytes.origin("o"),
                StreamBytes.type(5), StreamBytes.relation(1),
                StreamBytes.insert(1, [text("1"), .null]),
                StreamBytes.logical("pgcache", "schema", transactional: true),
                StreamBytes.truncate([1]),
            ])
        #expect(before.isEmpty && builder.isInsideTransaction)
        let after = try feed(&builder, [StreamBytes.commit(100, end: 148)])
        let (transaction, shapes) = try #require(after.first)
        #expect(!builder.isInsideTransaction)
        #expect(
            transaction
                == SourceTransaction(
                    narrowID: 7, endLSN: LSN(148), commitMicroseconds: 55,
                    changes: [
                        RowChange(relation: OID(1), kind: .insert(new: [text("1"), .null])),
                        RowChange(relation: OID(1), kind: .truncate),
                    ], changesSchema: true))
        #expect(shapes.map(\.oid) == [OID(1)])
    }

    @Test func aDescriptionOutlivesItsTransaction() throws {
        var builder = SourceTransactionBuilder()
        let completed = try feed(
            &builder,
            [
                StreamBytes.begin(7, final: 100), StreamBytes.relation(1),
                StreamBytes.commit(100, end: 148), StreamBytes.begin(8, final: 200),
                StreamBytes.insert(1, [text("1"), .null]), StreamBytes.commit(200, end: 248),
            ])
        #expect(transaction(completed)?.changes.count == 1)
    }

    @Test func tooManyRowsOfARelationCountAsTruncated() throws {
        var limits = SourceTransactionBuilder.Limits()
        limits.rowChangesMax = 3
        var builder = SourceTransactionBuilder(limits: limits)
        var messages = [
            StreamBytes.begin(7, final: 100), StreamBytes.relation(1), StreamBytes.relation(2),
            StreamBytes.insert(2, [text("kept"), .null]),
        ]
        for _ in 0..<10 { messages.append(StreamBytes.insert(1, [text("1"), .null])) }
        messages += [StreamBytes.truncate([1]), StreamBytes.commit(100, end: 148)]
        let whole = try #require(transaction(try feed(&builder, messages)))
        #expect(whole.whollyChanged == [OID(1)])
        #expect(whole.changes.map(\.relation) == [OID(2)])
    }

    @Test func tooManyBytesCostTheLargestRelationItsRows() throws {
        var limits = SourceTransactionBuilder.Limits()
        limits.bytesMax = 2_000
        var builder = SourceTransactionBuilder(limits: limits)
        let large = text(String(repeating: "x", count: 800))
        let whole = try #require(
            transaction(
                try feed(
                    &builder,
                    [
                        StreamBytes.begin(7, final: 100), StreamBytes.relation(1),
                        StreamBytes.relation(2), StreamBytes.insert(1, [large, .null]),
                        StreamBytes.insert(1, [large, .null]),
                        StreamBytes.insert(2, [text("small"), .null]),
                        StreamBytes.insert(2, [text("small"), .null]),
                        StreamBytes.commit(100, end: 148),
                    ])))
        #expect(whole.whollyChanged == [OID(1)])
        #expect(whole.changes.count == 2)
    }

    @Test func aShapeThatChangesInsideATransactionSpoilsItsImages() throws {
        var builder = SourceTransactionBuilder()
        let whole = try #require(
            transaction(
                try feed(
                    &builder,
                    [
                        StreamBytes.begin(7, final: 100), StreamBytes.relation(1),
                        StreamBytes.insert(1, [text("1"), .null]), StreamBytes.relation(1),
                        StreamBytes.insert(1, [text("2"), .null]),
                        StreamBytes.relation(1, columns: ["id", "status", "more"]),
                        StreamBytes.insert(1, [text("3"), .null, .null]),
                        StreamBytes.commit(100, end: 148),
                    ])))
        #expect(whole.changes.isEmpty && whole.whollyChanged == [OID(1)])
    }

    /// Applications use such messages too, and what is not transactional may have been rolled back.
    @Test(arguments: [
        ("pgcache", "schema", true, true, false), ("pgcache", "publication", true, false, true),
        ("pgcache", "", true, true, false), ("pgcache", "\u{0}", true, true, false),
        ("pgcache", "schema", false, false, false), ("outbox", "schema", true, false, false),
        ("pgcache2", "schema", true, false, false), ("", "", true, false, false),
    ])
    func messages(
        prefix: String, content: String, isTransactional: Bool, schema: Bool, publications: Bool
    ) throws {
        var builder = SourceTransactionBuilder()
        let whole = try #require(
            transaction(
                try feed(
                    &builder,
                    [
                        StreamBytes.begin(7, final: 100),
                        StreamBytes.logical(prefix, content, transactional: isTransactional),
                        StreamBytes.commit(100, end: 148),
                    ])))
        #expect(whole.changesSchema == schema && whole.changesPublications == publications)
    }

    @Test func manyMessagesAreOneFact() throws {
        var builder = SourceTransactionBuilder()
        _ = try feed(&builder, [StreamBytes.begin(7, final: 100)])
        let message = StreamBytes.logical("pgcache", "schema", transactional: true)
        for _ in 0..<20_000 { _ = try feed(&builder, [message]) }
        let whole = try #require(transaction(try feed(&builder, [StreamBytes.commit(100, end: 148)])))
        #expect(whole.changesSchema && whole.changes.isEmpty)
    }

    @Test func aMessageOutsideOfAnyTransactionIsDropped() throws {
        var builder = SourceTransactionBuilder()
        #expect(try feed(&builder, [StreamBytes.logical("pgcache", "x", transactional: false)]).isEmpty)
    }

    @Test(arguments: [
        [StreamBytes.commit(100, end: 148)],
        [StreamBytes.begin(7, final: 100), StreamBytes.begin(8, final: 200)],
        [StreamBytes.begin(7, final: 100), StreamBytes.commit(99, end: 148)],
        [StreamBytes.begin(7, final: 100), StreamBytes.commit(100, end: 100)],
        [StreamBytes.begin(7, final: 100), StreamBytes.insert(1, [.null, .null])],
        [StreamBytes.begin(7, final: 100), StreamBytes.relation(1), StreamBytes.insert(1, [.null])],
        [StreamBytes.relation(1)], [StreamBytes.truncate([1])],
        [StreamBytes.logical("pgcache", "x", transactional: true)],
    ])
    func whatCannotBeIsAnError(messages: [[UInt8]]) {
        var builder = SourceTransactionBuilder()
        #expect(throws: PgOutputError.self) { _ = try feed(&builder, messages) }
    }
}
