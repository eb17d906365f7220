import PGProtocol
import Testing

@testable import Cache

@Suite struct EvictionTests {
    /// A memo with room for exactly four entries of 1000 bytes.
    private func full(_ policy: EvictionPolicy) throws -> (
        MemoFixture, UnsafeMutablePointer<Statement>, [EntryID]
    ) {
        let probe = MemoFixture()
        let any = try #require(probe.insert("select"))
        _ = try #require(probe.store(any, [0], bytes: Self.answer))
        let fixture = MemoFixture(bytesMax: 4 * probe.memo.bytes + 200, policy: policy)
        let statement = try #require(fixture.insert("select"))
        let ids = try (0..<4 as Range<UInt8>).map {
            try #require(fixture.store(statement, [$0], bytes: Self.answer))
        }
        #expect(fixture.memo.counters.evictions == 0)
        return (fixture, statement, ids)
    }
    private static let answer = [UInt8](repeating: 1, count: 1000)

    @Test func clockSparesWhatWasFound() throws {
        let (fixture, statement, ids) = try full(.clock)
        _ = fixture.find(statement, [0])
        _ = try #require(fixture.store(statement, [9], bytes: Self.answer))
        #expect(fixture.memo[ids[0]] != nil)
        #expect(fixture.memo[ids[1]] == nil)
        // Its second chance is used up unless it is found again.
        _ = fixture.store(statement, [10], bytes: Self.answer)
        _ = fixture.store(statement, [11], bytes: Self.answer)
        _ = fixture.store(statement, [12], bytes: Self.answer)
        #expect(fixture.memo[ids[0]] == nil)
    }

    @Test func fifoTakesTheOldestWhateverWasFound() throws {
        let (fixture, statement, ids) = try full(.fifo)
        _ = fixture.find(statement, [0])
        _ = try #require(fixture.store(statement, [9], bytes: Self.answer))
        #expect(fixture.memo[ids[0]] == nil)
        #expect(fixture.memo[ids[1]] != nil)
    }

    @Test(arguments: [EvictionPolicy.clock, .fifo])
    func pinsAndCapturesAreNeverEvicted(_ policy: EvictionPolicy) throws {
        let (fixture, statement, ids) = try full(policy)
        ids.forEach(fixture.memo.pin)
        #expect(fixture.store(statement, [9], bytes: Self.answer) == nil)
        #expect(ids.allSatisfy { fixture.memo[$0]?.pointee.state == .servable })
        fixture.memo.unpin(ids[2])
        #expect(fixture.store(statement, [9], bytes: Self.answer) != nil)
        #expect(fixture.memo[ids[2]] == nil)

        let (other, another, _) = try full(policy)
        other.memo.removeAll(nil)
        let captures = try (0..<4 as Range<UInt8>).map { try #require(other.begin(another, [$0])) }
        for id in captures { #expect(other.append(id, Self.answer)) }
        // The room is all theirs: who comes now goes without.
        #expect(other.store(another, [9], bytes: Self.answer + Self.answer) == nil)
        #expect(captures.allSatisfy { other.memo[$0]?.pointee.state == .capturing })
    }

    @Test func aSmallerBoundTakesEffectAtOnce() throws {
        let (fixture, _, _) = try full(.clock)
        fixture.memo.setBytesMax(fixture.memo.bytes / 2)
        #expect(fixture.memo.counters.entries == 2)
        fixture.memo.setBytesMax(0)
        #expect(fixture.memo.counters.entries == 0)
        #expect(fixture.memo.bytes == 0)
    }

    @Test func aMemoFullOfPopularEntriesStillEvicts() throws {
        let fixture = MemoFixture(bytesMax: 1_000_000)
        let statement = try #require(fixture.insert("select"))
        for number in 0..<20_000 as Range<UInt32> {
            let tail = withUnsafeBytes(of: number, Array.init)
            _ = try #require(fixture.store(statement, tail, bytes: [1, 2, 3]))
            _ = fixture.find(statement, tail)
        }
        #expect(fixture.memo.bytes <= 1_000_000)
        #expect(fixture.memo.counters.evictions > 10_000)
    }
}
