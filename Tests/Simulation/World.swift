import Cache
import Logging
import Loop
import PGProtocol
import Shell

/// One simulated world: the real shell and core of pgcache, models of everything around it, and an oracle.
///
/// The life of a world:
///
///     warming ──▶ chaos ──▶ settling ──▶ calm ──▶ leaving ──▶ stopping ──▶ over
///     all is      clients    faults end,   every     clients     SIGTERM:
///     read once   and faults sessions get  query is  go away     nothing is
///                            on [6]        a hit     [7]         left [7]
///                                          again [6]
///
/// Everything that happens is drawn from the parameters' seed, and the same parameters make the same world.
/// What is left
/// out (`Omissions`) does not change what the rest draws.
final class World: ClientObserver {
    enum Phase { case warming, chaos, settling, calm, leaving, stopping, over }

    let surroundings: Surroundings
    let reactor: ScriptedReactor
    let origin: Origin
    let oracle: Oracle
    private let ledger: Ledger
    private let proxy: Proxy
    private(set) var cacheDatabase: ModelledCacheDatabase?
    private(set) var links: [OriginLink] = []
    private let workload: Workload
    private var clients: [Client] = []
    private var warmer: Client?
    private var faults: Faults?
    private var administrator: Administrator?
    private var reader: CalmReader?
    private var phase = Phase.warming
    private let omissions: Omissions
    private var phaseBegan: UInt64 = 0
    private(set) var violation: Violation?
    private var settings: Settings

    /// Nobody waits longer than this for an answer, faults or not.
    private static let patience = 60 * second
    /// How long a phase may take that ends by itself.
    private static let phaseMax = 300 * second
    private static let hangup: Int32 = 1
    private static let terminate: Int32 = 15

