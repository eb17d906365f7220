/// What a client does next: it goes on with the following move when this one is done.
enum ClientMove: Hashable {
    case send([ClientRequest])
    /// The second part follows after a pause; cut at so many thousandths.
    case sendInTwo([ClientRequest], cutPerMille: Int, pause: UInt64)
    /// Until every reply has come.
    case await
    case pause(UInt64)
    case read(Bool)
    /// The rest of the step is for a transaction block only.
    case requireBlock
    case cancel
    /// The last of its step.
    case leave(Step.Leaving)
}

/// Turns a step into moves, drawing the details from the step's own seed: which manner of the extended protocol,
/// formats, names.
///
/// A statement that is prepared by name is parsed in the step that uses it unless the connection has it.
struct ClientScript {
    private var random: Random
    private var moves: [ClientMove] = []
    private var names: StatementNames
    private let isPrepared: (String) -> Bool
    /// Parsed by name in this step.
    private var parsedHere: [String] = []

    /// Names of statements and portals: a client's own, so that they mean the same on each of its connections.
    struct StatementNames {
        private var numbers: [Statement: Int] = [:]
        private var portals = 0

        mutating func statement(_ statement: Statement) -> String {
            if let number = numbers[statement] { return "s\(number)" }
            numbers[statement] = numbers.count + 1
            return "s\(numbers.count)"
        }
        mutating func portal() -> String {
            portals += 1
            return "p\(portals)"
        }
    }

    /// The moves of `step` on a connection that has the statements of which `isPrepared` says so.
    static func moves(
        for step: Step, _ names: inout StatementNames, isPrepared: @escaping (String) -> Bool
    ) -> [ClientMove] {
        var script = ClientScript(random: Random(seed: step.seed), names: names, isPrepared: isPrepared)
        script.write(step.action)
        names = script.names
        return script.moves
    }

    /// The moves that connect.
    static func connecting(name: String, _ login: Login = .plain, asksForEncryption: Bool) -> [ClientMove] {
        let encryption: [ClientMove] = asksForEncryption ? [.send([.encryptionRequest]), .await] : []
        return encryption + [.send([.startup(applicationName: name, login)]), .await]
    }

    private init(random: Random, names: StatementNames, isPrepared: @escaping (String) -> Bool) {
        self.random = random
        self.names = names
        self.isPrepared = isPrepared
    }

    private mutating func write(_ action: Step.Action) {
        switch action {
        case .think(let nanoseconds): moves = [.pause(nanoseconds)]
        case .query(let bound): moves = [.send([query(bound)]), .await]
        case .execute(let bound): execute(bound)
        case .pipeline(let list, let syncsEach): pipeline(list, syncsEach)
        case .queries(let list): moves = [.send(list.map(query)), .await]
        case .transaction(let block): transaction(block)
        case .prepareEarly(let bound, let between, let pause): prepareEarly(bound, between, pause)
        case .readSlowly(let list, let pause):
            moves = [.read(false), .send(atOnce(list)), .pause(pause), .read(true), .await]
        case .sendInTwo(let bound, let pause):
            moves = [.sendInTwo(atOnce([bound]), cutPerMille: random.below(1000), pause: pause), .await]
        case .cancel(let bound, let after):
            moves = [.send(atOnce([bound])), .pause(after), .cancel, .await]
        case .leave(let leaving, let list, let after, let inBlock):
            if inBlock { moves = [.send([query(BoundStatement(.begin(.readCommitted)))]), .await, .requireBlock] }
            if !list.isEmpty { moves.append(.send(atOnce(list))) }
            if after > 0 { moves.append(.pause(after)) }
            moves.append(.leave(leaving))
        }
    }

    // MARK: Requests

    private func query(_ bound: BoundStatement) -> ClientRequest { .query(bound.inlined) }

    /// Each complete by itself, by either protocol.
    private mutating func atOnce(_ list: [BoundStatement]) -> [ClientRequest] {
        var messages: [ClientRequest] = []
        for bound in list {
            if random.chance(500) {
                messages.append(query(bound))
            } else {
                messages += unit(bound) + [.sync]
            }
        }
        return messages
    }

