import CDC
import PGProtocol
import Testing

@testable import Cache

@Suite struct DependencyIndexTests {
    private func id(_ index: Int) -> EntryID { EntryID(index: UInt32(index), generation: 0) }

    private func use(_ constraints: BoundConstraint..., relation: UInt32 = 100) -> BoundUse {
        BoundUse(relation: OID(relation), constraints: constraints)
    }
    private func equal(_ column: Int, _ values: Int64...) -> BoundConstraint {
        BoundConstraint(column: column, test: .among(values.map { .integer($0) }))
    }
    private func range(_ column: Int, _ lower: Int64?, _ upper: Int64?) -> BoundConstraint {
        BoundConstraint(
            column: column,
            test: .range(
                lower: lower.map { .init(value: .integer($0), isInclusive: true) },
                upper: upper.map { .init(value: .integer($0), isInclusive: false) }))
    }
    private func row(_ values: Int64?...) -> RowValues {
        RowValues(columns: values.map { $0.map { .value(.integer($0)) } ?? .null })
    }

    private func affected(_ index: DependencyIndex, _ change: BoundChange) -> [Int] {
        var ids: [EntryID] = []
        index.affected(by: change, into: &ids)
        #expect(Set(ids).count == ids.count)
        return ids.map { Int($0.index) }.sorted()
    }
    private func insert(_ new: RowValues, relation: UInt32 = 100) -> BoundChange {
        BoundChange(relation: OID(relation), extent: .row(old: nil, oldKey: nil, new: new))
    }
    /// An UPDATE under the default replica identity: column 0 is the key.
    private func update(key: Int64, to new: RowValues) -> BoundChange {
        var old = [KnownValue](repeating: .unknown, count: new.columns.count)
        old[0] = .value(.integer(key))
        return BoundChange(
            relation: OID(100),
            extent: .row(
                old: RowValues(columns: old), oldKey: RowKey([.integer(key)]), new: new))
    }

    @Test func equalityFindsItsValueAlone() {
        let index = DependencyIndex()
        for value in 0..<100 { index.register(id(value), uses: [use(equal(0, Int64(value)))]) }
        #expect(affected(index, insert(row(7, 1))) == [7])
        #expect(affected(index, insert(row(100, 1))) == [])
        #expect(affected(index, insert(row(nil, 1))) == [])
        #expect(affected(index, insert(row(7, 1), relation: 101)) == [])
    }

    @Test func everyConstraintHasToHold() {
        let index = DependencyIndex()
        index.register(id(1), uses: [use(equal(0, 5), range(1, 10, 20))])
        #expect(affected(index, insert(row(5, 10))) == [1])
        #expect(affected(index, insert(row(5, 20))) == [])
        #expect(affected(index, insert(row(5, nil))) == [])
        #expect(affected(index, insert(RowValues(columns: [.unknown, .value(.integer(15))]))) == [1])
        #expect(affected(index, insert(RowValues(columns: [.unknown, .value(.integer(9))]))) == [])
        #expect(affected(index, insert(RowValues(columns: [.value(.integer(5)), .notNull]))) == [1])
    }

    @Test func aListOfValuesIsFoundByEach() {
        let index = DependencyIndex()
        index.register(id(1), uses: [use(equal(0, 5, 6, 5))])
        #expect(affected(index, insert(row(5))) == [1])
        #expect(affected(index, insert(row(6))) == [1])
        #expect(affected(index, insert(row(7))) == [])
        let many = (0..<Int64(Filing.combinationsMax + 1)).map { Value.integer($0) }
        index.register(id(2), uses: [use(BoundConstraint(column: 0, test: .among(many)))])
        #expect(affected(index, insert(row(200))) == [2])
        #expect(affected(index, insert(row(300))) == [])
    }

    @Test func nullTestsAreChecked() {
        let index = DependencyIndex()
        index.register(id(1), uses: [use(BoundConstraint(column: 0, test: .isNull))])
        index.register(id(2), uses: [use(BoundConstraint(column: 0, test: .isNotNull))])
        #expect(affected(index, insert(row(nil))) == [1])
        #expect(affected(index, insert(row(5))) == [2])
        #expect(affected(index, insert(RowValues(columns: [.notNull]))) == [2])
        #expect(affected(index, insert(RowValues(columns: [.unknown]))) == [1, 2])
    }

