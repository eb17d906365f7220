import CDC
import PGProtocol
import Testing

@testable import Cache

/// A change is written into the answers that show its row, and nobody sees that before the origin shows it.
@Suite struct MemoPatchTests {
    let origin = CannedOrigin.warm()
    let select = "select id, tenant from items where id = 5"
    let columns = ["id", "tenant"]

    private func row(_ values: String...) -> RowImage { values.map { .text(Array($0.utf8)) } }

    private func update(_ tenant: String, id: String = "5", old: String? = nil) -> RowChange {
        let before: RowChange.OldImage = old.map { .key([.text(Array($0.utf8)), .null, .null]) } ?? .absent
        return RowChange(relation: CannedOrigin.items, kind: .update(old: before, new: row(id, tenant, "0")))
    }

    private func insert(_ tenant: String) -> RowChange {
        RowChange(relation: CannedOrigin.items, kind: .insert(new: row("5", tenant, "0")))
    }

    private var delete: RowChange {
        RowChange(relation: CannedOrigin.items, kind: .delete(old: .key([.text([0x35]), .null, .null])))
    }

    /// An answer that is served: what a new session gets of it.
    private func caches(_ rows: [[String?]] = [["5", "1"]]) {
        origin.client().misses(select, rows, columns: columns)
        origin.passes()
        #expect(answer() == self.rows(rows))
    }

    private func rows(_ rows: [[String?]]) -> [UInt8] {
        Wire.rows(rows, columns: columns) + Wire.ready()
    }

    private func answer() -> [UInt8]? {
        let client = origin.client()
        return client.sends(Wire.query(select)) == ["hit"] ? client.takeReceivedBytes() : nil
    }

    private func reasons() -> [ForwardReason] {
        let client = origin.client()
        return client.reasons { client.sends(Wire.query(select)) }
    }

    private var entries: Int { origin.store.figures.entries }

    // MARK: - When it is seen

    /// [T2] The stream is ahead of what the origin shows: who has read the new row here may read the old one there.
    @Test func t2WhatIsPatchedIsServedWhenASnapshotShowsTheTransaction() {
        caches()
        origin.receives([update("2")], transaction: 950)
        #expect(reasons() == [.notYetServable])
        origin.beat(0, snapshot: "950:960:950")
        #expect(reasons() == [.notYetServable])
        // Others that are running do not matter, and neither does the position: W is behind the change already.
        origin.beat(1 << 40, snapshot: "940:960:940")
        #expect(answer() == rows([["5", "2"]]))
        #expect(origin.store.figures.patches == 1 && origin.store.counters.invalidations == 0)
    }

    /// Nobody waits for what nobody reads.
    @Test func aReaderHurriesTheBeat() {
        caches()
        origin.receives([update("2")], transaction: 950)
        #expect(origin.store.wantsBeat == (true, false))
        #expect(reasons() == [.notYetServable])
        #expect(origin.store.wantsBeat == (true, true))
    }

    @Test func t2TheLastOfSeveralTransactionsCounts() {
        caches()
        origin.receives([update("2"), update("3")], transaction: 950)
        origin.receives([update("4")], transaction: 951)
        origin.beat(0, snapshot: "951:960:951")
        #expect(reasons() == [.notYetServable])
        origin.beat(0, snapshot: "960:960:")
        #expect(answer() == rows([["5", "4"]]))
        #expect(origin.store.figures.patches == 3)
    }

    /// [T4] An answer may be later than a change that it is given: the changes in between make it right again.
    @Test(arguments: [true, false])
    func t4WhatWasCapturedAMomentAgoWaitsForBoth(isProvenFirst: Bool) {
        origin.client().misses(select, [["5", "3"]], columns: columns)
        origin.receives([update("2")], transaction: 950)
        origin.receives([update("3")], transaction: 951)
        let position = origin.store.watermark.value + 500
        origin.beat(position, snapshot: isProvenFirst ? "960:960:" : "950:960:950,951")
        #expect(reasons() == [.notYetServable])
        origin.store.watermarkAdvanced(LSN(position))
        if !isProvenFirst {
            #expect(reasons() == [.notYetServable])
            origin.beat(position, snapshot: "960:960:")
        }
        #expect(answer() == rows([["5", "3"]]))
    }

