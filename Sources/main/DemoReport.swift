/// What the demo found out, in words.
struct DemoReport: Equatable {
    var load: DemoLoad.Result
    var hits = 0
    var misses = 0
    /// Reads that the origin answered although they were in the cache or on the way there, by reason.
    var forwardedReads: [String: Int] = [:]
    var invalidations = 0
    /// Nil when the origin does not count statements.
    var originCalls: Int?
    /// Answers from rows in the cache database, and changes that were made to these; nil without one.
    var rowAnswers: Int?
    var rowChanges = 0
    var compared = 0
    var differences = 0

    init(load: DemoLoad.Result) { self.load = load }

    /// Of all reads through pgcache.
    var hitRatio: Double {
        let reads = hits + misses + forwardedReads.values.reduce(0, +)
        return reads > 0 ? Double(hits) / Double(reads) : 0
    }

    func status(_ choice: Demo.Choice) -> Int32 {
        if choice.breaksInvalidation { return differences > 0 ? 1 : 2 }
        return differences == 0 && hitRatio > Demo.hitRatioMin && load.failures == 0 ? 0 : 1
    }

    func lines(_ choice: Demo.Choice) -> [String] {
        let all = load.reads + load.writes
        let share = all > 0 ? Double(load.writes) * 100 / Double(all) : 0
        var lines = [
            "reads       \(load.reads) through pgcache, \(load.readsDirect) straight to the origin, "
                + "\(load.failures) failed",
            "writes      \(load.writes), \(Self.decimals(share, 1)) % of the statements through pgcache, "
                + "to the rows that are read",
            "hits        \(hits), misses \(misses), \(forwardedText), hit ratio "
                + "\(Self.decimals(hitRatio, 3)), invalidations \(invalidations)",
            originCalls.map { "origin      ran \($0) of the reads through pgcache by its own count; "
                + "pgcache answered the other \(max(load.reads - $0, 0))" }
                ?? "origin      has no pg_stat_statements, so its own count is unknown",
            rowAnswers.map { "rows        \($0) of these answers came from rows in the cache database, which took in "
                + "\(rowChanges) changes meanwhile" }
                ?? "rows        are not kept",
            "under load  through pgcache: "
                + Self.times(load.readMedian, load.read99) + "; straight: "
                + Self.times(load.directMedian, load.direct99),
            "one client  through pgcache: "
                + Self.times(load.calmReadMedian, load.calmRead99) + "; straight: "
                + Self.times(load.calmDirectMedian, load.calmDirect99),
            stalenessLine,
            "comparison  \(compared) answers of pgcache and of the origin after the writes: "
                + "\(differences) differ",
        ]
        lines.append(verdict(choice))
        return lines
    }

    private var forwardedText: String {
        let all = forwardedReads.values.reduce(0, +)
        let reasons = forwardedReads.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.key) \($0.value)" }
        return "forwarded \(all)" + (all > 0 ? " (\(reasons.joined(separator: ", ")))" : "")
    }

    private var stalenessLine: String {
        let seen = load.probes - load.neverSeen
        var line = "staleness   \(load.probes) writes watched: "
        if seen > 0 {
            line += "seen after \(Self.milliseconds(load.stalenessMedian)) in the median, "
                + "99 % \(Self.milliseconds(load.staleness99)), at most \(Self.milliseconds(load.stalenessMax))"
        }
        if load.neverSeen > 0 { line += "\(seen > 0 ? "; " : "")\(load.neverSeen) not seen within a second" }
        return line
    }

    private func verdict(_ choice: Demo.Choice) -> String {
        if choice.breaksInvalidation {
            return differences > 0
                ? "result      invalidation was broken on purpose, and the comparison noticed"
                : "result      invalidation was broken on purpose, and the comparison did NOT notice"
        }
        if differences > 0 { return "result      FAILED: answers differ" }
        if load.failures > 0 { return "result      FAILED: statements failed" }
        guard hitRatio > Demo.hitRatioMin else {
            return "result      FAILED: the hit ratio is not above \(Demo.hitRatioMin)"
        }
        return "result      ok: every answer is the origin's"
    }

    private static func times(_ median: Int, _ most: Int) -> String {
        "median \(milliseconds(median)), 99 % \(milliseconds(most))"
    }

    /// A figure of microseconds as milliseconds.
    static func milliseconds(_ microseconds: Int) -> String {
        decimals(Double(microseconds) / 1000, 2) + " ms"
    }

    static func decimals(_ value: Double, _ places: Int) -> String {
        var scale = 1
        for _ in 0..<places { scale *= 10 }
        let scaled = Int((value * Double(scale)).rounded())
        let digits = String(scaled % scale)
        return "\(scaled / scale)." + String(repeating: "0", count: max(0, places - digits.count)) + digits
    }
}
