import Loop

/// How to reach the cache database.
typealias ClusterEndpoint = Settings.Endpoint

/// The server that holds the cache database: one of pgcache's own, or one that the operator names.
///
/// Owner: the shell, which hands it the completions with its tags and takes its events after that.
protocol CacheCluster: AnyObject {
    /// Makes it available; `.ready` or `.unavailable` follows. Another plan than before begins anew.
    func start(_ plan: ClusterPlan)
    /// Ends it; no event follows.
    func stop()
    /// Nothing runs, or is on its way out.
    var isStopped: Bool { get }
    func advance(_ completion: Completion)
    /// The oldest event that was not taken yet.
    func nextEvent() -> ClusterEvent?
}

/// What a cluster must be like, to compute as the origin does.
struct ClusterPlan: Equatable {
    /// The origin's, e.g. 15.
    var majorVersion: Int
    /// The origin's server_encoding, e.g. UTF8.
    var encoding: String
}

enum ClusterEvent: Equatable {
    /// It takes connections. An embedded cluster is empty then; an existing one is as it was left.
    case ready(ClusterEndpoint)
    /// It was there and is gone, with all it held. It comes back by itself.
    case ended(String)
    /// It cannot be made for now, and is tried again.
    case unavailable(String)
}

/// A server that the operator runs: it is there, and how it fares shows on the connections to it.
final class ExistingCluster: CacheCluster {
    private let reactor: Reactor
    private let tag: UInt64
    private let endpoint: ClusterEndpoint
    private var event: ClusterEvent?
    private(set) var isStopped = true

    init(reactor: Reactor, tag: UInt64, endpoint: ClusterEndpoint) {
        self.reactor = reactor
        self.tag = tag
        self.endpoint = endpoint
    }

    func start(_ plan: ClusterPlan) {
        isStopped = false
        event = .ready(endpoint)
        reactor.enqueue(Completion(kind: .ready, socket: .none, tag: tag, result: 0))
    }

    func stop() {
        isStopped = true
        event = nil
    }

    func advance(_ completion: Completion) {}

    func nextEvent() -> ClusterEvent? {
        defer { event = nil }
        return event
    }
}

extension Settings.Rows {
    /// The cluster that the operator has chosen.
    /// - Parameter tag: the first of `EmbeddedPostgres.tagCount`.
    func makeCluster(reactor: Reactor, resolver: NameResolver, tag: UInt64) -> any CacheCluster {
        if let server { return ExistingCluster(reactor: reactor, tag: tag, endpoint: server) }
        var options = EmbeddedPostgres.Options()
        options.memoryBytes = memoryBytes
        if let dataDirectory { options.parent = dataDirectory }
        return EmbeddedPostgres(reactor: reactor, resolver: resolver, tag: tag, options: options)
    }
}