    @Test func anEntryWithSeveralUsesIsReportedOnce() {
        let index = DependencyIndex()
        index.register(
            id(1), uses: [use(equal(0, 5)), use(range(1, 0, 10)), use(), use(relation: 200)])
        #expect(affected(index, insert(row(5, 5))) == [1])
        #expect(affected(index, insert(row(6, 50))) == [1])
        #expect(affected(index, insert(row(6, 50), relation: 200)) == [1])
    }

    @Test func truncateFindsAllOfTheRelation() {
        let index = DependencyIndex()
        index.register(id(1), uses: [use(equal(0, 5))])
        index.register(id(2), uses: [use(range(1, 0, 10))])
        index.register(id(3), uses: [use()])
        index.register(id(4), uses: [use(relation: 200)])
        index.register(id(5), uses: [use(equal(1, 5))])
        #expect(index.hold(id(5), keys: []))
        #expect(affected(index, BoundChange(relation: OID(100), extent: .whole)) == [1, 2, 3, 5])
    }

    @Test func withoutAnOldImageEveryValueOfTheColumnMayHaveBeenLeft() {
        let index = DependencyIndex()
        index.register(id(1), uses: [use(equal(1, 5))])
        index.register(id(2), uses: [use(equal(1, 6))])
        index.register(id(3), uses: [use(equal(0, 77), equal(1, 6))])
        index.noteIdentity(of: Sample.relation())
        index.register(id(4), uses: [use(equal(1, 6), equal(0, 78))])
        #expect(affected(index, update(key: 78, to: row(78, 9))) == [1, 2, 4])
        #expect(affected(index, update(key: 1, to: row(1, 9))) == [1, 2])
    }

