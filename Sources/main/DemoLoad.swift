import Histogram
import Loop

/// The demo's mixed load: readers through the cache and straight to the origin, writers, and one probe of staleness.
///
/// It runs in a process of its own, so that its work is not counted as pgcache's. In the load everybody asks again as
/// soon as the answer is there, and the writers hold the share of writes; its times hold the waiting for this process,
/// too. In the calm after it, one statement at a time, now through the cache and now straight, shows what a
/// single client feels.
/// Owner: the `demo-load` command.
struct DemoLoad {
    struct Plan {
        var throughCache: Settings.Endpoint
        var direct: Settings.Endpoint
        var milliseconds: UInt64
        var calmMilliseconds: UInt64 = 1000
        var readersThroughCache = 7
        var readersDirect = 1
        var writers = 2
        /// Writes per thousand statements through the cache.
        var writesPerThousand = 55
        /// Reads through the cache that the load goes on for, up to `extensionMax` times as long: a slow machine would
        /// else end while most reads are the first of their key.
        var readsMin = 60_000
        var seed: UInt64 = 1
    }

    enum Role { case readerThroughCache, readerDirect, writer, probe }

    /// One connection and what it waits for.
    private struct Client {
        let role: Role
        let link: any PostgresLink
        var askedNanoseconds: UInt64?
        var written: (write: DemoShop.Write, key: Int)?
    }

    /// A write that readers through the cache have not been seen to notice.
    private struct Probe {
        var key: Int
        var changes: Int
        var acknowledgedNanoseconds: UInt64
    }

    static let extensionMax: UInt64 = 4

    /// A probe that has not seen its write for this long gives up.
    static let probeNanosecondsMax: UInt64 = 1_000_000_000

    private let plan: Plan
    private let links: BlockingLinks
    private var clients: [Client] = []
    private var dice: DemoDice
    private var probe: Probe?
    private var result = Result()
    private var throughCache = Self.histogram()
    private var direct = Self.histogram()
    private var staleness = Self.histogram()

    init(_ plan: Plan, _ links: BlockingLinks) {
        self.plan = plan
        self.links = links
        dice = DemoDice(seed: plan.seed)
    }

    /// Microseconds, up to a minute.
    private static func histogram() -> Histogram<UInt64> {
        Histogram<UInt64>(highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: .three)
    }

    /// What a run counted; times in microseconds.
    struct Result: Equatable {
        var reads = 0
        var readsDirect = 0
        var writes = 0
        var failures = 0
        var readMedian = 0
        var read99 = 0
        var directMedian = 0
        var direct99 = 0
        var calmReadMedian = 0
        var calmRead99 = 0
        var calmDirectMedian = 0
        var calmDirect99 = 0
        var probes = 0
        /// Writes that no reader saw within a second.
        var neverSeen = 0
        var stalenessMedian = 0
        var staleness99 = 0
        var stalenessMax = 0

        private static let fields: [(name: String, place: any WritableKeyPath<Result, Int> & Sendable)] = [
            ("reads", \.reads), ("reads_direct", \.readsDirect), ("writes", \.writes),
            ("failures", \.failures), ("read_p50", \.readMedian), ("read_p99", \.read99),
            ("direct_p50", \.directMedian), ("direct_p99", \.direct99), ("calm_read_p50", \.calmReadMedian),
            ("calm_read_p99", \.calmRead99), ("calm_direct_p50", \.calmDirectMedian),
            ("calm_direct_p99", \.calmDirect99), ("probes", \.probes),
            ("never_seen", \.neverSeen), ("staleness_p50", \.stalenessMedian),
            ("staleness_p99", \.staleness99), ("staleness_max", \.stalenessMax),
        ]

        init() {}

        /// One `name=value` a line, as one process hands it to the other.
        var text: String {
            Self.fields.map { "\($0.name)=\(self[keyPath: $0.place])" }.joined(separator: "\n")
        }

        /// Nil unless every field is there.
        init?(text: String) {
            var values: [Substring: Int] = [:]
            for line in text.split(separator: "\n") {
                let halves = line.split(separator: "=", maxSplits: 1)
                if halves.count == 2, let value = Int(halves[1]) { values[halves[0]] = value }
            }
            for field in Self.fields {
                guard let value = values[Substring(field.name)] else { return nil }
                self[keyPath: field.place] = value
            }
        }
    }

    mutating func run() throws(LinkFailure) -> Result {
        try open(.readerThroughCache, plan.readersThroughCache, plan.throughCache)
        try open(.readerDirect, plan.readersDirect, plan.direct)
        try open(.writer, plan.writers, plan.throughCache)
        try open(.probe, 1, plan.throughCache)
        try runLoad()
        takeTimes(\.readMedian, \.read99, \.directMedian, \.direct99)
        try runCalm()
        takeTimes(\.calmReadMedian, \.calmRead99, \.calmDirectMedian, \.calmDirect99)
        result.stalenessMedian = Int(clamping: staleness.valueAtPercentile(50))
        result.staleness99 = Int(clamping: staleness.valueAtPercentile(99))
        result.stalenessMax = Int(clamping: staleness.max)
        return result
    }

