import PGProtocol

/// What the cache tells operators; nothing of it is on the way of a query.
extension CacheStore {
    public struct Figures: Sendable {
        public var bytes: Int
        public var bytesMax: Int
        public var entries: Int
        public var statements: Int
        public var captures: UInt64
        public var abandoned: UInt64
        public var evictions: UInt64
        public var patches: UInt64
        public var followers: Int
    }

    public var figures: Figures {
        let memo = memo.counters
        return Figures(
            bytes: memo.bytes, bytesMax: self.memo.bytesMax, entries: memo.entries,
            statements: statements.count, captures: memo.captures, abandoned: memo.abandoned,
            evictions: memo.evictions, patches: memo.patches, followers: followers.values.reduce(0) { $0 + $1.count })
    }

    /// The catalog has been read: statements can be resolved.
    public var isReady: Bool { catalog.isReady }

    /// Entries that some client is still reading.
    package var pinnedCount: Int { memo.pinnedCount }

    /// Statements that look alike without their constants, together.
    public struct StatementFigures: Sendable {
        /// The beginning of the text, its constants replaced by `?`.
        public var preview: String
        public var state: String
        public var reason: String?
        public var statements = 0
        public var hits: UInt64 = 0
        public var misses: UInt64 = 0
        public var entries = 0
        /// Of the busiest of them, with `?` for constants.
        public var reads: [String] = []
        public var settings = ""
        public var lastInvalidation: String?
    }

    private struct Look: Hashable {
        var preview: String
        var state: Statement.State
        var reason: ForwardReason
    }

    /// The statements with the most hits and misses among the first few thousand: a page must not stop the loop.
    public func busiestStatements(max: Int) -> [StatementFigures] {
        var busiest: [(executions: UInt64, id: StatementID)] = []
        statements.forEach(max: 4096) {
            busiest.append(($0.pointee.hits &+ $0.pointee.misses, $0.pointee.id))
        }
        busiest.sort { $0.executions > $1.executions }
        var found: [Look: StatementFigures] = [:]
        for (_, id) in busiest.prefix(1024) {
            guard let statement = statements[id] else { continue }
            let look = Look(
                preview: StatementPreview.of(statement.pointee.text), state: statement.pointee.state,
                reason: statement.pointee.reason)
            let isForwarded = look.state != .cacheable
            var figures = found[look] ?? StatementFigures(
                preview: look.preview, state: "\(look.state)",
                reason: isForwarded ? look.reason.rawValue : nil)
            if figures.statements == 0, let query = statement.pointee.query {
                figures.reads = query.uses.map { describe($0, hidesConstants: true) }
                figures.settings = describe(query.classes)
            }
            if figures.lastInvalidation == nil {
                figures.lastInvalidation = statement.pointee.lastInvalidation.map { describe($0) }
            }
            figures.entries += memo.entryCount(of: statement)
            figures.statements += 1
            figures.hits &+= statement.pointee.hits
            figures.misses &+= statement.pointee.misses
            found[look] = figures
        }
        let sorted = found.values.sorted {
            ($0.hits &+ $0.misses, $1.preview) > ($1.hits &+ $1.misses, $0.preview)
        }
        return Array(sorted.prefix(max))
    }

    // MARK: - Settings that change at run time

    public func setBytesMax(_ bytesMax: Int) {
        let kept = Self.memoBytesMax(bytesMax, limits)
        // Turned off, it forgets what it has, also where answers from the rows still pass through it.
        if keepsAnswers, bytesMax <= 0 { memo.setBytesMax(0) }
        keepsAnswers = bytesMax > 0
        memo.setBytesMax(kept)
    }

    public func setAllowedTables(_ tables: [String]) {
        let allowed = Set(tables.map { $0.lowercased() })
        guard allowed != limits.allowedTables else { return }
        limits.allowedTables = allowed
        schemaChanged()
    }
}