    @Test func heldKeysTellWhoHadTheRow() throws {
        let index = DependencyIndex()
        for (entry, constraint) in [equal(1, 5), equal(1, 6), range(1, 5, 7)].enumerated() {
            index.register(id(entry), uses: [use(constraint)])
        }
        index.register(id(3), uses: [use(BoundConstraint(column: 1, test: .isNotNull))])
        let keys = try [1, 2].map { try #require(RowKey([.integer($0)])) }
        #expect(index.hold(id(0), keys: [keys[0]]))
        #expect(index.hold(id(1), keys: [keys[1]]))
        #expect(index.hold(id(2), keys: keys))
        #expect(index.hold(id(3), keys: []))
        #expect(!index.hold(id(3), keys: []))
        // Out of every constraint: it was in who holds it.
        #expect(affected(index, update(key: 1, to: row(1, nil))) == [0, 2])
        #expect(affected(index, update(key: 3, to: row(3, nil))) == [])
        // Into a constraint: found by the new image whoever holds it.
        #expect(affected(index, update(key: 3, to: row(3, 6))) == [1, 2, 3])
        // The key itself changes.
        #expect(affected(index, update(key: 2, to: row(9, nil))) == [1, 2])
        // An old image without the key makes nobody exempt.
        let blind = BoundChange(
            relation: OID(100),
            extent: .row(
                old: RowValues(columns: [.unknown, .unknown]), oldKey: nil, new: row(9, nil)))
        #expect(affected(index, blind) == [0, 1, 2, 3])
        for entry in 0..<4 { index.unregister(id(entry)) }
        #expect(index.nodeCount == 0 && index.listCount == 0 && index.entryCount == 0)
    }

    @Test func usesOfOneRelationHoldKeysTogether() throws {
        let index = DependencyIndex()
        index.register(id(1), uses: [use(equal(0, 5)), use(equal(1, 5))])
        index.register(id(2), uses: [use(equal(0, 5)), use(equal(1, 5), relation: 200)])
        #expect(index.hold(id(1), keys: [try #require(RowKey([.integer(7)]))]))
        #expect(!index.hold(id(2), keys: []))
        #expect(!index.hold(id(3), keys: []))
        #expect(affected(index, update(key: 7, to: row(7, 9))) == [1])
        #expect(affected(index, update(key: 8, to: row(8, 9))) == [])
        #expect(affected(index, update(key: 8, to: row(8, 5))) == [1])
    }

    @Test func aChangeOfColumnsThatAreNotReadAltersNothing() throws {
        let index = DependencyIndex()
        var narrow = use(equal(0, 5))
        narrow.reads = ColumnMask([0, 2])
        index.register(id(1), uses: [narrow])
        index.register(id(2), uses: [use(equal(0, 5))])
        index.register(id(3), uses: [narrow, use(equal(0, 5))])
        var counted = use(range(0, 1, 9))
        counted.reads = ColumnMask([0])
        index.register(id(4), uses: [counted])
        #expect(index.hold(id(4), keys: [try #require(RowKey([.integer(5)]))]))
        func change(_ columns: Int...) -> BoundChange {
            var change = update(key: 5, to: row(5, 1))
            change.changed = ColumnMask(columns)
            return change
        }
        #expect(affected(index, change(1)) == [2, 3])
        #expect(affected(index, change(2, 1)) == [1, 2, 3])
        #expect(affected(index, change(0)) == [1, 2, 3, 4])
        // What reads all is altered even so: rows may come in another order.
        #expect(affected(index, change()) == [2, 3])
        let nothing = BoundUse(relation: OID(100), constraints: [], reads: .none)
        #expect(!nothing.depends(on: ColumnMask([1])) && nothing.depends(on: .all))
        // A new row is read by whoever it matches.
        #expect(affected(index, insert(row(5, 1))) == [1, 2, 3, 4])
    }

    @Test func columnsBeyondTheMaskAreOne() {
        #expect(ColumnMask([70]).meets(ColumnMask([1000])) && ColumnMask([63]).meets(ColumnMask([64])))
        #expect(!ColumnMask([62]).meets(ColumnMask([63])) && !ColumnMask.none.meets(.all))
        #expect(ColumnMask(0..<100) == .all)
    }

    @Test func moreCabinetsThanAreKeptAreFiledBySingleColumns() {
        let index = DependencyIndex()
        var entry = 0
        for first in 0..<12 {
            for second in 0..<12 where second != first {
                index.register(id(entry), uses: [use(equal(first, 1), range(second, 0, 9))])
                entry += 1
            }
        }
        let hit = affected(index, insert(row(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)))
        #expect(hit == Array(0..<entry))
        #expect(affected(index, insert(row(2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2))) == [])
        for number in 0..<entry { index.unregister(id(number)) }
        #expect(index.nodeCount == 0 && index.listCount == 0)
    }

    @Test func aStaleIDForgetsNothing() {
        let index = DependencyIndex()
        index.register(EntryID(index: 1, generation: 4), uses: [use(equal(0, 5))])
        index.unregister(EntryID(index: 1, generation: 3))
        index.unregister(EntryID(index: 2, generation: 0))
        #expect(affected(index, insert(row(5))) == [1])
    }

    @Test func aChangeTouchesOnlyWhatItHits() {
        let index = DependencyIndex()
        index.noteIdentity(of: Sample.relation())
        for value in 0..<100_000 { index.register(id(value), uses: [use(equal(0, Int64(value)))]) }
        for value in 0..<1000 as Range<Int64> {
            #expect(affected(index, update(key: value, to: row(value, 1))) == [Int(value)])
        }
        // By the new image, and by the key of the old one.
        #expect(index.checks <= 2 * 1000)
        for value in 0..<100_000 { index.unregister(id(value)) }
        #expect(index.nodeCount == 0 && index.listCount == 0)
    }

    // MARK: Against models

    private func randomConstraint(_ random: inout Seeded) -> BoundConstraint {
        let column = Int.random(in: 0..<3, using: &random)
        func value() -> Int64 { .random(in: 0..<6, using: &random) }
        switch Int.random(in: 0..<9, using: &random) {
        case 8:
            let lower = value()
            return range(column, lower, lower + .random(in: 0..<4, using: &random))
        case 0..<4:
            let values = (0..<Int.random(in: 1...2, using: &random)).map { _ in Value.integer(value()) }
            return BoundConstraint(column: column, test: .among(values))
        case 4: return range(column, value(), nil)
        case 5: return range(column, nil, value())
        case 6: return BoundConstraint(column: column, test: .isNull)
        default: return BoundConstraint(column: column, test: .isNotNull)
        }
    }

    private func randomUse(_ random: inout Seeded) -> BoundUse {
        BoundUse(
            relation: OID(100 + UInt32.random(in: 0...1, using: &random)),
            constraints: (0..<Int.random(in: 0...3, using: &random)).map { _ in
                randomConstraint(&random)
            }, reads: Bool.random(using: &random) ? .all : randomColumns(&random))
    }

    private func randomColumns(_ random: inout Seeded) -> ColumnMask {
        ColumnMask((0..<3).filter { _ in Bool.random(using: &random) })
    }

    private func randomImage(_ random: inout Seeded) -> RowValues {
        RowValues(
            columns: (0..<3).map { _ in
                switch Int.random(in: 0..<6, using: &random) {
                case 0: .unknown
                case 1: .null
                case 2: .notNull
                default: .value(.integer(.random(in: 0..<6, using: &random)))
                }
            })
    }

    @Test func anyMixAgreesWithTryingEveryEntry() throws {
        var random = Seeded(state: 20)
        let index = DependencyIndex()
        index.noteIdentity(of: Sample.relation())
        var model: [Int: (uses: [BoundUse], keys: Set<RowKey>?)] = [:]
        for _ in 0..<6000 {
            let entry = Int.random(in: 0..<60, using: &random)
            if let known = model[entry] {
                let isOfOne = known.uses.allSatisfy { $0.relation == known.uses[0].relation }
                if isOfOne, known.keys == nil, Bool.random(using: &random) {
                    let keys = try (0..<3).map { _ in
                        try #require(RowKey([.integer(.random(in: 0..<6, using: &random))]))
                    }
                    #expect(index.hold(id(entry), keys: keys))
                    model[entry] = (known.uses, Set(keys))
                } else {
                    index.unregister(id(entry))
                    model[entry] = nil
                }
            } else {
                let uses = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                    randomUse(&random)
                }
                index.register(id(entry), uses: uses)
                model[entry] = (uses, nil)
            }
            let old = Bool.random(using: &random) ? randomImage(&random) : nil
            let new = Bool.random(using: &random) ? randomImage(&random) : nil
            let oldKey = old?.key([0])
            let isUpdate = old != nil && new != nil
            let change = BoundChange(
                relation: OID(100), extent: .row(old: old, oldKey: oldKey, new: new),
                changed: isUpdate && Bool.random(using: &random) ? randomColumns(&random) : .all)
            let expected = model.filter { _, entry in
                let uses = entry.uses.filter {
                    let isRead = $0.reads == .all || $0.reads.meets(change.changed)
                    return $0.relation == OID(100) && (change.changed == .all || isRead)
                }
                if let new, uses.contains(where: { $0.mayMatch(new) }) { return true }
                guard let old, !uses.isEmpty else { return false }
                if let oldKey, let keys = entry.keys { return keys.contains(oldKey) }
                return uses.contains { $0.mayMatch(old) }
            }
            #expect(affected(index, change) == expected.keys.sorted())
        }
        for entry in model.keys { index.unregister(id(entry)) }
        #expect(index.nodeCount == 0 && index.listCount == 0 && index.entryCount == 0)
    }

