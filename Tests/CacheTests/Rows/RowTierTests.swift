import CDC
import PGProtocol
import Testing

@testable import Cache

/// Populations and changes that cross each other.
@Suite struct RowTierTests {
    private static let oid = OID(16_400)
    private static let int4 = OID(23)
    private static let text = OID(25)
    private static let relation = Relation(
        oid: oid, schema: "public", name: "t", kind: UInt8(ascii: "r"), persistence: UInt8(ascii: "p"),
        hasRowSecurity: false, isInherited: false, hasRules: false, replicaIdentity: UInt8(ascii: "d"),
        columns: [
            Column(name: "id", number: 1, type: int4, kind: .integer, isGenerated: false, isNotNull: true),
            Column(name: "kind", number: 2, type: int4, kind: .integer, isGenerated: false, isNotNull: false),
            Column(name: "body", number: 3, type: text, kind: .text, isGenerated: false, isNotNull: false),
        ], primaryKey: [0], identityColumns: [0], hasOnlyKnownTypes: true)
    private static let shape = RelationShape(
        oid: oid, schema: "public", name: "t", replicaIdentity: UInt8(ascii: "d"),
        columns: [
            RelationShape.Column(name: "id", type: int4, typeModifier: -1, isKey: true),
            RelationShape.Column(name: "kind", type: int4, typeModifier: -1, isKey: false),
            RelationShape.Column(name: "body", type: text, typeModifier: -1, isKey: false),
        ])
    private func bytes(_ number: Int) -> [UInt8] { Array("\(number)".utf8) }

    /// Row `id` gets this kind; its long body is left alone.
    private func update(_ id: Int, kind: Int) -> (RowChange, BoundChange) {
        let new = RowValues(columns: [.value(.integer(Int64(id))), .value(.integer(Int64(kind))), .unknown])
        return (
            RowChange(
                relation: Self.oid,
                kind: .update(old: .absent, new: [.text(bytes(id)), .text(bytes(kind)), .unchanged])),
            BoundChange(relation: Self.oid, extent: .row(old: nil, oldKey: nil, new: new))
        )
    }

    /// Everything that was sent since.
    private func commands(_ tier: inout RowTier) -> [RowCommand] {
        var found: [RowCommand] = []
        while let command = tier.nextCommand() { found.append(command) }
        return found
    }

    private func receive(_ tier: inout RowTier, _ changes: [(RowChange, BoundChange)]) -> UInt64? {
        tier.received(
            SourceTransaction(narrowID: 7, endLSN: LSN(7), commitMicroseconds: 0, changes: changes.map(\.0)),
            changes.map(\.1)) { _ in Self.shape }
        return commands(&tier).compactMap { command in
            if case .apply(let batch) = command { batch.sequence } else { nil }
        }.last
    }

    /// A tier with a table that is too large to be there whole.
    private func ready(_ limits: RowLimits = RowLimits()) -> RowTier {
        var tier = RowTier(limits: limits, usesFIFO: false)
        tier.databaseReady()
        want(&tier)
        tier.schemaArrived(
            Self.oid,
            .table(
                PoolTable(
                    relation: Self.oid, schema: "public", name: "t", columns: ["id", "kind", "body"], key: [0],
                    statements: []), originBytes: .max))
        tier.poolCreated(Self.oid, tableOID: OID(30_000), columnTypes: [Self.int4, Self.int4, Self.text])
        return tier
    }

    /// A query about the rows of this kind has missed.
    private func want(_ tier: inout RowTier, kind: Int64 = 1) {
        tier.want([use(kind)], named: [Self.relation], { _ in Self.relation })
    }

    private func use(_ kind: Int64) -> BoundUse {
        BoundUse(relation: Self.oid, constraints: [BoundConstraint(column: 1, test: .among([.integer(kind)]))])
    }

    /// What begins to be copied.
    private func advance(_ tier: inout RowTier, beat: UInt64 = 0) -> [PopulationID] {
        tier.advance(
            reachedBeat: beat, isEverythingInDoubt: false, isInvisible: { _ in false }, shape: { _ in Self.shape })
        return commands(&tier).compactMap { command in
            if case .populate(let plan) = command { plan.id } else { nil }
        }
    }

    /// A tier that copies the rows of kind 1.
    private func copying() throws -> (RowTier, PopulationID) {
        var tier = ready()
        want(&tier)
        want(&tier)
        let id = try #require(advance(&tier).first)
        return (tier, id)
    }

    /// The copy has the row, so the pool need not have it.
    @Test func aLongValueThatTheCopyHolds() throws {
        var (tier, id) = try copying()
        let batch = try #require(receive(&tier, [update(5, kind: 1)]))
        tier.applied(batch, missing: [0])
        #expect(tier.populations[id] != nil)
    }

    /// A row leaves the fragment while it is copied, and comes back without its long value: what the copy has of it is
    /// from before, and the pool has nothing.
    @Test func aLongValueThatWentAndCameBack() throws {
        var (tier, id) = try copying()
        let batch = try #require(receive(&tier, [update(5, kind: 0), update(5, kind: 1)]))
        tier.applied(batch, missing: [1])
        #expect(tier.populations[id] == nil)
        #expect(tier.counters.givenUp == 1)
    }

    /// Where there are as many fragments as may be, what is missed once more than usual takes the place of what nobody
    /// has used lately.
    @Test func fragmentsThatComeTakeThePlaceOfOthers() throws {
        var limits = RowLimits()
        limits.fragmentsMax = 2
        var tier = ready(limits)
        func load(_ kind: Int64, misses: Int) {
            for _ in 0..<misses { want(&tier, kind: kind) }
            guard let id = advance(&tier).first else { return }
            _ = tier.populationLoaded(id, bytes: 100, nextBeat: 0)
            for case .merging(let sequence) in [advance(&tier)].compactMap({ _ in tier.populations[id]?.state }) {
                tier.applied(sequence, missing: [])
            }
        }
        func there() -> [Int64] {
            (1...4).filter { tier.mayCover([use($0)], named: [Self.relation]) }
        }
        load(1, misses: 2)
        load(2, misses: 2)
        #expect(there() == [1, 2])
        load(3, misses: 2)
        #expect(there() == [1, 2])
        load(3, misses: 1)
        #expect(there() == [2, 3])
        #expect(tier.counters.evictions == 1)
        // What was replaced has to be missed as often again. Nobody has asked for 2 since it was passed over.
        load(1, misses: 2)
        #expect(there() == [2, 3])
        load(1, misses: 1)
        #expect(there() == [1, 3])
    }
}