    /// [S6] What a follower waited for was the leader's answer, not what has become of it.
    @Test func s6AFollowerDoesNotGetWhatWasPatchedBehindItsLeader() {
        let leader = origin.client()
        let follower = origin.client()
        leader.sends(Wire.query(select))
        #expect(follower.sends(Wire.query(select)) == ["park"])
        leader.hears(rows([["5", "1"]]))
        #expect(origin.store.nextWoken() == follower.session.number)
        follower.session.woken()
        origin.receives([update("2")], transaction: 950)
        #expect(follower.reasons { follower.decides() } == [.notYetServable])
    }

    /// [T7] A slot that goes on where it was has the proof yet to come; one that is lost empties everything.
    @Test(arguments: [true, false])
    func t7TheStreamIsLostBeforeTheProof(mustEmpty: Bool) {
        caches()
        origin.receives([update("2")], transaction: 950)
        origin.store.streamLost(mustEmpty: mustEmpty)
        origin.store.streamBecameLive(origin.store.watermark)
        #expect(entries == (mustEmpty ? 0 : 1))
        if !mustEmpty { #expect(reasons() == [.notYetServable]) }
        origin.beat(0, snapshot: "960:960:")
        #expect(answer() == (mustEmpty ? nil : rows([["5", "2"]])))
    }

    // MARK: - What becomes of the answer

    @Test func rowsComeAndGo() {
        caches()
        for (change, left) in [(delete, []), (insert("7"), [["5", "7"]]), (update("8"), [["5", "8"]])] {
            origin.receives([change])
            origin.beat(0)
            #expect(answer() == rows(left))
        }
        origin.receives([delete, insert("9")])
        origin.beat(0)
        #expect(answer() == rows([["5", "9"]]))
        #expect(origin.store.counters.invalidations == 0)
    }

    /// A key that changes, a whole relation, and what does not fit what is stored.
    @Test func whatIsNotCertainIsInvalidated() {
        let changes = [
            update("1", id: "6", old: "5"), insert("7"), RowChange(relation: CannedOrigin.items, kind: .truncate),
            RowChange(relation: CannedOrigin.items, kind: .update(old: .absent, new: row("5") + [.binary([0]), .null])),
        ]
        for (number, change) in changes.enumerated() {
            caches()
            origin.receives([change])
            #expect(entries == 0)
            #expect(origin.store.counters.invalidations == number + 1)
            origin.beat(0)
        }
    }

    @Test func aPatchedAnswerIsInvalidatedLikeAnyOther() {
        caches()
        origin.receives([update("2")], transaction: 950)
        origin.receives([update("2", id: "6", old: "5")], transaction: 951)
        #expect(entries == 0)
        origin.beat(0, snapshot: "960:960:")
        caches([["5", "3"]])
        // The proof of what an earlier entry in its place took in is none for this one.
        origin.receives([update("4")], transaction: 961)
        origin.beat(0, snapshot: "961:962:961")
        #expect(reasons() == [.notYetServable])
    }

    /// The bytes that a client is reading stay as they are.
    @Test func whatIsBeingReadIsNotWrittenInto() throws {
        caches()
        let id = try #require(entry())
        origin.store.pin(id)
        origin.receives([update("2")])
        #expect(entries == 0 && origin.store.figures.patches == 0)
        #expect(origin.store.bytes(id, describes: true).bytes + Wire.ready() == rows([["5", "1"]]))
        origin.store.unpin(id.packed)
        origin.beat(0)
        caches([["5", "2"]])
    }

    private func entry() -> EntryID? {
        let memo = origin.store.memo
        return (0..<memo.storage.pointee.used).map { memo.pointer($0).pointee }.first { $0.isLive }?.id
    }

    @Test func onlyTheEntryOfTheRowIsPatched() {
        let other = "select id, tenant from items where id = 6"
        caches()
        origin.client().misses(other, [["6", "1"]], columns: columns)
        origin.passes()
        origin.receives([update("2")], transaction: 950)
        #expect(origin.client().sends(Wire.query(other)) == ["hit"])
        #expect(reasons() == [.notYetServable])
    }

    /// An Execute with a row limit ends otherwise: its answer is nobody's to write.
    @Test func anAnswerWithARowLimitIsInvalidated() {
        let client = origin.client()
        let unit = Wire.parse(select) + Wire.bind() + Wire.describe("P") + Wire.execute(limit: 1) + Wire.sync
        client.sends(unit)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([], columns: columns) + Wire.ready())
        origin.passes()
        #expect(entries == 1)
        origin.receives([insert("2")])
        #expect(entries == 0)
    }
}

