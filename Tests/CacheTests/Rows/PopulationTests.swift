import CDC
import PGProtocol
import Testing

@testable import Cache

/// What a population begins with: what its copy may not see is applied again, and nothing else [T5].
@Suite struct PopulationTests {
    private static let relation = Sample.relation()
    private static let mapping = RowMapping(relation, Sample.shape())
    private let whole = [BoundUse(relation: relation.oid, constraints: [])]

    /// The table is there, and empty.
    private func ready() -> RowTier {
        var tier = RowTier(limits: RowLimits(), usesFIFO: false)
        tier.databaseReady()
        want(&tier)
        #expect(tier.takeWantedSchema() == Self.relation.oid)
        let table = PoolTable(
            relation: Self.relation.oid, schema: "public", name: "t", columns: ["id", "a", "name", "blob"], key: [0],
            statements: [])
        tier.schemaArrived(Self.relation.oid, .table(table, originBytes: 0))
        tier.poolCreated(Self.relation.oid, tableOID: OID(1), columnTypes: Self.relation.columns.map(\.type))
        _ = commands(&tier)
        return tier
    }

    private func want(_ tier: inout RowTier) { tier.want(whole, named: [Self.relation]) { _ in Self.relation } }

    private func commands(_ tier: inout RowTier) -> [RowCommand] {
        var commands: [RowCommand] = []
        while let command = tier.nextCommand() { commands.append(command) }
        return commands
    }

    private func transaction(_ number: UInt32, _ id: Int) -> SourceTransaction {
        SourceTransaction(
            narrowID: number, endLSN: LSN(UInt64(number)), commitMicroseconds: 0,
            changes: [
                RowChange(relation: Self.relation.oid, kind: .insert(new: Sample.image(id: id, a: 1, name: "x")))
            ])
    }
    private func receive(_ tier: inout RowTier, _ transaction: SourceTransaction) throws {
        let mapping = try #require(Self.mapping)
        tier.received(transaction, transaction.changes.map { mapping.bind($0) }) { _ in Sample.shape() }
    }

    /// What is sent when it may begin: the kinds of commands.
    private func begun(_ tier: inout RowTier, isInvisible: Bool) -> [String] {
        want(&tier)
        tier.advance(reachedBeat: 0, isEverythingInDoubt: false, isInvisible: { _ in isInvisible }) { _ in
            Sample.shape()
        }
        return commands(&tier).map { command in
            switch command {
            case .populate: "populate"
            case .apply(let batch): "apply \(batch.operations.count)"
            default: "\(command)"
            }
        }
    }

    @Test func whatTheCopyMayNotSeeIsAppliedAgain() throws {
        var tier = ready()
        try receive(&tier, transaction(1, 7))
        #expect(begun(&tier, isInvisible: true) == ["apply 1", "populate"])
    }

    @Test func whatItSeesIsNot() throws {
        // Transaction 1 is of something else and keeps what came behind it.
        var tier = ready()
        tier.received(
            SourceTransaction(
                narrowID: 1, endLSN: LSN(1), commitMicroseconds: 0,
                changes: [RowChange(relation: OID(9), kind: .truncate)]),
            [BoundChange(relation: OID(9), extent: .whole)]) { _ in nil }
        try receive(&tier, transaction(2, 7))
        tier.proven({ $0 == 2 }, isAllVisible: false)
        #expect(begun(&tier, isInvisible: false) == ["populate"])
    }

    @Test func whatCameWithoutACacheDatabaseIsWaitedFor() throws {
        var tier = ready()
        tier.missed(transaction(1, 7))
        #expect(begun(&tier, isInvisible: true).isEmpty)
        #expect(begun(&tier, isInvisible: false) == ["populate"])
    }
}
