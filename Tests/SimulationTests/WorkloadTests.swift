import Testing

@testable import Simulation

/// What clients are going to do.
@Suite struct WorkloadTests {
    static func workload(_ seed: UInt64, statements: Int = 2000) -> Workload {
        var parameters = Parameters(seed: seed)
        parameters.statementsPerClient = statements
        if seed >= 5 {
            parameters.settingsPerMille = 100
            parameters.blocksPerMille = 100
            parameters.mappersPerMille = 200
        }
        return Workload(parameters)
    }

    @Test func equalSeedsGiveEqualPlans() {
        #expect(Self.workload(3).plans == Self.workload(3).plans)
        #expect(Self.workload(3).plan(1) != Self.workload(4).plan(1))
        #expect(Self.workload(3).plan(1).steps != Self.workload(3).plan(2).steps)
    }

    @Test func textsOfAPoolAreDistinct() {
        for seed in 0..<20 as Range<UInt64> {
            let pool = Self.workload(seed).pool
            // Worlds with settings read events, too.
            #expect(pool.count == Parameters(seed: 0).poolSize + (seed < 5 ? 0 : 6))
            #expect(Set(pool.map { Statement.select($0.select).sql }).count == pool.count)
            for pooled in pool {
                let types = Statement.select(pooled.select).parameterTypes
                #expect(pooled.choices.allSatisfy { $0.count == types.count } && !pooled.choices.isEmpty)
            }
        }
    }

    @Test func aPoolUsesEveryPartOfSelect() {
        let pool = (0..<5 as Range<UInt64>).flatMap { Self.workload($0).pool }.map(\.select)
        #expect(pool.contains { $0.join?.kind == .inner } && pool.contains { $0.join?.kind == .left })
        #expect(pool.contains { !($0.join?.conditions.isEmpty ?? true) })
        #expect(pool.contains { $0.limit != nil } && pool.contains { $0.isOrdered && $0.limit == nil })
        let texts = pool.map { Statement.select($0).sql }
        for part in ["count(*)", "1000 /", " in (", "is null", "is not null", "<>", ">=", " < ", "$1", "$2", " and "] {
            #expect(texts.contains { $0.contains(part) }, "\(part)")
        }
    }

    @Test func readsAndWritesAreMixedAsDrawn() {
        for seed in 0..<5 as Range<UInt64> {
            let workload = Self.workload(seed)
            #expect((600...970).contains(workload.readsPerMille))
            let statements = workload.plan(1).steps.flatMap(\.action.statements)
            let reads = statements.filter { $0.statement.returnsRows || $0.statement == .nonsense }.count
            // Transactions and transfers write more than the rest.
            let share = reads * 1000 / statements.count
            #expect(abs(share - workload.readsPerMille) < 150, "\(share) of \(workload.readsPerMille)")
        }
    }

    /// The statements of a step, in groups that happen together or not at all.
    static func units(_ step: Step) -> [[BoundStatement]] {
        switch step.action {
        case .pipeline(let list, syncsEach: false): [list]
        case .transaction(let block): [block.statements]
        // What is left is rolled back.
        case .leave(_, let list, _, inBlock: true): [list.filter { !$0.statement.movesMoney }]
        default: step.action.statements.map { [$0] }
        }
    }

    @Test func everyUnitKeepsTheSums() {
        for seed in 0..<10 as Range<UInt64> {
            for unit in Self.workload(seed).plan(1).steps.flatMap(Self.units) {
                var balance: Int64 = 0
                for bound in unit.map(\.inlined) {
                    switch bound.statement {
                    case .update(let update):
                        for case .add(let column, .constant(.int(let amount))) in update.assignments {
                            #expect(update.table == Table.account && column == 2)
                            balance += amount
                        }
                        for case .set(let column, _) in update.assignments {
                            #expect(
                                column != 2 || ![Table.account, Table.entry].contains(update.table),
                                "\(bound.statement.sql)")
                            #expect(column != 0)
                        }
                    case .insert(let insert): expectBalanced(insert)
                    case .delete(let delete): expectBalanced(delete)
                    case .truncate(let tables): #expect(tables == [Table.entry])
                    default: break
                    }
                }
                #expect(balance == 0)
            }
        }
    }

    private func expectBalanced(_ insert: Insert) {
        guard [Table.account, Table.entry].contains(insert.table) else { return }
        var sum: Int64 = 0
        for row in insert.rows {
            guard case .constant(.int(let amount)) = row[2] else {
                Issue.record("an amount that is none")
                continue
            }
            sum += amount
        }
        #expect(sum == 0)
    }

    private func expectBalanced(_ delete: Delete) {
        guard [Table.account, Table.entry].contains(delete.table) else { return }
        guard let condition = delete.conditions.first else { return }
        switch condition.test {
        case .among(let ids): #expect(delete.table == Table.entry && ids.count == 2)
        case .equals(.constant(.int(let id))): #expect(delete.table == Table.account && id > 12)
        default: Issue.record("\(Statement.delete(delete).sql)")
        }
    }

    /// A sum that is read between the halves of a transfer, by who makes it, would rightly be another.
    @Test func nothingComesBetweenTheHalvesOfATransfer() {
        for seed in 0..<10 as Range<UInt64> {
            for unit in Self.workload(seed).plan(1).steps.flatMap(Self.units) {
                let places = unit.indices.filter { unit[$0].statement.movesMoney }
                #expect(places.count % 2 == 0)
                for half in stride(from: 0, to: places.count - 1, by: 2) {
                    #expect(places[half + 1] == places[half] + 1)
                }
            }
        }
    }

    @Test func whoVanishesHoldsNoLocks() {
        for seed in 0..<10 as Range<UInt64> {
            for step in Self.workload(seed).plan(1).steps {
                if case .leave(.vanish, _, _, let inBlock) = step.action { #expect(!inBlock) }
            }
        }
    }

    @Test func inliningUndoesLifting() {
        for bound in Self.workload(5).plan(1).steps.flatMap(\.action.statements) {
            let inlined = bound.inlined
            #expect(inlined.parameters.isEmpty && !inlined.statement.sql.contains("$"))
            #expect(inlined.lifted.inlined == inlined)
        }
    }
}
