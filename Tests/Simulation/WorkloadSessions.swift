/// Draws what clients do with their sessions: settings that they change and take back, transaction blocks of every
/// form, and the habits of pools and mappers of objects.
///
/// Whole changes stay together, so money is as safe as elsewhere; a savepoint stands around one or more of them.
struct SessionTemplates {
    let parameters: Parameters
    private let rows: Int

    init(_ parameters: Parameters) {
        self.parameters = parameters
        rows = parameters.rowsPerTable
    }

    // MARK: Events, whose text depends on settings

    private func own(_ column: Int) -> ColumnReference { ColumnReference(relation: 0, column: column) }
    private func key(_ id: Int) -> Condition {
        Condition(column: own(0), test: .equals(.constant(.int(Int64(id)))))
    }
    private func table(_ random: inout Random) -> Int {
        random.chance(750) ? Table.event : Table.archivedEvent
    }

    /// SELECTs over both tables of events.
    func pool(_ count: Int) -> [PooledSelect] {
        var random = Random(seed: parameters.seed, "pool of events")
        var pool: [PooledSelect] = []
        while pool.count < count {
            let table = pool.isEmpty ? Table.event : table(&random)
            var select = Select(table: table, output: .columns([0, 2, 3].map(own)))
            switch random.below(5) {
            case 0: select.conditions = [key(random.within(1...rows))]
            case 1:
                select.conditions = [
                    Condition(column: own(1), test: .equals(.constant(.int(Int64(random.within(1...3))))))
                ]
            case 2: select.output = .columns([0, 1, 2, 3].map(own))
            case 3: select.output = .columns([0, 3].map(own))
            default: select.isOrdered = true
            }
            var pooled = PooledSelect(select: select, choices: [[]])
            if !select.conditions.isEmpty, random.chance(400) {
                let lifted = BoundStatement(.select(select)).lifted
                guard case .select(let withParameters) = lifted.statement else { continue }
                pooled = PooledSelect(select: withParameters, choices: [lifted.parameters])
            }
            if !pool.contains(where: { $0.select == pooled.select }) { pool.append(pooled) }
        }
        return pool
    }

    static func marks(_ random: inout Random) -> Datum {
        .bytes(random.pick([[], [1, 2], [0x41, 0x5C], [0xFF, 0x00, 0x62]]))
    }
    static func days(_ random: inout Random) -> Datum { .date(Int32(random.within(0...365))) }

    func eventWrite(_ random: inout Random) -> BoundStatement {
        let table = table(&random)
        let id = random.within(1...rows + 3)
        let mark = Self.marks(&random)
        let day = Self.days(&random)
        let statement: Statement
        switch random.below(10) {
        case ..<3:
            let row: [Datum] = [.int(Int64(id)), .int(Int64(random.within(1...3))), mark, day]
            statement = .insert(Insert(table: table, rows: [row.map { .constant($0) }]))
        case ..<5: statement = .delete(Delete(table: table, conditions: [key(id)]))
        default:
            var assignments: [Update.Assignment] = [.set(3, .constant(day))]
            if random.chance(500) { assignments.append(.set(2, .constant(mark))) }
            statement = .update(Update(table: table, assignments: assignments, conditions: [key(id)]))
        }
        let bound = BoundStatement(statement)
        return random.chance(500) ? bound.lifted : bound
    }

    /// Its trigger changes a setting of the session.
    private func journal(_ random: inout Random) -> BoundStatement {
        let row: [Operand] = [.constant(.int(Int64(random.below(100_000)))), .constant(.text("noted"))]
        return BoundStatement(.insert(Insert(table: Table.journal, rows: [row])))
    }

    // MARK: Settings

    private func value(_ setting: Setting, _ random: inout Random) -> String {
        switch setting {
        // Without `public` hardly any name means something.
        case .searchPath where !random.chance(80): random.pick(Array(setting.values.prefix(3)))
        case .dateStyle, .byteaOutput, .searchPath, .isolation, .custom: random.pick(setting.values)
        }
    }
    private func setting(_ random: inout Random) -> Setting {
        random.pick([
            .dateStyle, .dateStyle, .dateStyle, .byteaOutput, .byteaOutput, .byteaOutput, .searchPath, .searchPath,
            .custom, random.chance(300) ? .isolation : .custom,
        ])
    }