    /// With `ignoresChanges` the proxy does not listen to the stream: so that the oracle has something to find.
    init(
        _ parameters: Parameters, omitting omissions: Omissions = Omissions(), isTraced: Bool = false,
        ignoresChanges: Bool = false
    ) {
        let surroundings = Surroundings(parameters: parameters, isTraced: isTraced)
        let reactor = ScriptedReactor(surroundings)
        let origin = Origin(surroundings)
        self.omissions = omissions
        self.surroundings = surroundings
        self.reactor = reactor
        self.origin = origin
        reactor.setClock(nanoseconds: surroundings.scheduler.now)
        settings = World.settings(parameters)
        settings.ignoresChanges = ignoresChanges
        var links: [OriginLink] = []
        proxy = Proxy(
            settings: settings, reactor: reactor, resolver: NameResolver(reactor: reactor, tag: 0),
            log: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() },
            makeLink: { _, _, tag in
                guard let role = OriginLink.Role(rawValue: UInt32(truncatingIfNeeded: tag)) else {
                    preconditionFailure("a link without a role")
                }
                let link = OriginLink(role, origin, reactor, tag: tag)
                links.append(link)
                return link
            }, seed: parameters.seed)
        self.links = links
        ledger = Ledger(surroundings.scheduler) { [unowned reactor] in reactor.bytesSent(by: $0) }
        ledger.proxy = proxy
        oracle = Oracle(parameters, origin.database, origin.executions, ledger)
        workload = Workload(parameters)
        reactor.host = origin
        reactor.observer = ledger
        for plan in workload.plans where !omissions.clients.contains(plan.number) {
            let client = Client(surroundings, reactor, plan: omissions.shortened(plan), observer: self)
            clients.append(client)
        }
        proxy.reload = { [weak self] in self?.settings }
        if parameters.hasRows { makeCacheDatabase() }
    }

    private func makeCacheDatabase() {
        let store = proxy.store
        let database = ModelledCacheDatabase(
            ModelledCacheDatabase.Surface(
                surroundings: surroundings, origin: origin,
                announce: { [unowned reactor] in
                    reactor.enqueue(
                        Completion(kind: .ready, socket: .none, tag: Proxy.cacheDatabaseTag, result: 0))
                },
                parseBody: { store.parseBody(of: $0) }, settings: { store.settings(ofProfile: $0) }),
            populationsMax: parameters.populationsMax)
        proxy.cacheDatabase = database
        cacheDatabase = database
    }

    private var parameters: Parameters { surroundings.parameters }

    private static func memoBytesMax(_ parameters: Parameters) -> Int {
        parameters.isMemoOff ? 0 : parameters.memoBytesMax
    }
    /// What the cache may take when no fault has taken memory away.
    var memoBytesMax: Int { Self.memoBytesMax(parameters) }

    private static func settings(_ parameters: Parameters) -> Settings {
        var settings = Settings()
        settings.rows.isOn = parameters.hasRows
        settings.rows.tableBytesMax = parameters.tableBytesMax
        settings.rows.spareRows = parameters.spareRows
        settings.rows.fragmentsMax = parameters.fragmentsMax
        settings.rows.fragmentBytesMax = parameters.fragmentBytesMax
        settings.rows.populationsMax = parameters.populationsMax
        if parameters.hasRows { settings.cacheBytesMax = memoBytesMax(parameters) + parameters.poolBytesMax }
        settings.memo.admissionThreshold = parameters.admissionThreshold
        // A directory: there is no name to be resolved.
        settings.origin.host = "/origin"
        settings.origin.user = "pgcache"
        settings.origin.database = "sim"
        settings.replication = settings.origin
        settings.clientsMax = 32
        settings.memo.bytesMax = memoBytesMax(parameters)
        settings.memo.entryBytesMax = parameters.entryBytesMax
        settings.memo.policy = parameters.usesFIFO ? .fifo : .clock
        settings.sharesBeats = parameters.sharesBeats
        settings.cdc.slot = parameters.hasPersistentSlot ? .persistent : .temporary
        settings.catalogPollMilliseconds = parameters.catalogPollMilliseconds
        return settings
    }

    // MARK: - Living

    /// Lives to the end, or to the first violation.
    func run() {
        do throws(SystemError) {
            try proxy.start()
            writeOther()
            if parameters.startsWarm { warm() } else { beginChaos() }
            while phase != .over, violation == nil {
                try proxy.turn()
                goOn()
            }
        } catch {
            violation = Violation(rule: 7, text: "the proxy ended: \(error)")
        }
        surroundings.trace.note("proxy", reasons)
        surroundings.scheduler.clear()
    }

    /// What the run was made of, for its report.
    var figures: Figures {
        var figures = Figures()
        figures.runs = 1
        figures.statements = oracle.counts.exchanges
        figures.hits = oracle.counts.hits
        figures.hitsInBlocks = oracle.counts.hitsInBlocks
        figures.transactions = origin.database.log.count { if case .commit = $0.kind { true } else { false } }
        figures.faults = faults?.count ?? 0
        figures.rowReads = Int(proxy.store.counters.rowReads)
        figures.rowAnswers = Int(proxy.store.counters.rowAnswers)
        figures.populations = cacheDatabase?.populationsLoaded ?? 0
        figures.events = Int(surroundings.scheduler.count)
        return figures
    }
    /// Why the proxy has forwarded statements, and how often.
    private var reasons: String {
        let counters = proxy.store.counters
        return "\(counters.hits) hits, \(counters.misses) misses" + zip(ForwardReason.allCases, counters.forwards)
            .filter { $0.1 > 0 }.map { ", \($0.rawValue) \($1)" }.joined()
    }

    /// How many faults a shorter run may leave out.
    var faultsDrawn: Int { faults?.drawnCount ?? 0 }
    var digest: UInt64 { oracle.digest.value }

    /// The origin's log grows also when nobody of ours writes.
    private func writeOther() {
        var random = surroundings.random("other writers")
        func again() {
            // Less when nobody is there.
            let pause = phase == .settling ? 500_000 : 20_000
            surroundings.scheduler.after(UInt64(random.within(200...pause)) * microsecond) { [weak self] in
                guard let self else { return }
                origin.database.writeOther()
                again()
            }
        }
        again()
    }

    private func enter(_ next: Phase) {
        phase = next
        phaseBegan = surroundings.scheduler.now
        surroundings.trace.note("world", "\(next)")
    }

    private func goOn() {
        switch phase {
        case .warming:
            checkPatience()
            if warmer?.isDone == true { beginChaos() }
        case .chaos:
            checkPatience()
            if clients.allSatisfy(\.isDone) {
                faults?.stop()
                administrator?.stop()
                enter(.settling)
            }
        case .settling:
            // Silent connections have been given up by then, and the stream is back.
            if age > 60 * second, proxy.store.isServing, proxy.store.isReady { beginCalm() }
            checkAge("the change stream did not come back")
        case .calm:
            checkPatience()
            guard let reader else { return }
            if let missing = reader.givenUp {
                violated(Violation(rule: 6, text: "no hit, although nothing goes wrong any more: \(missing)"))
            } else if reader.isDone {
                for client in clients { client.hangUp() }
                enter(.leaving)
            }
        case .leaving:
            if proxy.connections.count == 0 { checkNothingIsHeld() }
            checkAge("\(proxy.connections.count) connections stay although all clients have gone")
        case .stopping:
            // The origin may notice a little later that the proxy is gone.
            if proxy.hasStopped {
                while !origin.publications.leftovers.isEmpty, age < World.patience, surroundings.scheduler.step() {}
                checkNothingIsLeft()
            }
            checkAge("the proxy does not stop")
        case .over:
            break
        }
    }

    private var age: UInt64 { surroundings.scheduler.now - phaseBegan }

    private func checkAge(_ words: @autoclosure () -> String) {
        guard age > World.phaseMax else { return }
        violated(Violation(rule: 6, text: words()))
    }

    /// Rule 6: every session makes progress.
    private func checkPatience() {
        let now = surroundings.scheduler.now
        for client in clients {
            guard let since = client.waitingSince, now > since + World.patience else { continue }
            violated(Violation(rule: 6, text: "\(client.name) has waited for \((now - since) / second) s"))
        }
    }

    /// Somebody reads everything, so that the catalog is known, relations are followed and rights are proven.
    private func warm() {
        let client = Client(
            surroundings, reactor, plan: ClientPlan(number: 99, steps: workload.reading(99)), observer: self)
        warmer = client
        clients.append(client)
        client.start()
    }

    private func beginChaos() {
        enter(.chaos)
        faults = Faults(self, surroundings, omitting: omissions.faults)
        if parameters.changesCatalog { administrator = Administrator(origin.database, surroundings) }
        for client in clients {
            client.toleratesLosses = parameters.faultMilliseconds > 0
            if client !== warmer { client.start() }
        }
    }

    private func beginCalm() {
        for client in clients { client.toleratesLosses = false }
        let entryBytesMax = settings.memo.entryBytesMax
        let reader = CalmReader(
            workload.calmQuestions(),
            !parameters.isMemoOff
                ? .memo(bytesMax: min(entryBytesMax, settings.memo.bytesMax / 2))
                : parameters.hasAllRows ? .rows(bytesMax: entryBytesMax) : .nothing)
        let client = Client(surroundings, reactor, plan: ClientPlan(number: 0, steps: []), observer: self)
        reader.client = client
        clients.append(client)
        self.reader = reader
        enter(.calm)
        reader.askNext()
    }

    // MARK: - The end

    /// Rule 7: without clients nothing is pinned, nobody waits, and memory can be given back.
    private func checkNothingIsHeld() {
        let figures = proxy.store.figures
        if figures.bytes > figures.bytesMax {
            violated(Violation(rule: 7, text: "\(figures.bytes) bytes are kept of at most \(figures.bytesMax)"))
        }
        if figures.followers > 0 {
            violated(Violation(rule: 7, text: "\(figures.followers) sessions that are gone still follow"))
        }
        if proxy.store.pinnedCount > 0 {
            violated(Violation(rule: 7, text: "\(proxy.store.pinnedCount) entries are pinned by nobody"))
        }
        let inFlight = reactor.inFlight
        if inFlight.receives + inFlight.sends + inFlight.sockets > 0 {
            violated(Violation(rule: 7, text: "\(inFlight) with no client there"))
        }
        if let unanswered = oracle.finish() { violated(unanswered) }
        reactor.raise(signal: World.terminate)
        enter(.stopping)
    }

    /// Rule 7: a proxy that has stopped has left nothing on the origin.
    private func checkNothingIsLeft() {
        let left = origin.publications.leftovers
        if !left.isEmpty { violated(Violation(rule: 7, text: "left on the origin: \(left)")) }
        enter(.over)
    }

    /// SIGHUP, with another size of the cache.
    func reload(memoBytesMax: Int) {
        settings.memo.bytesMax = memoBytesMax
        reactor.raise(signal: World.hangup)
    }

    // MARK: - What clients tell

    func began(client name: String, connection socket: Socket) { oracle.began(name, on: socket.proxySocket) }

    func answered(_ exchange: Exchange) {
        let hits = oracle.counts.hits
        if let violation = oracle.check(exchange) {
            violated(violation)
            return
        }
        if let reader, exchange.client.hasPrefix("client-0.") {
            reader.answered(exchange, wasHit: oracle.counts.hits > hits)
        }
    }

    func violated(_ violation: Violation) {
        surroundings.trace.note("oracle", violation.description)
        if self.violation == nil { self.violation = violation }
    }

    func settled(client name: String) {
        for version in origin.executions.takeCatalogVersions(of: name) { origin.database.noticed(version) }
    }

    func lost(client name: String, outstanding: Int) { oracle.lost(name, outstanding: outstanding) }
}

