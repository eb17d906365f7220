import Cache

/// Everything an operator can choose, checked and complete.
///
/// A plain value: who reads it needs no rules about sources or defaults. It is made by `SettingsLoader`, which
/// takes each setting from the first of these that has it: an option of the command line, the TOML file, the
/// environment (`PGCACHE_…`), the default. `SettingsTable` names every setting once.
///
/// Units are in the names: `…Bytes…` bytes, `…Milliseconds` milliseconds.
public struct Settings: Equatable, Sendable {
    /// The database behind this proxy, and pgcache's own role there.
    public var origin = Endpoint()
    /// Where the change stream comes from; each field that was not given is the origin's.
    public var replication = Endpoint()
    public var cdc = ChangeStream()
    public var listen = Listen()
    public var metrics = Metrics()
    public var memo = Memo()
    public var rows = Rows()
    /// Bounds all tiers together; nil where it was not given.
    public var cacheBytesMax: Int?
    /// `table` or `schema.table` in lower case; empty allows every table.
    public var allowedTables: [String] = []
    /// Longer texts are forwarded without a look at them.
    public var statementBytesMax = 64 << 10
    /// Statements that are remembered as classified.
    public var statementsMax = 50_000
    /// Clients at once; one more gets SQLSTATE 53300.
    public var clientsMax = 1000
    public var reactor = ReactorKind.epoll
    /// The processor this process pins itself to; nil leaves that to the kernel.
    public var processor: Int?
    /// Rule S1: how a session sees its own writes.
    public var readYourWrites = ReadYourWrites.forward
    /// How long `wait` and `commit` wait for the watermark.
    public var readYourWritesMilliseconds: UInt64 = 100
    /// Rule S2: hits inside READ COMMITTED transactions.
    public var cachesInTransactions = true
    /// No hit is older than this; 0 for no limit.
    public var maxStalenessMilliseconds: UInt64 = 0
    /// Rule K4: settings of the application that statements may read, in lower case.
    public var customSettings: [String] = []
    /// Rule D1: an event trigger reports changes of the schema, where the role may create one.
    public var usesEventTrigger = true
    public var catalogPollMilliseconds: UInt64 = 5000
    /// How long a stopping proxy waits for statements in flight.
    public var shutdownMilliseconds: UInt64 = 5000
    /// How long a follower waits for the leader of the same miss before it asks the origin itself.
    public var coalesceMilliseconds: UInt64 = 200
    public var logLevel = LogLevel.info
    /// Received changes are counted and then ignored, so that answers go stale. Only `pgcache demo
    /// --break-invalidation` sets it, to show that its comparison can fail.
    public var ignoresChanges = false
    /// Off in most simulated worlds, which live for a few of the times that answers wait.
    public var sharesBeats = true

    public init() {}

    /// One way to reach a PostgreSQL.
    public struct Endpoint: Equatable, Sendable {
        /// A name, a numeric address, or a directory with a Unix socket.
        public var host = ""
        public var port: UInt16 = 5432
        public var user = ""
        public var password: String?
        public var database = ""
        public var sslMode = SSLMode.disable

        public init() {}

        /// `host` is a directory: the connection goes through its Unix socket.
        public var isUnixSocket: Bool { host.hasPrefix("/") }

        /// What libpq wants to hear (manual, 34.1.2); `applicationName` tells the origin who is there.
        public func parameters(applicationName: String) -> [(keyword: String, value: String)] {
            var list = [
                (keyword: "host", value: host), (keyword: "port", value: String(port)),
                (keyword: "user", value: user), (keyword: "dbname", value: database),
                (keyword: "sslmode", value: sslMode.rawValue),
                (keyword: "application_name", value: applicationName),
            ]
            if let password { list.append((keyword: "password", value: password)) }
            return list
        }
    }

    /// The stream of changes and what it leaves on the origin.
    public struct ChangeStream: Equatable, Sendable {
        /// An operator's own publication, used and never changed; nil makes one per instance.
        public var publicationName: String?
        /// The slot's name; nil makes one per instance.
        public var slotName: String?
        public var slot = SlotKind.temporary
        /// With this much WAL to catch up on, the slot is dropped and everything forwarded.
        public var lagLimitBytes = 1 << 30
        /// A stream that says nothing for this long counts as down.
        public var silenceMilliseconds: UInt64 = 10_000

        public init() {}
    }

    public struct Listen: Equatable, Sendable {
        public var socket: HostPort? = HostPort(host: "127.0.0.1", port: 6432)
        /// The path of the socket itself, e.g. `/tmp/.s.PGSQL.6432`.
        public var unixSocket: String?

        public init() {}
    }

    public struct Metrics: Equatable, Sendable {
        public var socket: HostPort?

        public init() {}
    }

    public struct Memo: Equatable, Sendable {
        /// 0 turns the memo off.
        public var bytesMax = 0
        public var entryBytesMax = 1 << 20
        public var policy = Policy.clock
        /// Misses of one cached query before its answer is kept; under FIFO it is ignored.
        public var admissionThreshold = 1

        public init() {}
    }

    /// The row tier, and the cache database that holds it.
    public struct Rows: Equatable, Sendable {
        public var isOn = true
        /// The cache database; nil starts an embedded one.
        public var server: Endpoint?
        /// Where the embedded one has its folders; nil takes a temporary place.
        public var dataDirectory: String?
        /// What the embedded one may use of the machine's memory.
        public var memoryBytes = 256 << 20
        /// Populations at once.
        public var populationsMax = 2
        /// Loaded at the start, and never evicted.
        public var pinnedQueries: [String] = []
        /// The same, as `table` or `schema.table` in lower case.
        public var pinnedTables: [String] = []
        /// `/readyz` waits until they are loaded.
        public var isReadyWhenPinned = false
        /// What one population may load.
        public var fragmentBytesMax = 64 << 20
        /// Tables up to this size are loaded whole.
        public var tableBytesMax = 32 << 20
        /// These are not settings of the operator's.
        public var spareRows = RowLimits().spareRows
        public var fragmentsMax = RowLimits().fragmentsMax

        public init() {}
    }

    public struct HostPort: Equatable, Sendable, CustomStringConvertible {
        public var host: String
        public var port: UInt16

        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
        public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    public enum Policy: String, CaseIterable, Sendable { case clock, fifo }
    public enum SlotKind: String, CaseIterable, Sendable { case temporary, persistent }
    public enum ReactorKind: String, CaseIterable, Sendable { case epoll, ioUring = "io_uring" }
    public enum LogLevel: String, CaseIterable, Sendable { case trace, debug, info, notice, warning, error }
    public enum SSLMode: String, CaseIterable, Sendable {
        case disable, allow, prefer, require
        case verifyCA = "verify-ca"
        case verifyFull = "verify-full"
    }
}