    /// SET, RESET or set_config; `isInside` a transaction.
    private func change(isInside: Bool, _ random: inout Random) -> BoundStatement {
        let setting = setting(&random)
        let value = value(setting, &random)
        let isLocal = random.chance(isInside ? 400 : 40)
        let statement: SettingStatement
        switch random.below(20) {
        case ..<11: statement = .set(setting, value, isLocal: isLocal)
        case ..<15: statement = .configure(setting, value, isLocal: isLocal)
        case ..<18: statement = .reset(setting)
        case 18: statement = .resetAll
        default:
            statement =
                random.chance(200)
                ? .characteristics(random.pick(Statement.Isolation.allCases)) : .reset(.isolation)
        }
        return BoundStatement(.setting(statement))
    }

    private func send(_ bound: BoundStatement, _ random: inout Random) -> Step.Action {
        random.chance(500) ? .query(bound) : .execute(bound)
    }

    /// Something about settings, as one or more steps.
    func settings(_ read: (inout Random) -> BoundStatement, _ random: inout Random) -> [Step.Action] {
        switch random.below(100) {
        case ..<40: return [send(change(isInside: false, &random), &random)]
        case ..<55:
            // There and back again.
            let setting = setting(&random)
            let there = BoundStatement(.setting(.set(setting, value(setting, &random), isLocal: false)))
            let reads = (0..<random.within(1...3)).map { _ in read(&random) }
            return [send(there, &random)] + reads.map { send($0, &random) }
                + [send(BoundStatement(.setting(.reset(setting))), &random)]
        case ..<70: return [send(BoundStatement(.setting(.discardAll)), &random), .execute(read(&random))]
        case ..<80: return [send(journal(&random), &random)]
        case ..<84: return channel(read, &random)
        case ..<90:
            // What fails takes its segment's settings along.
            let last = random.chance(400) ? BoundStatement(.nonsense) : read(&random)
            return [
                .pipeline([change(isInside: true, &random), read(&random), last], syncsEach: false),
                .execute(read(&random)),
            ]
        case ..<95: return undone(&random)
        default:
            return [.pipeline([change(isInside: false, &random), read(&random)], syncsEach: true)]
        }
    }

    /// Settings of a block, used in it, and the same read behind its end.
    private func undone(_ random: inout Random) -> [Step.Action] {
        let setting = random.pick([Setting.dateStyle, .byteaOutput, .searchPath])
        let events = BoundStatement(
            .select(Select(table: Table.event, output: .columns([0, 2, 3].map(own)), isOrdered: random.chance(500))))
        var block = TransactionBlock(statements: [], commits: random.chance(500))
        block.statements = [
            BoundStatement(.setting(.set(setting, value(setting, &random), isLocal: random.chance(700)))), events,
            events,
        ]
        block.isPlain = true
        return [.query(events), .transaction(block), .query(events), .query(events)]
    }

    /// A segment that reads what it has written, and fails in the end: nothing of that is ever so.
    func failing(
        _ read: (inout Random) -> BoundStatement, _ write: BoundStatement, _ random: inout Random
    ) -> Step.Action {
        let reads = (0..<random.within(1...3)).map { _ in read(&random) }
        return .pipeline([write] + reads + [refused], syncsEach: false)
    }

    /// Its key is there already. (What nobody can read fails as well, but empties the cache: it may be anything.)
    private var refused: BoundStatement {
        let row: [Datum] = [.int(1), .int(1), .int(0), .text("again")]
        return BoundStatement(.insert(Insert(table: Table.account, rows: [row.map { .constant($0) }])))
    }

    /// An account is read by its key behind an update of it that is never committed, and read again.
    func mistake(_ random: inout Random) -> [Step.Action] {
        let condition = key(random.within(1...rows))
        let read = BoundStatement(
            .select(Select(table: Table.account, conditions: [condition], output: .columns([0, 3].map(own)))))
        let note = Datum.text(random.pick(["right", "wrong", "neither"]))
        let write = BoundStatement(
            .update(
                Update(
                    table: Table.account, assignments: [.set(3, .constant(note))], conditions: [condition])))
        return [
            random.chance(300)
                ? send(write, &random)
                : .pipeline([write, read, refused], syncsEach: false),
            .think(UInt64(random.below(20)) * millisecond), send(read, &random), send(read, &random),
        ]
    }

    // MARK: Notifications

