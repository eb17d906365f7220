/// What the clients of a run do: a pool of SELECTs that they share, writes between them, and the ways of sending both.
///
/// Everything is drawn from the run's seed, a stream for each client: a client's plan is the same whatever others
/// there are.
struct Workload {
    private(set) var pool: [PooledSelect]
    /// Of a thousand statements.
    private(set) var readsPerMille: Int
    private let writes: WriteTemplates
    private let parameters: Parameters
    private let sessions: SessionTemplates

    init(_ parameters: Parameters) {
        precondition(parameters.rowsPerTable >= 2, "money moves between two accounts")
        self.parameters = parameters
        readsPerMille = parameters.readsPerMille
        writes = WriteTemplates(rows: parameters.rowsPerTable, noteBytes: parameters.noteBytes,
            favourite: parameters.favouriteTable)
        var templates = SelectTemplates(
            Random(seed: parameters.seed, "pool"), rows: parameters.rowsPerTable)
        pool = templates.pool(
            parameters.poolSize, byKeyAlone: parameters.leaning == .keys,
            prefersLimits: parameters.hasRows && parameters.isMemoOff && parameters.tableBytesMax == 0)
        sessions = SessionTemplates(parameters)
        if parameters.settingsPerMille > 0 {
            pool.insert(contentsOf: sessions.pool(parameters.poolSize > 8 ? 6 : 3), at: 1)
        }
    }

    /// The plans of all clients.
    var plans: [ClientPlan] { (1...max(1, parameters.clients)).map { plan($0) } }

    /// A plan with at least `statementsPerClient` statements.
    func plan(_ number: Int, newcomersPerMille: Int = 0) -> ClientPlan {
        if [.rows, .newcomers].contains(parameters.leaning), number % 3 != 0, readsPerMille < 1000 {
            // Whoever writes bypasses the cache for a while: most only read.
            var reading = self
            reading.readsPerMille = 1000
            return reading.plan(number, newcomersPerMille: parameters.newcomersPerMille)
        }
        var random = Random(seed: parameters.seed, "plan", number)
        var plan = ClientPlan(number: number)
        var habits = Random(seed: parameters.seed, "habits", number)
        if parameters.settingsPerMille > 0 { plan.login = habits.pick(Login.all) }
        let isMapper = habits.chance(parameters.mappersPerMille)
        var count = 0
        while count < parameters.statementsPerClient {
            if newcomersPerMille > 0, random.chance(newcomersPerMille) {
                plan.steps.append(
                    Step(seed: random.next(), action: .leave(.terminate, during: [], after: 0, inBlock: false)))
            }
            for action in leaningActions(&random) ?? actions(isMapper, &random) {
                let step = Step(seed: random.next(), action: action)
                count += step.action.statements.count
                plan.steps.append(step)
            }
        }
        if parameters.changesCatalog { CatalogWorkload(parameters, number).mix(into: &plan) }
        return plan
    }

    /// What worlds that lean on a rule have more than others; nil for what all have.
    private func leaningActions(_ random: inout Random) -> [Step.Action]? {
        switch parameters.leaning {
        case .losses where random.chance(50): [.think(UInt64(random.below(1_000)) * millisecond)]
        case .mistakes where random.chance(100): sessions.mistake(&random)
        case .notifications where random.chance(100): sessions.channel({ read(&$0) }, &random)
        case .keys where random.chance(100):
            [.readSlowly((0..<4).map { _ in read(&random) }, pause: UInt64(random.within(1...20)) * millisecond)]
        case .losses, .mistakes, .notifications, .keys, .rights, .rows, .newcomers, .joins, nil: nil
        }
    }

    /// What worlds with settings, blocks or mappers have more than others.
    private func actions(_ isMapper: Bool, _ random: inout Random) -> [Step.Action] {
        let parts = parameters.settingsPerMille + parameters.blocksPerMille
        guard parts > 0 || isMapper else { return [action(&random)] }
        if isMapper, random.chance(700) {
            return sessions.request({ read(&$0) }, { writes.draw(&$0) }, &random)
        }
        let part = random.below(1000)
        if part < parameters.settingsPerMille { return sessions.settings({ read(&$0) }, &random) }
        if part < parts {
            if random.chance(150) { return [sessions.failing({ read(&$0) }, write(&random), &random)] }
            let block = sessions.block({ together(1, writing: $0.chance(300), &$0) }, &random)
            return [.transaction(block)]
        }
        return [action(&random)]
    }

