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
        guard case .transaction(let transaction, _, _) = completed.last else { return nil }
        return transaction
    }

    @Test func aTransactionComesWholeAtItsCommit() throws {
        var builder = SourceTransactionBuilder()
        let before = try feed(
            &builder,
            [
                StreamBytes.begin(7, final: 100, at: 55), StreamBytes.origin("o"),
                StreamBytes.type(5), StreamBytes.relation(1),
                StreamBytes.insert(1, [text("1"), .null]),
                StreamBytes.logical("pgcache.ddl", "x", transactional: true),
                StreamBytes.truncate([1]),
            ])
        #expect(before.isEmpty && builder.isInsideTransaction)
        let after = try feed(&builder, [StreamBytes.commit(100, end: 148)])
        guard case .transaction(let transaction, let shapes, let messages) = after.first else {
            Issue.record("no transaction")
            return
        }
        #expect(!builder.isInsideTransaction)
        #expect(
            transaction
                == SourceTransaction(
                    narrowID: 7, endLSN: LSN(148), commitMicroseconds: 55,
                    changes: [
                        RowChange(relation: OID(1), kind: .insert(new: [text("1"), .null])),
                        RowChange(relation: OID(1), kind: .truncate),
                    ]))
        #expect(shapes.map(\.oid) == [OID(1)])
        #expect(messages.map(\.transaction) == [7])
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

    @Test func messagesOfOthersAreDropped() throws {
        var builder = SourceTransactionBuilder()
        #expect(try feed(&builder, [StreamBytes.logical("outbox", "x", transactional: false)]).isEmpty)
        let ours = try feed(&builder, [StreamBytes.logical("pgcache", "x", transactional: false)])
        guard case .message(let message) = ours.first else {
            Issue.record("no message")
            return
        }
        #expect(message.transaction == nil && message.content == [120])
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

    @Test func messagesThatMayNotBeDroppedAreLimited() {
        var limits = SourceTransactionBuilder.Limits()
        limits.messagesMax = 2
        var builder = SourceTransactionBuilder(limits: limits)
        let message = StreamBytes.logical("pgcache", "x", transactional: true)
        #expect(throws: PgOutputError.self) {
            _ = try feed(
                &builder, [StreamBytes.begin(7, final: 100), message, message, message])
        }
    }
}
