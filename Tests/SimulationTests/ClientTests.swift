import PGProtocol
import Testing

@testable import Simulation

/// The client as a whole: against the modelled origin itself, with only a relay between.
@Suite struct ClientTests {
    static func step(_ action: Step.Action, seed: UInt64 = 1) -> Step { Step(seed: seed, action: action) }

    /// One client that does this.
    static func world(_ actions: [Step.Action], seed: UInt64 = 1) throws -> RelayedWorld {
        var parameters = Parameters(seed: seed)
        parameters.clients = 1
        let steps = actions.enumerated().map { step($1, seed: seed &* 1000 &+ UInt64($0)) }
        return try RelayedWorld(parameters, plans: [ClientPlan(number: 1, steps: steps)])
    }

    // MARK: Whole workloads

    /// What clients hear is what the origin says it has answered, whatever the manner, and no rule of the
    /// protocol is broken.
    @Test(arguments: UInt64(1)...6)
    func aWorkloadIsAnsweredAsTheOriginSays(seed: UInt64) throws {
        var parameters = Parameters(seed: seed)
        parameters.clients = 4
        parameters.statementsPerClient = 250
        parameters.rowsPerTable = seed % 2 == 0 ? 12 : 5
        let world = try RelayedWorld(parameters, plans: Workload(parameters).plans)
        try world.run()
        #expect(world.violations.map(\.description) == [])
        #expect(world.exchanges.count > 900)
        for client in world.clients {
            #expect(client.statementCount >= 250 && client.connectionCount >= 1)
            for connection in 1...client.connectionCount {
                let name = "client-\(client.number).\(connection)"
                func isAnswer(_ reply: Reply) -> Bool { if case .error = reply { false } else { true } }
                let heard = world.exchanges.filter { $0.client == name && isAnswer($0.reply) }
                let said = world.origin.executions.executions[name, default: []].filter { isAnswer($0.reply) }
                #expect(heard.count <= said.count)
                for (exchange, execution) in zip(heard, said) {
                    #expect(exchange.reply == execution.reply)
                    #expect(exchange.statement == execution.statement)
                    #expect(exchange.parameters == execution.parameters)
                    #expect(exchange.sentAt <= execution.viewedAt)
                }
                if !world.lost.contains(where: { $0.name == name }) { #expect(heard.count == said.count) }
            }
        }
    }

    /// Totals over whole tables, whoever asks and whenever.
    @Test(arguments: UInt64(11)...14)
    func theSumsNeverChange(seed: UInt64) throws {
        var parameters = Parameters(seed: seed)
        parameters.clients = 5
        parameters.statementsPerClient = 200
        parameters.visibilityMicroseconds = 500
        let world = try RelayedWorld(parameters, plans: Workload(parameters).plans)
        try world.run()
        #expect(world.violations.isEmpty)
        var checked = 0
        for exchange in world.exchanges {
            guard case .select(let select) = exchange.statement, case .totals = select.output,
                select.conditions.isEmpty, select.join == nil, case .rows(_, let rows, _) = exchange.reply
            else { continue }
            checked += 1
            let sum = Self.secondColumn(rows, isBinary: exchange.isBinary)
            if select.table == Table.account {
                #expect(sum == .int(Int64(100 * parameters.rowsPerTable)))
            } else {
                #expect(sum == .int(0) || sum == .null)
            }
        }
        #expect(checked > 10)
    }

    static func secondColumn(_ row: [UInt8], isBinary: Bool) -> Datum? {
        var fields = FieldReader(row[7...])
        guard let first = fields.integer(4), fields.skip(first), let size = fields.integer(4) else { return nil }
        let bytes = size == 0xFFFF_FFFF ? nil : fields.remainder
        return Wire.datum(bytes, .int8, isBinary: isBinary)
    }

    @Test func equalSeedsGiveEqualRuns() throws {
        func run() throws -> (UInt64, UInt64, [Int]) {
            var parameters = Parameters(seed: 21)
            parameters.clients = 3
            parameters.statementsPerClient = 150
            let world = try RelayedWorld(parameters, plans: Workload(parameters).plans)
            try world.run()
            let scheduler = world.surroundings.scheduler
            return (scheduler.now, scheduler.count, world.exchanges.map(\.endOfReply))
        }
        let one = try run(), other = try run()
        #expect(one == other)
    }

    /// What can go wrong in a statement does, in some run.
    @Test func workloadsMeetErrorsOfEveryKind() throws {
        var states: Set<String> = []
        for seed in 31...36 as ClosedRange<UInt64> {
            var parameters = Parameters(seed: seed)
            parameters.clients = 8
            parameters.statementsPerClient = 300
            parameters.readsPerMille = 700
            let world = try RelayedWorld(parameters, plans: Workload(parameters).plans)
            try world.run()
            #expect(world.violations.map(\.description) == [])
            for exchange in world.exchanges {
                if case .error(let state, _) = exchange.reply { states.insert(state) }
            }
        }
        // No SQL, duplicate key, division by zero, aborted block, deadlock, serialization, cancelled.
        #expect(states.isSuperset(of: ["42601", "23505", "22012", "25P02", "40P01", "40001", "57014"]), "\(states)")
    }

    // MARK: Steps

    @Test func everyKindOfStepLeavesNothingBehind() throws {
        let read = Samples.bound, write = Samples.update
        let transfer = WriteTemplates(rows: 12).transfer
        for seed in 1...12 as ClosedRange<UInt64> {
            var random = Random(seed: seed)
            let world = try Self.world(
                [
                    .think(millisecond), .query(read), .execute(write),
                    .pipeline([read, write, read], syncsEach: false), .pipeline([read, write], syncsEach: true),
                    .queries([read, BoundStatement(.nonsense), write]),
                    .transaction(TransactionBlock(statements: transfer(&random) + [read])),
                    .transaction(TransactionBlock(statements: [BoundStatement(.nonsense), read], commits: true)),
                    .prepareEarly(read, between: [write, read], pause: millisecond),
                    .readSlowly([read, read], pause: 20 * millisecond), .sendInTwo(read, pause: millisecond),
                    .cancel(write, after: 50 * microsecond), .execute(BoundStatement(.ping)),
                ], seed: seed)
            try world.run()
            #expect(world.violations.map(\.description) == [])
            #expect(world.lost.isEmpty)
            #expect(world.clients.allSatisfy { !$0.isWaiting && $0.waitingSince == nil })
            #expect(world.exchanges.count >= 18)
            for _ in 0..<100 where world.clients[0].openCancels > 0 { try world.relay.turn() }
            #expect(world.clients[0].openCancels == 0)
        }
    }

    @Test(arguments: [Step.Leaving.terminate, .end, .reset, .vanish])
    func aClientThatLeftComesBack(leaving: Step.Leaving) throws {
        let world = try Self.world([
            .query(Samples.select), .leave(leaving, during: [Samples.select], after: 0, inBlock: false),
            .query(Samples.update),
        ])
        try world.run()
        #expect(world.violations.map(\.description) == [])
        #expect(world.clients[0].connectionCount == 2)
        #expect(world.lost.map(\.name) == ["client-1.1"])
        #expect(world.exchanges.last?.client == "client-1.2")
        #expect(world.exchanges.last?.reply == .done(tag: "UPDATE 1"))
        // Who only half-closes is still answered.
        if leaving == .end { #expect(world.exchanges.count == 3) }
    }

    @Test func aBlockThatItsClientLeftIsRolledBack() throws {
        let world = try Self.world([
            .leave(.terminate, during: [Samples.update], after: millisecond, inBlock: true), .query(Samples.select),
        ])
        try world.run()
        #expect(world.violations.isEmpty)
        guard case .rows(_, let rows, _) = world.exchanges.last?.reply else {
            Issue.record("no rows")
            return
        }
        #expect(rows == Samples.rows([3]))
    }

    @Test func aLossIsAViolationUnlessItIsTolerated() throws {
        for tolerates in [false, true] {
            let world = try Self.world([.query(Samples.select), .think(50 * millisecond), .query(Samples.select)])
            world.clients[0].toleratesLosses = tolerates
            var hasFailed = false
            try world.run {
                guard !hasFailed, world.exchanges.count == 1 else { return }
                hasFailed = true
                world.origin.terminateOne()
            }
            #expect(world.violations.map(\.rule) == (tolerates ? [] : [5]))
            #expect(world.clients[0].connectionCount == (tolerates ? 2 : 1))
        }
    }

    @Test func aSilentConnectionIsGivenUpWhereLossesAreTolerated() throws {
        let world = try Self.world(
            [.query(Samples.select), .think(millisecond), .query(Samples.select), .query(Samples.update)])
        world.clients[0].toleratesLosses = true
        var socket: Socket?
        try world.run {
            guard socket == nil, world.exchanges.count == 1 else { return }
            // The next request will get lost.
            socket = world.socketOfClient
            socket?.vanish()
        }
        #expect(world.clients[0].connectionCount == 2 && world.violations.isEmpty)
        #expect(world.lost.map(\.outstanding) == [1])
    }

    @Test func aClientCanBeStoppedAndGivenMore() throws {
        let world = try Self.world(Array(repeating: .query(Samples.select), count: 50))
        let client = world.clients[0]
        try world.run { if world.exchanges.count == 3 { client.finish() } }
        #expect(client.isDone && world.exchanges.count == 4)
        client.give([Self.step(.query(Samples.update)), Self.step(.execute(Samples.bound))])
        #expect(!client.isDone)
        try world.run()
        #expect(world.exchanges.count == 6 && client.connectionCount == 1)
        client.hangUp()
        try world.run()
        #expect(client.isDone && world.relay.openEnds == 0)
    }

    @Test func theTraceTellsWhatWasSaid() throws {
        let world = try Self.world([.query(Samples.select), .query(BoundStatement(.nonsense))])
        try world.run()
        let lines = world.surroundings.trace.lines.filter { $0.contains("client-1.1: ") }
        for words in [
            "Query \"select a.id, a.note from account a where a.id = 3\"", "1 rows", "Query \"selec nothing\"",
            "ERROR 42601",
        ] {
            #expect(lines.contains { $0.hasSuffix(words) }, "\(words)")
        }
    }
}