    /// Everybody at once.
    private mutating func runLoad() throws(LinkFailure) {
        var now = Syscalls.monotonicNanoseconds()
        let endMin = now + plan.milliseconds * 1_000_000
        let endMax = now + plan.milliseconds * 1_000_000 * Self.extensionMax
        // From then on only who has asked is answered, and the probe may see its last write.
        var end: UInt64?
        while end == nil || clients.contains(where: { $0.askedNanoseconds != nil }) {
            if let end {
                if probe != nil, now < end + Self.probeNanosecondsMax,
                    let index = clients.firstIndex(where: { $0.role == .probe && $0.askedNanoseconds == nil })
                {
                    askNext(index)
                }
            } else {
                for index in clients.indices where clients[index].askedNanoseconds == nil { askNext(index) }
            }
            try links.turn()
            for index in clients.indices { try takeEvents(index) }
            now = Syscalls.monotonicNanoseconds()
            if end == nil, now >= endMax || now >= endMin && result.reads >= plan.readsMin { end = now }
        }
    }

    /// One statement at a time, in turn: through the cache, straight, and every so often a write.
    private mutating func runCalm() throws(LinkFailure) {
        let end = Syscalls.monotonicNanoseconds() + plan.calmMilliseconds * 1_000_000
        let order: [Role] = [.readerThroughCache, .readerDirect, .writer]
        while Syscalls.monotonicNanoseconds() < end {
            for role in order {
                guard let index = clients.firstIndex(where: { $0.role == role }) else { continue }
                askNext(index)
                while clients[index].askedNanoseconds != nil {
                    try links.turn()
                    try takeEvents(index)
                }
            }
        }
    }

    private mutating func open(
        _ role: Role, _ count: Int, _ endpoint: Settings.Endpoint
    ) throws(LinkFailure) {
        for _ in 0..<count {
            let number = try links.connect(endpoint, name: "pgcache demo")
            guard let link = links.link(number) else { continue }
            clients.append(Client(role: role, link: link))
        }
    }

    private mutating func askNext(_ index: Int) {
        let sql: String
        switch clients[index].role {
        case .readerThroughCache, .readerDirect:
            let next = dice.read()
            sql = next.read.sql(next.key)
        case .writer:
            let statements = result.reads + result.writes
            guard result.writes * 1000 < plan.writesPerThousand * statements else { return }
            let next = dice.write()
            clients[index].written = next
            sql = next.write.sql(next.key)
        case .probe:
            guard let probe else { return }
            sql = DemoShop.Read.product.sql(probe.key)
        }
        clients[index].askedNanoseconds = Syscalls.monotonicNanoseconds()
        clients[index].link.query(sql, [])
    }

    private mutating func takeEvents(_ index: Int) throws(LinkFailure) {
        while let event = clients[index].link.nextEvent() {
            let now = Syscalls.monotonicNanoseconds()
            switch event {
            case .answered(let rows): answered(index, rows, now)
            case .failed: result.failures += 1
            case .lost(let state, let message): throw .refused(state: state, message: message)
            case .connected, .streaming, .copyData: continue
            }
            clients[index].askedNanoseconds = nil
        }
    }

    private mutating func answered(_ index: Int, _ rows: [[String?]], _ now: UInt64) {
        let microseconds = (now - (clients[index].askedNanoseconds ?? now)) / 1000
        let changes = rows.first?.last.flatMap { $0 }.flatMap { Int($0) }
        switch clients[index].role {
        case .readerThroughCache:
            result.reads += 1
            throughCache.record(min(microseconds, 60_000_000))
        case .readerDirect:
            result.readsDirect += 1
            direct.record(min(microseconds, 60_000_000))
        case .writer:
            result.writes += 1
            if probe == nil, let changes, let written = clients[index].written, written.write == .product {
                probe = Probe(key: written.key, changes: changes, acknowledgedNanoseconds: now)
            }
        case .probe:
            guard let waiting = probe else { return }
            let waited = now - waiting.acknowledgedNanoseconds
            if let changes, changes >= waiting.changes {
                result.probes += 1
                staleness.record(min(waited / 1000, 60_000_000))
                probe = nil
            } else if waited > Self.probeNanosecondsMax {
                result.probes += 1
                result.neverSeen += 1
                probe = nil
            }
        }
    }

    /// Moves what the histograms hold into the result.
    private mutating func takeTimes(
        _ readMedian: WritableKeyPath<Result, Int>, _ read99: WritableKeyPath<Result, Int>,
        _ directMedian: WritableKeyPath<Result, Int>, _ direct99: WritableKeyPath<Result, Int>
    ) {
        result[keyPath: readMedian] = Int(clamping: throughCache.valueAtPercentile(50))
        result[keyPath: read99] = Int(clamping: throughCache.valueAtPercentile(99))
        result[keyPath: directMedian] = Int(clamping: direct.valueAtPercentile(50))
        result[keyPath: direct99] = Int(clamping: direct.valueAtPercentile(99))
        throughCache.reset()
        direct.reset()
    }
}
