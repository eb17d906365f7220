import CDC
import Cache
import Logging
import Loop
import PGProtocol

/// The shell: owns every descriptor, tells the machines what came, and does what they answer.
///
/// `turn` is the life of pgcache and the place to begin reading. There is one thread and one order of
/// events; nothing here waits but the reactor.
///
/// Proxy+Clients: bytes of clients and origins · Proxy+Replication: the change stream and the
/// beat · Proxy+Catalog: what is asked of the origin's catalog · Proxy+Admin: status and metrics.
public final class Proxy {
    var settings: Settings
    let reactor: Reactor
    package let store: CacheStore
    let resolver: NameResolver
    package let connections: Connections
    var log: Logger
    /// Settings as they are now, for SIGHUP.
    package var reload: () -> Settings? = { nil }

    /// Connections with something to send at the end of this turn.
    var dirty: [SessionNumber] = []
    var listeners: [SocketID] = []
    var originAddress: SocketAddress?
    var isStopping = false
    package var hasStopped = false
    var isFollowTimerRunning = false
    var originQuery: NameResolver.Query?
    var shellCounters = ShellCounters()
    let startedNanoseconds: UInt64

    var links: [LinkRole: any PostgresLink] = [:]
    /// Those that are to be connected again.
    var lostLinks: Set<LinkRole> = []
    var replication: Replication
    var catalogLink = CatalogLink()
    /// Nil without a row tier.
    package var cacheDatabase: (any CacheDatabase)?
    /// What the cache database was told to be like.
    var cacheDatabaseFacts: DatabaseFacts?
    /// Why there is no cache database.
    var rowsTrouble: String?
    var admin: AdminServer?
    var adminSocket = SocketID.none
    var isAdminTimerRunning = false

    public init(
        settings: Settings, reactor: Reactor, resolver: NameResolver, log: Logger,
        makeLink: (Reactor, NameResolver, UInt64) -> any PostgresLink, seed: UInt64
    ) {
        self.settings = settings
        self.reactor = reactor
        self.resolver = resolver
        self.log = log
        startedNanoseconds = reactor.nowNanoseconds
        store = CacheStore(limits: settings.cacheLimits, seed: seed)
        // Slots of connections that are still closing count too.
        connections = Connections(capacity: settings.clientsMax + 16)
        replication = Replication(
            settings: settings, seed: seed, nowNanoseconds: reactor.nowNanoseconds)
        for role in LinkRole.allCases {
            links[role] = makeLink(reactor, resolver, Tag(.link, index: role.rawValue).value)
        }
    }

    /// Runs turns until the proxy has stopped.
    public func run() throws(SystemError) {
        while !hasStopped { try turn() }
    }

    /// The life of a turn, in order.
    public func turn() throws(SystemError) {
        // 1. Submit what was prepared, wait, and take what has happened meanwhile.
        try reactor.wait()
        limitStaleness()
        // 2. Tell the machines, flat: nothing that is told here is told from inside of another.
        while let completion = reactor.next() { dispatch(completion) }
        // 3. What the machines want of each other: woken sessions, beats, questions to the catalog.
        settle()
        // 4. One send for each connection that has something to say.
        flush()
    }

    private func dispatch(_ completion: Completion) {
        let tag = Tag(value: completion.tag)
        switch tag.role {
        case .client: clientCompleted(completion, tag)
        case .origin: originCompleted(completion, tag)
        case .listener: accepted(completion)
        case .link: linkCompleted(completion, tag)
        case .clock: clockCompleted(tag)
        case .admin: adminCompleted()
        case .signal: signalled(Int32(completion.result))
        case .resolver: resolver.advance(completion)
        case .rows: rowsCompleted(completion)
        case nil: break
        }
    }

    private func settle() {
        // Most turns only move bytes.
        guard store.wantsAnything || catalogLink.isAsking || replication.wantsBeat else { return }
        while let number = store.nextWoken() {
            guard let connection = connections[number] else { continue }
            connection.pointee.session.woken()
            wake(connection)
        }
        settleReplication()
        settleRows()
        settleCatalog()
    }

    private func flush() {
        while let number = dirty.popLast() {
            guard let connection = connections[number] else { continue }
            connection.pointee.isDirty = false
            flush(connection)
        }
    }

    /// Lists a connection for the flush at the end of the turn.
    @inline(__always)
    func markDirty(_ connection: UnsafeMutablePointer<Connection>) {
        if connection.pointee.isDirty { return }
        connection.pointee.isDirty = true
        dirty.append(connection.pointee.session.number)
    }

    func startClock(_ clock: Clock, milliseconds: UInt64) -> TimerID {
        reactor.startTimer(
            nanoseconds: milliseconds &* 1_000_000,
            tag: Tag(.clock, index: clock.rawValue).value)
    }

    var now: Instant { Instant(nanoseconds: reactor.nowNanoseconds) }
}

/// What the shell counts; the cache counts the rest.
struct ShellCounters {
    var connections: UInt64 = 0
    var connectionErrors: UInt64 = 0
    var refused: UInt64 = 0
    var cancels: UInt64 = 0
    var bytesServed: UInt64 = 0
}