    func channel(_ read: (inout Random) -> BoundStatement, _ random: inout Random) -> [Step.Action] {
        let channel = BoundStatement(.channel(random.chance(600) ? .listen : .notify))
        return [send(channel, &random), .execute(read(&random))]
    }

    // MARK: Blocks

    private func begin(_ random: inout Random) -> Begin {
        Begin(
            isolation: random.pick([nil, nil, nil, .readCommitted, .readUncommitted, .repeatableRead, .serializable]),
            isReadOnly: random.pick([nil, nil, nil, nil, true, false]), isStart: random.chance(300))
    }

    /// A block of any form; `unit` draws what belongs together.
    func block(_ unit: (inout Random) -> [BoundStatement], _ random: inout Random) -> TransactionBlock {
        var statements: [BoundStatement] = []
        if random.chance(60) {
            statements.append(BoundStatement(.block(.setTransaction(random.pick(Statement.Isolation.allCases)))))
        }
        for _ in 0..<random.within(1...4) { statements += piece(unit, &random) }
        var block = TransactionBlock(begin: begin(&random), statements: statements, commits: random.chance(750))
        block.isPlain = random.chance(600)
        switch random.below(20) {
        case 0:
            let name = "g\(random.below(1_000_000_000))"
            block.end = .prepare(name)
            let end = random.chance(700) ? BlockStatement.commitPrepared(name) : .rollbackPrepared(name)
            if random.chance(900) { block.behind = [BoundStatement(.block(end))] }
        case 1, 2:
            block.statements += [BoundStatement(.block(random.chance(700) ? .commitAndChain : .rollbackAndChain))]
            block.statements += unit(&random)
        case 3: block.behind = [BoundStatement(random.chance(500) ? .commit : .rollback)]
        default: break
        }
        return block
    }

    private func piece(
        _ unit: (inout Random) -> [BoundStatement], _ random: inout Random
    ) -> [BoundStatement] {
        switch random.below(100) {
        case ..<45: return unit(&random)
        case ..<60: return [change(isInside: true, &random)]
        case ..<85:
            let name = random.pick(["s1", "s1", "s2"])
            var inside = random.chance(400) ? [change(isInside: true, &random)] : []
            inside += unit(&random)
            if random.chance(200) { inside.append(BoundStatement(.nonsense)) }
            let end: BlockStatement = random.chance(600) ? .rollbackTo(name) : .release(name)
            return [BoundStatement(.block(.savepoint(name)))] + inside + [BoundStatement(.block(end))]
        case ..<90: return [lockedRow(&random)]
        case ..<94: return [BoundStatement(.begin(begin(&random)))]
        case ..<97: return [journal(&random)]
        default: return [BoundStatement(.nonsense)]
        }
    }

    private func lockedRow(_ random: inout Random) -> BoundStatement {
        let table = random.pick([Table.account, Table.branch, Table.event])
        return BoundStatement(
            .select(
                Select(
                    table: table, conditions: [key(random.within(1...rows))],
                    output: .columns(Table.all[table].columns.indices.map(own)), locks: true)))
    }

    /// What a mapper of objects does for one request: it begins by itself, reads much and writes little, commits.
    func request(
        _ read: (inout Random) -> BoundStatement, _ unit: (inout Random) -> [BoundStatement], _ random: inout Random
    ) -> [Step.Action] {
        var block = TransactionBlock(statements: [], commits: random.chance(850))
        for _ in 0..<random.within(1...6) { block.statements.append(read(&random)) }
        if random.chance(1000 - parameters.readsPerMille) {
            block.statements += unit(&random)
            if random.chance(500) { block.statements.append(read(&random)) }
        }
        block.isPlain = true
        if parameters.settingsPerMille > 0, random.chance(150) {
            block.statements.append(BoundStatement(.channel(random.chance(300) ? .listen : .notify)))
        }
        if random.chance(100) { block.begin.isReadOnly = true }
        guard parameters.settingsPerMille > 0, random.chance(300) else { return [.transaction(block)] }
        // As a pool hands sessions out.
        let path = Setting.searchPath.values[random.below(2)]
        return [
            .query(BoundStatement(.setting(random.chance(700) ? .discardAll : .resetAll))),
            .query(BoundStatement(.setting(.set(.searchPath, path, isLocal: false)))), .transaction(block),
        ]
    }
}
