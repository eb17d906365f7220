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
    /// The rows with kind 1.
    private static let use = BoundUse(
        relation: oid, constraints: [BoundConstraint(column: 1, test: .among([.integer(1)]))])

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

    /// A tier that copies the rows of kind 1.
    private func copying() throws -> (RowTier, PopulationID) {
        var tier = RowTier(limits: RowLimits(), usesFIFO: false)
        tier.databaseReady()
        func want() { tier.want([Self.use], named: [Self.relation], { _ in Self.relation }) }
        want()
        tier.schemaArrived(
            Self.oid,
            .table(
                PoolTable(
                    relation: Self.oid, schema: "public", name: "t", columns: ["id", "kind", "body"], key: [0],
                    statements: []), originBytes: .max))
        tier.poolCreated(Self.oid, tableOID: OID(30_000), columnTypes: [Self.int4, Self.int4, Self.text])
        want()
        want()
        tier.advance(
            reachedBeat: 0, isEverythingInDoubt: false, isInvisible: { _ in false }, shape: { _ in Self.shape })
        let plan = commands(&tier).lazy.compactMap { command -> PopulationPlan? in
            if case .populate(let plan) = command { plan } else { nil }
        }.first
        return (tier, try #require(plan?.id))
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
}
