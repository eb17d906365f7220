import CDC
import PGProtocol
import Testing

@testable import Cache

/// The first rows of a relation that is too large to be there.
@Suite struct FirstRowsTests {
    private static let int4 = OID(23)
    private static let relation = Relation(
        oid: OID(16_400), schema: "public", name: "post", kind: UInt8(ascii: "r"), persistence: UInt8(ascii: "p"),
        hasRowSecurity: false, isInherited: false, hasRules: false, replicaIdentity: UInt8(ascii: "d"),
        columns: ["id", "made", "body"].enumerated().map { position, name in
            Column(
                name: name, number: Int16(position + 1), type: int4, kind: .integer, isGenerated: false,
                isNotNull: position == 0)
        }, primaryKey: [0], identityColumns: [0], hasOnlyKnownTypes: true)
    private static let shape = RelationShape(
        oid: relation.oid, schema: "public", name: "post", replicaIdentity: UInt8(ascii: "d"),
        columns: ["id", "made", "body"].map {
            RelationShape.Column(name: $0, type: int4, typeModifier: -1, isKey: $0 == "id")
        })
    private static let all = [BoundUse(relation: relation.oid, constraints: [])]
    private static let latest = Ranking(use: 0, column: 1, isDescending: true)

    private static func first(_ limit: Int, offset: Int = 0, _ ranking: Ranking = latest) -> RankedRows {
        RankedRows(ranking: ranking, limit: limit, count: limit + offset)
    }

    private struct World {
        var tier: RowTier
        var plans: [PopulationPlan] = []

        init() {
            var limits = RowLimits()
            limits.spareRows = 10
            tier = RowTier(limits: limits, usesFIFO: false)
            tier.databaseReady()
            want()
            tier.schemaArrived(
                relation.oid,
                .table(
                    PoolTable(
                        relation: relation.oid, schema: "public", name: "post", columns: ["id", "made", "body"],
                        key: [0], statements: []), originBytes: .max))
            tier.poolCreated(relation.oid, tableOID: OID(30_000), columnTypes: [int4, int4, int4])
        }

        mutating func want(_ rows: RankedRows = first(5), _ uses: [BoundUse] = all) {
            tier.want(uses, first: rows, named: [relation], { _ in relation })
            turn()
        }

        mutating func turn(beat: UInt64 = 0) {
            tier.advance(
                reachedBeat: beat, isEverythingInDoubt: false, isInvisible: { _ in false }, shape: { _ in shape })
            while let command = tier.nextCommand() {
                if case .populate(let plan) = command { plans.append(plan) }
            }
        }

        /// What was asked for has come: rows with these values, as the origin orders them.
        mutating func load(_ values: [Int?]) throws {
            let next = plans.popLast()
            let plan = try #require(next)
            var reach = FirstRowsReach()
            for value in values { reach.append(value.map { Array("\($0)".utf8) }) }
            _ = tier.populationLoaded(plan.id, bytes: 10, reach: reach, nextBeat: 1)
            turn(beat: 1)
            for batch in tier.outstanding { tier.applied(batch.sequence, missing: []) }
            turn()
        }

        func bound(_ rows: RankedRows = first(5), _ uses: [BoundUse] = all) -> BoundConstraint? {
            tier.narrowed(uses, rows)?.proof.constraint
        }
    }

    private static func below(_ value: Int64) -> BoundConstraint {
        BoundConstraint(column: 1, test: .range(lower: .init(value: .integer(value), isInclusive: false), upper: nil))
    }

    @Test func theyAreCompleteInFrontOfTheLast() throws {
        var world = World()
        world.want()
        #expect(world.plans.isEmpty)
        world.want()
        let plan = try #require(world.plans.first)
        #expect(plan.condition == nil)
        #expect(plan.first == FirstRows(column: "made", order: #""made" DESC NULLS LAST"#, countMax: 15))
        #expect(world.bound() == nil)
        try world.load((0..<15).map { 100 - $0 })
        #expect(world.bound() == Self.below(86))
        // A use that says more has them, too; one in another order, or without, has not.
        let one = BoundUse(
            relation: Self.relation.oid, constraints: [BoundConstraint(column: 2, test: .among([.integer(1)]))])
        #expect(world.bound(Self.first(5), [one]) == Self.below(86))
        #expect(world.bound(Self.first(5, Ranking(use: 0, column: 1, isDescending: false))) == nil)
        #expect(world.bound(Self.first(5, Ranking(use: 0, column: 0, isDescending: true))) == nil)
        #expect(!world.tier.mayCover(Self.all, named: [Self.relation]))
    }