/// What a change makes of the bytes of an answer.
@Suite struct RowPatchTests {
    private struct Field {
        var number: Int16
        var type: UInt32
        var table: UInt32 = 100
        var format = BindTail.Format.text
    }
    private static let id = Field(number: 1, type: 23)
    private static let a = Field(number: 3, type: 20)
    private static let name = Field(number: 4, type: 25)

    private func patched(
        _ fields: [Field], _ before: [String?]?, _ kind: RowChange.Kind, _ relation: Relation = Sample.relation()
    ) throws -> [UInt8]? {
        let mapping = try #require(RowMapping(relation, Sample.shape(relation)))
        let change = RowChange(relation: relation.oid, kind: kind)
        guard let patch = RowPatch(change, mapping.bind(change), of: 1, relation, mapping) else { return nil }
        let rows = (before.map { Wire.dataRow($0) } ?? []) + Wire.commandComplete("SELECT \(before == nil ? 0 : 1)")
        return try withView(rows) { rows in
            try patch.rows(
                rows,
                fields.map {
                    ResultField(table: OID($0.table), column: $0.number, type: OID($0.type), format: $0.format)
                })
        }
    }

    private func update(_ name: String?, old: OldImage = .absent, id: Int = 7) -> RowChange.Kind {
        .update(old: old, new: Sample.image(id: id, a: 1, name: name))
    }
    private typealias OldImage = RowChange.OldImage

    private func one(_ values: String?...) -> [UInt8] { Wire.dataRow(values) + Wire.commandComplete("SELECT 1") }
    private let none = Wire.commandComplete("SELECT 0")

    @Test func columnsAreFoundByTheirNumbers() throws {
        #expect(try patched([Self.name, Self.id], ["x", "7"], update("new")) == one("new", "7"))
        #expect(try patched([Self.name, Self.name, Self.a], ["x", "x", "0"], update(nil)) == one(nil, nil, "1"))
        #expect(try patched([], [], update("new")) == one())
    }

    @Test func rowsComeAndGo() throws {
        let image = Sample.image(id: 7, a: 1, name: "new")
        #expect(try patched([Self.name], nil, .insert(new: image)) == one("new"))
        #expect(try patched([Self.name], ["x"], .delete(old: .key(image))) == none)
        #expect(try patched([Self.name], ["x"], .delete(old: .full(image)), full) == none)
        // What is stored is of another moment.
        #expect(try patched([Self.name], ["x"], .insert(new: image)) == nil)
        #expect(try patched([Self.name], nil, .delete(old: .key(image))) == nil)
        #expect(try patched([Self.name], nil, update("new")) == nil)
    }

    /// An UPDATE leaves out what is stored out of line and did not change: the answer has it.
    @Test func unchangedValuesAreTakenFromTheAnswer() throws {
        var image = Sample.image(id: 7, a: 1, name: nil)
        image[2] = .unchanged
        #expect(try patched([Self.name, Self.a], ["x", "0"], .update(old: .absent, new: image)) == one("x", "1"))
        #expect(try patched([Self.name, Self.a], [nil, "0"], .update(old: .absent, new: image)) == one(nil, "1"))
        #expect(try patched([Self.name], nil, .insert(new: image)) == nil)
    }

    private var full: Relation {
        Sample.relation(identity: UInt8(ascii: "f"), identityColumns: [0, 1, 2, 3])
    }

