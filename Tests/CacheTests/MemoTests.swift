import PGProtocol
import Testing

@testable import Cache

@Suite struct MemoTests {
    @Test func anAnswerIsCapturedProvenAndServed() throws {
        let fixture = MemoFixture()
        let statement = try #require(fixture.insert("select"))
        let id = try #require(fixture.begin(statement, [1, 2, 3]))
        #expect(fixture.append(id, [10, 11, 12]))
        #expect(fixture.append(id, [13, 14]))
        #expect(fixture.find(statement, [1, 2, 3])?.pointee.state == .capturing)
        #expect(!fixture.memo.makeServable(id))
        #expect(fixture.memo.finishCapture(id, descriptionCount: 2))
        #expect(fixture.find(statement, [1, 2, 3])?.pointee.state == .captured)
        #expect(fixture.memo.makeServable(id))
        let entry = try #require(fixture.find(statement, [1, 2, 3]))
        #expect(entry.pointee.state == .servable)
        #expect(entry.pointee.description.bytes == [10, 11])
        #expect(entry.pointee.rows.bytes == [12, 13, 14])
        #expect(entry.pointee.capacity == 5)
        #expect(fixture.find(statement, [1, 2]) == nil)
        #expect(fixture.find(statement) == nil)
    }

    @Test func theEntryWithoutATailIsFoundWithoutAProbe() throws {
        let fixture = MemoFixture()
        let statement = try #require(fixture.insert("select"))
        #expect(fixture.memo.findSole(statement) == nil)
        let id = try #require(fixture.store(statement, bytes: [1]))
        #expect(fixture.memo.findSole(statement)?.pointee.id == id)
        #expect(fixture.find(statement)?.pointee.id == id)
        fixture.memo.invalidate(id)
        #expect(fixture.memo.findSole(statement) == nil)
    }

    @Test func equalHashesDoNotMakeEqualKeys() throws {
        let fixture = MemoFixture()
        let statements = try (0..<5).map { try #require(fixture.insert("select \($0)")) }
        for (position, statement) in statements.enumerated() {
            for tail in 0..<20 as Range<UInt8> {
                _ = try #require(
                    fixture.store(statement, [tail], bytes: [UInt8(position), tail], hash: 5))
            }
        }
        for (position, statement) in statements.enumerated() {
            for tail in 0..<20 as Range<UInt8> {
                let entry = try #require(fixture.find(statement, [tail], hash: 5))
                #expect(entry.pointee.rows.bytes == [UInt8(position), tail])
            }
            #expect(fixture.find(statement, [20], hash: 5) == nil)
        }
    }

    @Test func keysOfEveryLengthAreComparedToTheLastByte() throws {
        let fixture = MemoFixture()
        let statement = try #require(fixture.insert("select"))
        for length in 1..<40 {
            let tail = [UInt8](repeating: 7, count: length)
            _ = try #require(fixture.store(statement, tail, bytes: [1], hash: 3))
            #expect(fixture.find(statement, tail, hash: 3) != nil)
            for position in 0..<length {
                var other = tail
                other[position] = 8
                #expect(fixture.find(statement, other, hash: 3) == nil)
            }
        }
    }

    @Test func aSecondCaptureOfAKeyIsRefusedUntilTheFirstIsGone() throws {
        let fixture = MemoFixture()
        let statement = try #require(fixture.insert("select"))
        let first = try #require(fixture.begin(statement))
        #expect(fixture.begin(statement) == nil)
        fixture.memo.abandon(first)
        #expect(fixture.begin(statement) != nil)
        #expect(fixture.memo.counters.abandoned == 1)
    }

    @Test func anInvalidatedCaptureTakesNoMoreBytes() throws {
        let fixture = MemoFixture()
        let statement = try #require(fixture.insert("select"))
        let id = try #require(fixture.begin(statement))
        #expect(fixture.append(id, [1]))
        #expect(fixture.memo.invalidate(id))
        #expect(!fixture.append(id, [2]))
        #expect(!fixture.memo.finishCapture(id, descriptionCount: 0))
        #expect(!fixture.memo.invalidate(id))
        #expect(fixture.memo.bytes == 0)
        #expect(fixture.memo.counters.invalidations == 1)
    }

    @Test func whatGrowsOverTheLimitIsAbandonedAndCostsNothing() throws {
        let fixture = MemoFixture(entryBytesMax: 1000)
        let statement = try #require(fixture.insert("select"))
        let id = try #require(fixture.begin(statement))
        #expect(fixture.append(id, [UInt8](repeating: 1, count: 1000)))
        #expect(!fixture.append(id, [1]))
        #expect(fixture.memo[id] == nil)
        #expect(fixture.memo.bytes == 0)
        #expect(!fixture.append(id, [1]))
    }

    @Test func offMeansNoCapture() throws {
        let fixture = MemoFixture(bytesMax: 0)
        let statement = try #require(fixture.insert("select"))
        #expect(!fixture.memo.isOn)
        #expect(fixture.begin(statement) == nil)
    }