/// What a shorter run leaves out of a world.
struct Omissions: Hashable {
    var clients: Set<Int> = []
    /// Steps by client.
    var steps: [Int: Set<Int>] = [:]
    var faults: Set<Int> = []

    func shortened(_ plan: ClientPlan) -> ClientPlan {
        guard let omitted = steps[plan.number], !omitted.isEmpty else { return plan }
        var plan = plan
        plan.steps = plan.steps.indices.filter { !omitted.contains($0) }.map { plan.steps[$0] }
        return plan
    }
}

/// What runs were made of.
public struct Figures: Equatable {
    public var runs = 0
    public var statements = 0
    public var hits = 0
    /// Of these, inside transaction blocks.
    public var hitsInBlocks = 0
    public var transactions = 0
    public var faults = 0
    public var events = 0
    /// Answers that were read in the cache database, and how many reads began.
    public var rowAnswers = 0
    public var rowReads = 0
    /// Populations that came.
    public var populations = 0

    public init() {}

    public static func += (sum: inout Figures, more: Figures) {
        sum.runs += more.runs
        sum.statements += more.statements
        sum.hits += more.hits
        sum.hitsInBlocks += more.hitsInBlocks
        sum.transactions += more.transactions
        sum.faults += more.faults
        sum.events += more.events
        sum.rowAnswers += more.rowAnswers
        sum.rowReads += more.rowReads
        sum.populations += more.populations
    }

    public var text: String {
        "\(runs) seeds, \(statements) statements (\(hits) hits, \(hitsInBlocks) in blocks), "
            + "\(rowAnswers) answers of \(rowReads) reads from rows of \(populations) populations, "
            + "\(transactions) transactions, \(faults) faults, \(events) events"
    }
}