    /// What a statement's manners are drawn from: mostly the same for the same statement, as one driver would,
    /// since only
    /// equal bytes find an entry; else anything.
    private mutating func habit(of statement: Statement) -> Random {
        guard random.chance(950) else { return Random(seed: random.next()) }
        return Random(seed: statement.sql.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 })
    }

    private mutating func parse(_ name: String, _ statement: Statement) -> ClientRequest {
        var habit = habit(of: statement)
        return .parse(name, statement, habit.pick([.nothing, .nothing, .nothing, .unspecified, .types, .types]))
    }

    private mutating func binding(_ bound: BoundStatement, _ name: String) -> ClientRequest.Binding {
        var habit = habit(of: bound.statement)
        _ = habit.next()
        return ClientRequest.Binding(
            portal: random.chance(15) ? names.portal() : "", statement: name, bound: bound,
            hasBinaryParameters: habit.chance(350), hasBinaryResults: habit.chance(350),
            listsFormats: habit.chance(300))
    }

    /// Bind, Describe where somebody wants it, Execute.
    private mutating func bindAndExecute(_ bound: BoundStatement, _ name: String) -> [ClientRequest] {
        let binding = binding(bound, name)
        var messages: [ClientRequest] = [.bind(binding)]
        var habit = habit(of: bound.statement)
        if habit.chance(600) { messages.append(.describePortal(binding.portal)) }
        if bound.statement.hasManyRows, random.chance(15) {
            messages.append(.execute(portal: binding.portal, limit: random.within(1...3)))
        }
        messages.append(.execute(portal: binding.portal, limit: 0))
        return messages
    }

    /// One execution without its Sync.
    private mutating func unit(_ bound: BoundStatement) -> [ClientRequest] {
        var messages: [ClientRequest] = []
        var name = ""
        if bound.statement.isWorthAName, random.chance(450) {
            name = names.statement(bound.statement)
            if !isPrepared(name), !parsedHere.contains(name) {
                parsedHere.append(name)
                messages.append(parse(name, bound.statement))
            }
        } else {
            messages.append(parse("", bound.statement))
            if random.chance(120) { messages.append(.describeStatement("")) }
        }
        return messages + bindAndExecute(bound, name)
    }

    private mutating func execute(_ bound: BoundStatement) {
        let manner = random.below(1000)
        switch manner {
        case ..<700:
            var messages = unit(bound) + [.sync]
            if bound.statement.isWorthAName, random.chance(20) {
                messages += [.closeStatement(names.statement(bound.statement)), .sync]
            }
            moves = [.send(messages), .await]
        case ..<900:
            // As drivers do that ask for the types first.
            let ending: ClientRequest = manner < 800 ? .sync : .flush
            let first: [ClientRequest] = [parse("", bound.statement), .describeStatement(""), ending]
            moves = [.send(first), .await, .send(bindAndExecute(bound, "") + [.sync]), .await]
        default:
            moves = [.send(unit(bound) + [.flush]), .await, .send([.sync]), .await]
        }
    }

    private mutating func pipeline(_ list: [BoundStatement], _ syncsEach: Bool) {
        if syncsEach {
            moves = [.send(atOnce(list)), .await]
        } else if random.chance(150) {
            for bound in list { moves += [.send(unit(bound) + [.flush]), .await] }
            moves += [.send([.sync]), .await]
        } else {
            moves = [.send(segment(list)), .await]
        }
    }

    /// Executions with one Sync behind all.
    private mutating func segment(_ list: [BoundStatement]) -> [ClientRequest] {
        var messages: [ClientRequest] = []
        for bound in list { messages += unit(bound) }
        return messages + [.sync]
    }

    private mutating func prepareEarly(_ bound: BoundStatement, _ between: [BoundStatement], _ pause: UInt64) {
        let name = names.statement(bound.statement)
        if !isPrepared(name) {
            moves = [.send([parse(name, bound.statement), .describeStatement(name), .sync]), .await]
        }
        for other in between { moves += [.send([query(other)]), .await] }
        moves += [.pause(pause), .send(bindAndExecute(bound, name) + [.sync]), .await]
    }

    // MARK: Transactions

    private mutating func transaction(_ block: TransactionBlock) {
        let begin = BoundStatement(.begin(block.begin))
        let end = block.ending
        let manner = block.isPlain ? random.within(200...999) : random.below(1000)
        let movesMoney = block.statements.contains { $0.statement.movesMoney }
        switch manner {
        case ..<120:
            moves = [.send(segment([begin] + block.statements + [end])), .await]
        case ..<200 where !movesMoney:
            // With money it could go wrong: if BEGIN is cancelled, the others stand alone.
            moves = [.send(([begin] + block.statements + [end]).map(query)), .await]
        default:
            let isExtended = manner >= 600
            moves = one(begin, isExtended) + [.requireBlock]
            for bound in block.statements {
                moves += one(bound, isExtended)
                if random.chance(block.isPlain ? 20 : 250) {
                    // Now and then for as long as a publication takes to be changed.
                    let micros = random.below(random.chance(300) ? 60_000 : 2_000)
                    moves.append(.pause(UInt64(micros) * microsecond))
                }
                if !block.isPlain, random.chance(500) { moves.append(.requireBlock) }
            }
            moves += one(end, isExtended)
            for bound in block.behind { moves += one(bound, isExtended) }
        }
    }

    private mutating func one(_ bound: BoundStatement, _ isExtended: Bool) -> [ClientMove] {
        [.send(isExtended ? unit(bound) + [.sync] : [query(bound)]), .await]
    }
}

extension Statement {
    /// Its text comes again: a read, or a write whose values are parameters.
    fileprivate var isWorthAName: Bool {
        switch self {
        case .select, .ping, .begin, .commit, .rollback: true
        case .setting(let setting): setting != .discardAll
        case .insert, .update, .delete: !parameterTypes.isEmpty
        case .catalog(let statement): statement.isRead
        case .block, .channel, .truncate, .nonsense: false
        }
    }

    /// A row limit makes sense for it.
    fileprivate var hasManyRows: Bool {
        guard case .select(let select) = self, case .columns = select.output else { return false }
        return true
    }
}