    /// Steps that read everything there is, by both protocols: for a time without faults and writes.
    func reading(_ number: Int) -> [Step] {
        var random = Random(seed: parameters.seed, "reading", number)
        var steps: [Step] = []
        for table in Table.all.indices where Table.all[table].trigger == nil {
            let all = Table.all[table].columns.indices.map { ColumnReference(relation: 0, column: $0) }
            let select = Select(table: table, output: .columns(all))
            steps.append(Step(seed: random.next(), action: .query(BoundStatement(.select(select)))))
        }
        for pooled in pool {
            for values in pooled.choices {
                let bound = BoundStatement(.select(pooled.select), values)
                let action: Step.Action = random.chance(500) ? .query(bound) : .pipeline([bound], syncsEach: true)
                steps.append(Step(seed: random.next(), action: action))
            }
        }
        return steps
    }

    // MARK: Statements

    /// Some of the pool are asked for much more often than others.
    private func read(_ random: inout Random) -> BoundStatement {
        if random.chance(10) { return BoundStatement(.ping) }
        // What nobody can read may be anything: it empties the cache.
        if parameters.leaning == nil, random.chance(5) { return BoundStatement(.nonsense) }
        let place = min(random.below(pool.count), random.below(pool.count))
        return pool[place].bound(&random)
    }

    /// A read, or a write that is right alone.
    private func single(_ random: inout Random) -> BoundStatement {
        random.chance(readsPerMille) ? read(&random) : write(&random)
    }
    private func write(_ random: inout Random) -> BoundStatement {
        if parameters.settingsPerMille > 0, random.chance(350) { return sessions.eventWrite(&random) }
        return writes.single(&random)
    }

    /// Reads and whole changes, for one transaction.
    private func together(_ count: Int, writing: Bool, _ random: inout Random) -> [BoundStatement] {
        var list: [BoundStatement] = []
        while list.count < count {
            let writes = writing ? !random.chance(500) : !random.chance(readsPerMille)
            list += writes ? self.writes.draw(&random) : [read(&random)]
        }
        return list
    }

    private func several(_ range: ClosedRange<Int>, _ random: inout Random) -> [BoundStatement] {
        (0..<random.within(range)).map { _ in single(&random) }
    }

    // MARK: Actions

    private func action(_ random: inout Random) -> Step.Action {
        switch random.below(1000) {
        case ..<60:
            // Now and then long enough for what was lost to come back.
            return .think(UInt64(random.below(random.chance(250) ? 600_000 : 4_000)) * microsecond)
        case ..<340: return .query(single(&random))
        case ..<680: return .execute(single(&random))
        case ..<740:
            return .pipeline(together(random.within(2...8), writing: false, &random), syncsEach: false)
        case ..<800: return .pipeline(several(2...8, &random), syncsEach: true)
        case ..<850: return .queries(several(2...5, &random))
        case ..<880 where isWriting(&random) && writes.isWanted(Table.account, &random):
            return .pipeline(writes.transfer(&random), syncsEach: false)
        case ..<940 where isWriting(&random): return .transaction(block(&random))
        case ..<940: return .execute(single(&random))
        case ..<955:
            return .prepareEarly(
                read(&random), between: several(0...3, &random), pause: UInt64(random.below(10_000)) * microsecond)
        case ..<965:
            return .readSlowly(several(1...6, &random), pause: UInt64(random.within(1...50)) * millisecond)
        case ..<980: return .sendInTwo(single(&random), pause: UInt64(random.below(3000)) * microsecond)
        case ..<988: return .cancel(single(&random), after: UInt64(random.below(400)) * microsecond)
        default: return leaving(&random)
        }
    }

    /// Whole changes are as rare as others.
    private func isWriting(_ random: inout Random) -> Bool { random.chance(min(1000, 4 * (1000 - readsPerMille))) }

    private func block(_ random: inout Random) -> TransactionBlock {
        TransactionBlock(
            begin: random.chance(250) ? .repeatableRead : .readCommitted,
            statements: together(random.within(1...4), writing: random.chance(700), &random),
            commits: !random.chance(200))
    }

    private func leaving(_ random: inout Random) -> Step.Action {
        let after = UInt64(random.below(500)) * microsecond
        let inBlock = random.chance(300)
        let during = inBlock ? together(2, writing: true, &random) : several(0...3, &random)
        // Who vanishes in a block would hold its locks for ever.
        let leaving: Step.Leaving =
            switch random.below(10) {
            case ..<4: .terminate
            case ..<7: .end
            case 7 where !inBlock && random.chance(500): .vanish
            default: .reset
            }
        return .leave(leaving, during: during, after: after, inBlock: inBlock)
    }
}
