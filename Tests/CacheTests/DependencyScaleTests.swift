import PGProtocol
import Testing

@testable import Cache

/// What a change looks at grows with the entries that it hits, not with those there are: with thousands of entries of
/// each kind a change that hits one looks at no more than at the height of a tree beside it.
@Suite struct DependencyScaleTests {
    enum Kind: CaseIterable {
        case key, otherColumnHeld, otherColumnFull, twoColumns, tenantAndRangeHeld, range, openRange, prefix, list,
        twoUses
    }
    private static let count = 10_000
    private static let columns = 4

    /// Column 0 is the key.
    private func uses(_ kind: Kind, _ number: Int) -> [BoundUse] {
        func equal(_ column: Int, _ values: Int...) -> BoundConstraint {
            BoundConstraint(column: column, test: .among(values.map { .integer(Int64($0)) }))
        }
        func range(_ column: Int, _ lower: Int, _ upper: Int?) -> BoundConstraint {
            BoundConstraint(
                column: column,
                test: .range(
                    lower: .init(value: .integer(Int64(lower)), isInclusive: true),
                    upper: upper.map { .init(value: .integer(Int64($0)), isInclusive: false) }))
        }
        func use(_ constraints: BoundConstraint...) -> BoundUse { BoundUse(relation: OID(100),
            constraints: constraints) }
        switch kind {
        case .key: return [use(equal(0, number))]
        case .otherColumnHeld, .otherColumnFull: return [use(equal(1, number))]
        case .twoColumns: return [use(equal(1, 7), equal(2, number))]
        case .tenantAndRangeHeld: return [use(equal(1, 7), range(2, 10 * number, 10 * number + 10))]
        case .range: return [use(range(2, 10 * number, 10 * number + 10))]
        // Only the last ones hold what is changed.
        case .openRange: return [use(range(2, 10 * number, nil))]
        case .prefix: return [use(BoundConstraint(column: 3,
            test: LikePattern.test(Array("user-\(number)-%".utf8)) ?? .isNull))]
        case .list: return [use(equal(1, 3 * number, 3 * number + 1, 3 * number + 2))]
        case .twoUses: return [use(equal(1, number)), use(range(2, 10 * number, 10 * number + 10))]
        }
    }

    /// An update that hits entry `number` and no other.
    private func change(_ kind: Kind, _ number: Int) -> BoundChange {
        func integer(_ value: Int) -> KnownValue { .value(.integer(Int64(value))) }
        var new = [integer(number), integer(-1), integer(-1), KnownValue.value(.bytes([]))]
        switch kind {
        case .key: break
        case .otherColumnHeld, .otherColumnFull: new[1] = integer(number)
        case .twoColumns: (new[1], new[2]) = (integer(7), integer(number))
        case .tenantAndRangeHeld: (new[1], new[2]) = (integer(7), integer(10 * number + 5))
        case .range, .twoUses: new[2] = integer(10 * number + 5)
        case .openRange: new[2] = integer(5)
        case .prefix: new[3] = .value(.bytes(Array("user-\(number)-x".utf8)))
        case .list: new[1] = integer(3 * number + 1)
        }
        let isKnown = [.otherColumnFull, .twoColumns, .range, .openRange, .prefix, .list, .twoUses].contains(kind)
        var old = isKnown ? new : [integer(number)] + Array(repeating: .unknown, count: Self.columns - 1)
        if isKnown { (old[1], old[2], old[3]) = (integer(-2), integer(-2), .null) }
        return BoundChange(
            relation: OID(100),
            extent: .row(
                old: RowValues(columns: old), oldKey: RowKey(first: .integer(Int64(number))),
                new: RowValues(columns: new)))
    }

    @Test(arguments: Kind.allCases)
    func aChangeLooksAtWhatItHits(_ kind: Kind) {
        let index = DependencyIndex()
        index.noteIdentity(of: Sample.relation())
        for number in 0..<Self.count {
            let id = EntryID(index: UInt32(number), generation: 0)
            index.register(id, uses: uses(kind, number))
            if kind == .otherColumnHeld || kind == .tenantAndRangeHeld {
                #expect(index.hold(id, keys: [RowKey(first: .integer(Int64(number)))]))
            }
        }
        let before = index.checks
        var hit: [EntryID] = []
        let numbers = kind == .openRange ? [0] : Array(stride(from: 3, to: Self.count, by: 97))
        for number in numbers {
            hit.removeAll(keepingCapacity: true)
            index.affected(by: change(kind, number), into: &hit)
            #expect(hit.map(\.index) == [UInt32(number)])
        }
        // A tree of 10 000 is at most 19 high, and two images search it, each down the left of its way as well.
        #expect(index.checks - before <= UInt64(numbers.count * 60))
        for number in 0..<Self.count { index.unregister(EntryID(index: UInt32(number), generation: 0)) }
        #expect(index.nodeCount == 0 && index.listCount == 0)
    }
}