    @Test func aDeadEntryKeepsItsBytesWhileItIsRead() throws {
        let fixture = MemoFixture()
        let statement = try #require(fixture.insert("select"))
        let id = try #require(fixture.store(statement, bytes: [1, 2, 3]))
        fixture.memo.pin(id)
        fixture.memo.pin(id)
        fixture.memo.invalidate(id)
        #expect(fixture.find(statement) == nil)
        let again = try #require(fixture.store(statement, bytes: [4]))
        #expect(again != id)
        #expect(fixture.memo[id]?.pointee.rows.bytes == [1, 2, 3])
        fixture.memo.unpin(id)
        #expect(fixture.memo[id] != nil)
        fixture.memo.unpin(id)
        #expect(fixture.memo[id] == nil)
        fixture.memo.removeAll(nil)
        #expect(fixture.memo.bytes == 0)
    }

    @Test func theSlotOfAnEntryIsReusedUnderANewGeneration() throws {
        let fixture = MemoFixture()
        let statement = try #require(fixture.insert("select"))
        let first = try #require(fixture.store(statement, bytes: [1]))
        fixture.memo.invalidate(first)
        let second = try #require(fixture.store(statement, bytes: [2]))
        #expect(first.index == second.index)
        #expect(fixture.memo[first] == nil)
        #expect(!fixture.memo.invalidate(first))
        #expect(fixture.memo[second] != nil)
        #expect(fixture.memo[EntryID(index: 1000, generation: 0)] == nil)
    }

    @Test func allMemoryComesBack() throws {
        var random = Seeded(state: 3)
        let fixture = MemoFixture(bytesMax: 100_000)
        let statements = try (0..<5).map { try #require(fixture.insert("select \($0)")) }
        var pinned: [EntryID] = []
        for _ in 0..<5000 {
            let statement = statements[Int.random(in: 0..<5, using: &random)]
            let tail = [UInt8.random(in: 0...60, using: &random)]
            let uses = [
                BoundUse(
                    relation: OID(1),
                    constraints: [
                        BoundConstraint(
                            column: 0, test: .among([.integer(.random(in: 0..<9, using: &random))]))
                    ])
            ]
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                if let entry = fixture.find(statement, tail) {
                    fixture.memo.invalidate(entry.pointee.id)
                }
            case 1:
                if let entry = fixture.find(statement, tail), entry.pointee.state == .servable {
                    fixture.memo.pin(entry.pointee.id)
                    pinned.append(entry.pointee.id)
                }
            case 2:
                if let id = pinned.popLast() { fixture.memo.unpin(id) }
            case 3:
                if let id = fixture.begin(statement, tail, uses: uses) {
                    _ = fixture.append(id, [UInt8](repeating: 0, count: 300))
                }
            case 4:
                if let entry = fixture.find(statement, tail) {
                    fixture.memo.abandon(entry.pointee.id)
                }
            default:
                let count = Int.random(in: 0..<3000, using: &random)
                _ = fixture.store(
                    statement, tail, bytes: [UInt8](repeating: 1, count: count), uses: uses)
            }
            #expect(fixture.memo.bytes <= 100_000 + pinned.count * 3000)
        }
        fixture.memo.removeAll(nil)
        for id in pinned { fixture.memo.unpin(id) }
        #expect(fixture.memo.bytes == 0)
        #expect(fixture.memo.counters.entries == 0)
        #expect(fixture.memo.dependencies.nodeCount == 0)
        #expect(fixture.memo.dependencies.listCount == 0)
        for statement in statements {
            #expect(statement.pointee.firstEntry == SlotIndex.none)
            #expect(statement.pointee.soleEntry == SlotIndex.none)
        }
    }

    @Test func aChangeInvalidatesWhatItMatchesAndReadmitsIt() throws {
        let fixture = MemoFixture(admissionThreshold: 3)
        let statement = try #require(fixture.insert("select"))
        let use = BoundUse(
            relation: OID(9), constraints: [BoundConstraint(column: 0, test: .among([.integer(5)]))])
        let hit = try #require(fixture.store(statement, [1], bytes: [1], uses: [use]))
        let spared = try #require(
            fixture.store(
                statement, [2], bytes: [1],
                uses: [
                    BoundUse(
                        relation: OID(9),
                        constraints: [BoundConstraint(column: 0, test: .among([.integer(6)]))])
                ]))
        var invalidated: [EntryID] = []
        let row = RowValues(columns: [.value(.integer(5))])
        fixture.memo.invalidate(
            by: BoundChange(relation: OID(9), extent: .row(old: nil, oldKey: nil, new: row)), at: .zero,
            into: &invalidated)
        #expect(invalidated == [hit])
        #expect(fixture.memo[hit] == nil)
        #expect(fixture.memo[spared] != nil)
        let hash = withView([1]) { fixture.memo.hash(statement, tail: $0) }
        #expect(fixture.memo.admission.missed(hash))
    }
}