    /// Between the end of the copy and the watermark.
    @Test func whatIsAboutToBeThereIsNotLoadedOnceMore() throws {
        var world = World()
        world.want()
        world.want()
        let next = world.plans.popLast()
        let plan = try #require(next)
        var reach = FirstRowsReach()
        for value in 0..<15 { reach.append(Array("\(100 - value)".utf8)) }
        _ = world.tier.populationLoaded(plan.id, bytes: 10, reach: reach, nextBeat: 1)
        for _ in 0..<5 { world.want() }
        #expect(world.plans.isEmpty)
    }

    @Test func whatHasFewRowsIsThereAsAWhole() throws {
        var world = World()
        world.want()
        world.want()
        try world.load((0..<14).map { 100 - $0 })
        #expect(world.tier.mayCover(Self.all, named: [Self.relation]))
    }

    @Test func nullsBehindThem() throws {
        var world = World()
        world.want()
        world.want()
        try world.load((0..<12).map { 100 - $0 } + [nil, nil, nil])
        #expect(world.bound() == BoundConstraint(column: 1, test: .isNotNull))
    }

    /// The rows that are equal to the last may not all be there, and without them there are too few.
    @Test func equalOnes() throws {
        var world = World()
        world.want()
        world.want()
        try world.load((0..<4).map { 100 - $0 } + Array(repeating: 7, count: 11))
        #expect(world.bound() == nil)
        for _ in 0..<5 { world.want() }
        #expect(world.plans.isEmpty)
    }

    @Test func anAnswerThatDoesNotProveItselfBringsMore() throws {
        var world = World()
        world.want()
        world.want()
        try world.load((0..<15).map { 100 - $0 })
        let proof = try #require(world.tier.narrowed(Self.all, Self.first(5, offset: 5))?.proof)
        #expect(proof.first.limit == 5 && proof.first.count == 10)
        world.tier.proven(proof, false)
        // Not for as many rows as that, but for fewer.
        #expect(world.bound(Self.first(5, offset: 5)) == nil)
        #expect(world.bound(Self.first(5, offset: 6)) == nil)
        #expect(world.bound(Self.first(5, offset: 4)) != nil)
        for _ in 0..<3 { world.want(Self.first(5)) }
        #expect(world.plans.isEmpty)
        for _ in 0..<3 { world.want(Self.first(5, offset: 5)) }
        #expect(world.plans.count == 1)
        try world.load((0..<20).map { 90 - $0 })
        #expect(world.bound(Self.first(5, offset: 5)) == Self.below(71))
        #expect(world.tier.pools[Self.relation.oid]?.fragments.count == 1)
    }

    @Test func whatNeverHasEnoughIsGivenUp() throws {
        var world = World()
        for turn in 0..<20 {
            world.want()
            guard !world.plans.isEmpty else { continue }
            try world.load((0..<15).map { 1000 - turn * 20 - $0 })
            guard let proof = world.tier.narrowed(Self.all, Self.first(5))?.proof else { continue }
            world.tier.proven(proof, false)
        }
        world.want()
        #expect(world.plans.isEmpty)
        #expect(world.tier.counters.populations == UInt64(RowTier.failuresMax))
    }

    /// A long value that an update left alone is in the copy only where the row is.
    @Test func aChangeWithoutAllValuesMeanwhile() throws {
        var world = World()
        world.want()
        world.want()
        let values = RowValues(columns: [.value(.integer(1)), .value(.integer(3)), .unknown])
        let images: RowImage = [.text(Array("1".utf8)), .text(Array("3".utf8)), .unchanged]
        world.tier.received(
            SourceTransaction(
                narrowID: 7, endLSN: LSN(7), commitMicroseconds: 0,
                changes: [RowChange(relation: Self.relation.oid, kind: .update(old: .absent, new: images))]),
            [BoundChange(relation: Self.relation.oid, extent: .row(old: nil, oldKey: nil, new: values))]
        ) { _ in Self.shape }
        try world.load((0..<15).map { 100 - $0 })
        #expect(world.bound() == nil)
        #expect(world.tier.populations.isEmpty)
    }

    @Test func asManyAsAreAskedFor() {
        var reach = FirstRowsReach()
        for value in ["a", "b", "b", nil, nil] as [String?] { reach.append(value.map { Array($0.utf8) }) }
        #expect(reach.count == 5 && reach.countAhead == 3 && reach.last == nil)
    }
}