    /// A table of rows (id, a, name) that changes at random, and queries over it whose answers are
    /// known. Whatever changes an answer must be found, under each replica identity.
    @Test(arguments: [UInt8(ascii: "d"), UInt8(ascii: "f"), UInt8(ascii: "i")])
    func noChangeOfAnAnswerIsMissed(_ identity: UInt8) throws {
        let identityColumns = identity == UInt8(ascii: "d") ? [0]
            : identity == UInt8(ascii: "f") ? [0, 1, 2, 3, 4] : [2]
        let relation = Sample.relation(identity: identity, identityColumns: identityColumns)
        let mapping = try #require(RowMapping(relation, Sample.shape(relation)))
        var random = Seeded(state: UInt64(identity))
        let index = DependencyIndex()
        index.noteIdentity(of: relation)
        var table: [Int: (a: Int?, name: String?)] = [:]
        var queries: [(use: BoundUse, answer: [Int], isHeld: Bool)] = []

        func image(_ id: Int, _ row: (a: Int?, name: String?)) -> RowImage {
            Sample.image(id: id, a: row.a, name: row.name)
        }
        func answer(_ use: BoundUse) -> [Int] {
            func shown(_ column: Int, _ value: Int) -> Int { use.reads.meets(ColumnMask([column])) ? value : 0 }
            return table.filter { id, row in
                let values = RowValues(columns: [
                    .value(.integer(Int64(id))), row.a.map { .value(.integer(Int64($0))) } ?? .null,
                    row.name.map { Sample.bytes($0) } ?? .null,
                ])
                return use.mayMatch(values)
            }.map {
                shown(0, $0.key * 100) + shown(1, ($0.value.a ?? -1) * 10) + shown(2, $0.value.name?.count ?? -1)
            }.sorted()
        }
        func register(_ number: Int) throws {
            let use = queries[number].use
            queries[number].answer = answer(use)
            index.register(id(number), uses: [use])
            guard queries[number].isHeld else { return }
            let held = table.keys.filter { id in
                answerHolds(use, id)
            }
            let keys = try held.map { try #require(RowKey([.integer(Int64($0))])) }
            #expect(index.hold(id(number), keys: keys))
        }
        func answerHolds(_ use: BoundUse, _ id: Int) -> Bool {
            guard let row = table[id] else { return false }
            return use.mayMatch(
                RowValues(columns: [
                    .value(.integer(Int64(id))), row.a.map { .value(.integer(Int64($0))) } ?? .null,
                    row.name.map { Sample.bytes($0) } ?? .null,
                ]))
        }
        for _ in 0..<80 {
            var constraints = (0..<Int.random(in: 0...2, using: &random)).map { _ in
                randomConstraint(&random)
            }
            // Column 2 is text, with values of its own and no order.
            for position in constraints.indices where constraints[position].column == 2 {
                let name = Array(repeating: UInt8(ascii: "x"), count: .random(in: 0..<4, using: &random))
                if Bool.random(using: &random) || constraints[position].test != .isNull {
                    constraints[position].test = .among([.bytes(name)])
                }
            }
            let reads = [ColumnMask.all, ColumnMask([0]), ColumnMask([0, 1]), ColumnMask([1, 2]), .none]
            let shown = reads.randomElement(using: &random) ?? .all
            let use = BoundUse(
                relation: OID(100), constraints: constraints,
                reads: shown.union(ColumnMask(constraints.map(\.column))))
            // Keys are held by answers that show them.
            let isHeld = use.reads.meets(ColumnMask([0])) && Bool.random(using: &random)
            queries.append((use, [], isHeld))
        }
        for number in queries.indices { try register(number) }

        var found = 0
        var narrow = 0
        for _ in 0..<1500 {
            let key = Int.random(in: 0..<6, using: &random)
            let row = (
                a: Bool.random(using: &random) ? Int.random(in: 0..<6, using: &random) : nil,
                name: Bool.random(using: &random)
                    ? String(repeating: "x", count: .random(in: 0..<4, using: &random)) : nil
            )
            let kind: RowChange.Kind
            if let before = table[key] {
                let isDelete = Int.random(in: 0..<3, using: &random) == 0
                let moved = Int.random(in: 0..<6, using: &random)
                let after = isDelete || table[moved] != nil ? key : moved
                let keeps = switch identity {
                case UInt8(ascii: "d"): after == key
                case UInt8(ascii: "i"): row.name == before.name
                default: false
                }
                let old: RowChange.OldImage =
                    identity == UInt8(ascii: "f") ? .full(image(key, before))
                    : keeps && !isDelete ? .absent : .key(image(key, before))
                table[key] = nil
                if isDelete {
                    kind = .delete(old: old)
                } else {
                    table[after] = row
                    kind = .update(old: old, new: image(after, row))
                }
            } else {
                table[key] = row
                kind = .insert(new: image(key, row))
            }
            let change = mapping.bind(RowChange(relation: OID(100), kind: kind))
            if change.changed != .all { narrow += 1 }
            let hit = affected(index, change)
            found += hit.count
            for number in queries.indices where answer(queries[number].use) != queries[number].answer {
                #expect(hit.contains(number), "\(kind) changes \(queries[number])")
            }
            for number in hit {
                index.unregister(id(number))
                try register(number)
            }
        }
        #expect(found > 0 && narrow > 100)
    }
}
