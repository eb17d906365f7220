import PGProtocol

/// Queries of the operator whose rows are loaded at the start and stay, and again after whatever has emptied the cache
/// database.
///
///     unresolved ─catalog→ resolved ─followed→ wanted ─populations→ covered
///          ↑                                                          │
///          └───────── the schema changed, the cache database was lost ┘
///
/// A pinned table is the query that reads all of it. Names are looked up in `public`, where they have no schema. What
/// cannot be resolved or loaded is left alone until the schema changes: its queries do without.
struct PinnedQueries {
    struct Item {
        let text: String
        let parsed: ParsedStatement
        var query: ResolvedQuery?
        /// Why its rows cannot be loaded.
        var refusal: String?
    }

    static let searchPath = ["pg_catalog", "public"]

    var items: [Item] = []
    /// Something may have become known or been lost.
    var isDue = true

    /// - Parameter tables: `table` or `schema.table`, in lower case.
    init(queries: [String], tables: [String]) {
        let names = tables.map { $0.split(separator: ".", maxSplits: 1).map { SQLText.identifier(String($0)) } }
        for text in queries + names.map({ "SELECT * FROM " + $0.joined(separator: ".") }) {
            let parsed = withView(Array(text.utf8)) {
                StatementParser.parse($0, standardConformingStrings: true, bytesMax: 64 << 10)
            }
            items.append(Item(text: text, parsed: parsed))
        }
    }

    mutating func schemaChanged() {
        for index in items.indices {
            items[index].query = nil
            items[index].refusal = nil
        }
        isDue = true
    }
}

extension CacheStore {
    /// Brings pinned queries as far as what is known allows.
    func advancePinned() {
        guard pinned.isDue, rows.isReady, isServing,
            let view = catalog.view(searchPath: PinnedQueries.searchPath)
        else { return }
        pinned.isDue = false
        for index in pinned.items.indices where pinned.items[index].refusal == nil {
            advance(&pinned.items[index], view)
        }
    }

    private func advance(_ item: inout PinnedQueries.Item, _ view: CatalogView) {
        if item.query == nil {
            let resolution = item.parsed.resolved(
                with: view, customSettings: declaredSettings, allows: { isAllowed($0) })
            switch resolution {
            case .needs(let names):
                if let request = catalog.request(names, searchPath: PinnedQueries.searchPath) { ask(request) }
            case .forward(let reason, _): item.refusal = reason.rawValue
            case .cacheable(let query): item.query = query
            }
        }
        guard let query = item.query else { return }
        var isFollowed = true
        for use in query.uses where !membership.isFollowed(use.relation) {
            if membership.isRefused(use.relation) { item.refusal = ForwardReason.notFollowed.rawValue }
            membership.ask(use.relation)
            isFollowed = false
        }
        guard isFollowed else { return }
        let uses = OperandBinding(isEncodingShared: true).bind(query)
        item.refusal = rows.refusal(of: uses)
        if item.refusal == nil, !rows.covers(uses, query.links, named: named(query)) {
            rows.want(uses, query.links, named: named(query), { catalog.relation($0) }, isPinned: true)
        }
    }

    /// Why pinned queries are not all served from rows; nil when they are, or nobody can do anything about it.
    public var pinnedTrouble: String? {
        guard limits.rows != nil, !pinned.items.isEmpty else { return nil }
        guard rows.isReady else { return "no cache database for pinned queries" }
        for item in pinned.items where item.refusal == nil {
            guard let query = item.query else { return "pinned: \(item.text)" }
            let uses = OperandBinding(isEncodingShared: true).bind(query)
            if !rows.mayCover(uses, query.links, named: named(query)) { return "pinned: \(item.text)" }
        }
        return nil
    }

    /// What cannot be pinned, with the reason.
    public var pinnedRefusals: [(text: String, reason: String)] {
        pinned.items.compactMap { item in item.refusal.map { (item.text, $0) } }
    }
}