    @Test func theKeyMustBeKnownAndStay() throws {
        let image = Sample.image(id: 6, a: 1, name: "x")
        #expect(try patched([Self.name], ["x"], update("new", old: .key(image))) == nil)
        #expect(try patched([Self.name], ["x"], update("new", old: .full(image)), full) == nil)
        #expect(try patched([Self.name], ["x"], update("new", old: .full(image), id: 6), full) == one("new"))
        // Identified by another index than the primary key.
        let loose = Sample.relation(identity: UInt8(ascii: "i"), identityColumns: [1])
        #expect(try patched([Self.name], ["x"], update("new"), loose) == nil)
        #expect(try patched([Self.name], ["x"], update("new"), Sample.relation(primaryKey: [])) == nil)
        #expect(try patched([Self.name], ["x"], .truncate) == nil)
    }

    @Test func onlyPlainColumnsInTextAreWritten() throws {
        let wrong = [
            // A computed value, another table's, a system column, one that is cast, a generated one, a type that
            // settings print, the binary format.
            Field(number: 0, type: 25, table: 0), Field(number: 4, type: 25, table: 101), Field(number: -6, type: 26),
            Field(number: 4, type: 1043), Field(number: 6, type: 20), Field(number: 5, type: 17),
            Field(number: 4, type: 25, format: .binary),
        ]
        for field in wrong { #expect(try patched([field], ["x"], update("new")) == nil) }
        // A row that is gone shows nothing.
        let gone = RowChange.Kind.delete(old: .key(Sample.image(id: 7, a: 1, name: nil)))
        #expect(try patched(wrong, wrong.map { _ in "x" }, gone) == none)
    }

    @Test func answersOfAnotherFormAreLeft() throws {
        let relation = Sample.relation()
        let mapping = try #require(RowMapping(relation, Sample.shape(relation)))
        let change = RowChange(relation: relation.oid, kind: update("new"))
        let patch = try #require(RowPatch(change, mapping.bind(change), of: 1, relation, mapping))
        let fields = [ResultField(table: OID(100), column: 4, type: OID(25), format: .text)]
        let tag = Wire.commandComplete("SELECT 1")
        let strange = [
            Wire.dataRow(["x"]) + Wire.portalSuspended, Wire.dataRow(["x"]) + Wire.dataRow(["y"]) + tag,
            Wire.dataRow(["x", "y"]) + tag, Wire.dataRow(["x"]) + tag + Wire.noData,
        ]
        for bytes in strange { #expect(try withView(bytes) { try patch.rows($0, fields) } == nil) }
        for bytes in [[], [0x44], Wire.dataRow(["x"]), [0x44, 0, 0, 0, 0]] {
            #expect(throws: ProtocolError.self) { try withView(bytes) { try patch.rows($0, fields) } }
        }
    }

    @Test func aReadOfThisRowByItsKey() throws {
        let relation = Sample.relation(identityColumns: [0, 2], primaryKey: [2, 0])
        let mapping = try #require(RowMapping(relation, Sample.shape(relation)))
        let change = RowChange(relation: relation.oid, kind: .insert(new: Sample.image(id: 7, a: 1, name: "x")))
        let patch = try #require(RowPatch(change, mapping.bind(change), of: 1, relation, mapping))
        func use(_ tests: (Int, [Value])..., relation: UInt32 = 100) -> BoundUse {
            BoundUse(
                relation: OID(relation), constraints: tests.map { BoundConstraint(column: $0, test: .among($1)) })
        }
        let id = (0, [Value.integer(7)])
        let name = (2, [Value.bytes([0x78])])
        #expect(patch.isWhatIsRead(by: [use(id, name)]))
        #expect(!patch.isWhatIsRead(by: [use((0, [.integer(8)]), name)]))
        #expect(!patch.isWhatIsRead(by: [use(id)]))
        #expect(!patch.isWhatIsRead(by: [use((0, [.integer(7), .integer(8)]), name)]))
        #expect(!patch.isWhatIsRead(by: [use(id, id, name)]))
        #expect(!patch.isWhatIsRead(by: [use(id, name, relation: 101)]))
        #expect(!patch.isWhatIsRead(by: [use(id, name), use(id, name)]))
        #expect(!patch.isWhatIsRead(by: []))
    }
}
