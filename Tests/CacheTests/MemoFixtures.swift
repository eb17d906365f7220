import PGProtocol

@testable import Cache

/// Random numbers that are the same in every run (SplitMix64).
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A statement table and a memo over it, with the calls that the tests make all the time.
final class MemoFixture {
    let statements: StatementTable
    let memo: Memo

    init(
        bytesMax: Int = 1 << 24, entryBytesMax: Int = 1 << 20, policy: EvictionPolicy = .clock,
        admissionThreshold: Int = 1, statementsMax: Int = 1000, statementBytesMax: Int = 1 << 24
    ) {
        statements = StatementTable(countMax: statementsMax, bytesMax: statementBytesMax)
        memo = Memo(
            statements: statements, bytesMax: bytesMax, entryBytesMax: entryBytesMax, policy: policy,
            admissionThreshold: admissionThreshold)
    }

    func insert(
        _ sql: String, profile: UInt32 = 0, hash: UInt64? = nil
    ) -> UnsafeMutablePointer<Statement>? {
        let text = Array(sql.utf8)
        return withView(text + [0]) { key in
            statements.insert(
                profile: profile, key: key, textCount: text.count,
                hash: hash ?? statements.hash(profile: profile, key: key), evictingFrom: memo)
        }
    }

    func find(
        _ sql: String, profile: UInt32 = 0, hash: UInt64? = nil
    ) -> UnsafeMutablePointer<Statement>? {
        withView(Array(sql.utf8) + [0]) { key in
            statements.find(
                profile: profile, key: key,
                hash: hash ?? statements.hash(profile: profile, key: key))
        }
    }

    func begin(
        _ statement: UnsafeMutablePointer<Statement>, _ tail: [UInt8] = [], hash: UInt64? = nil,
        uses: [BoundUse] = []
    ) -> EntryID? {
        withView(tail) {
            memo.beginCapture(
                statement: statement.pointee.id, tail: $0,
                hash: hash ?? memo.hash(statement, tail: $0), uses: uses)
        }
    }

    func append(_ id: EntryID, _ bytes: [UInt8]) -> Bool {
        withView(bytes) { memo.append(id, $0) }
    }

    func find(
        _ statement: UnsafeMutablePointer<Statement>, _ tail: [UInt8] = [], hash: UInt64? = nil
    ) -> UnsafeMutablePointer<MemoEntry>? {
        withView(tail) {
            memo.find(statement.pointee.id, tail: $0, hash: hash ?? memo.hash(statement, tail: $0))
        }
    }

    /// A servable entry with these bytes; nil when the memo had no room.
    func store(
        _ statement: UnsafeMutablePointer<Statement>, _ tail: [UInt8] = [], bytes: [UInt8],
        hash: UInt64? = nil, uses: [BoundUse] = []
    ) -> EntryID? {
        guard let id = begin(statement, tail, hash: hash, uses: uses), append(id, bytes),
            memo.finishCapture(id, descriptionCount: 0), memo.makeServable(id)
        else { return nil }
        return id
    }
}
