import Cache
import Loop
import PGProtocol

/// What a text costs that was never seen: one that differs from known ones in constants only, and one of a shape of
/// its own. The same store and the same tables for both, one after the other in each round.
struct Classification {
    private static let count = 10_000
    private static let rounds = 5

    /// By name: a text with its constant, and the same with a name of its own.
    private static var texts: [(name: String, constant: (Int) -> String, shape: (Int) -> String)] {
        [
            (
                "point", { "select id, payload from item where id = \($0)" },
                { "select id, payload as p\($0) from item where id = 7" }
            ),
            (
                "join",
                {
                    "select i.id, p.name, count(*) as n from item i join part p on p.item = i.id "
                        + "left join note t on t.part = p.id where i.tenant = \($0) and p.kind in (1, 2, 3) "
                        + "and t.made > '2026-01-01' group by 1, 2 order by 3 desc limit 10"
                },
                {
                    "select i.id, p.name, count(*) as n\($0) from item i join part p on p.item = i.id "
                        + "left join note t on t.part = p.id where i.tenant = 7 and p.kind in (1, 2, 3) "
                        + "and t.made > '2026-01-01' group by 1, 2 order by 3 desc limit 10"
                }
            ),
            (
                "insert", { "insert into item (id, tenant, payload) values (\($0), 5, 'payload \($0)')" },
                { "insert into item (id, tenant, payload) values (7, 5, 'payload') returning id as i\($0)" }
            ),
        ]
    }

    static func run() -> String {
        let figures = texts.map { text -> String in
            var constants: [UInt64] = []
            var shapes: [UInt64] = []
            for _ in 0..<rounds {
                let store = CannedCatalog.store()
                // A shape is learned from its second text.
                for number in 0..<4 { CannedCatalog.classify(store, text.constant(count + number)) }
                constants.append(nanoseconds(store, (0..<count).map(text.constant)))
                precondition(store.counters.statementsByShape >= UInt64(count), "constants are lifted")
                shapes.append(nanoseconds(store, (0..<count).map(text.shape)))
            }
            let (constant, shape) = (constants.sorted()[rounds / 2], shapes.sorted()[rounds / 2])
            let ratio = Double(shape * 100 / max(constant, 1)) / 100
            return "\"\(text.name)\": {\"constant_ns\": \(constant), \"shape_ns\": \(shape), \"ratio\": \(ratio)}"
        }
        return "{" + figures.joined(separator: ", ") + "}"
    }

    /// For each of the texts.
    private static func nanoseconds(_ store: CacheStore, _ texts: [String]) -> UInt64 {
        let keys = texts.map { Array($0.utf8) + [0] }
        let before = Syscalls.processCPUNanoseconds()
        for key in keys { withView(key) { _ = store.classify($0, searchPath: CannedCatalog.searchPath) } }
        return (Syscalls.processCPUNanoseconds() - before) / UInt64(texts.count)
    }
}

/// A store that knows three tables, all followed.
private enum CannedCatalog {
    static let searchPath = ["pg_catalog", "public"]
    private static let tables: [String: [(name: String, type: String)]] = [
        "item": [("id", "23"), ("tenant", "23"), ("payload", "25")],
        "part": [("id", "23"), ("item", "23"), ("name", "25"), ("kind", "23")],
        "note": [("id", "23"), ("part", "23"), ("made", "1184")],
    ]

    static func store() -> CacheStore {
        var limits = CacheStore.Limits()
        limits.database = "bench"
        let store = CacheStore(limits: limits, seed: 7)
        store.streamBecameLive(LSN(1))
        store.catalogConnected()
        settle(store)
        return store
    }

    static func classify(_ store: CacheStore, _ text: String) {
        withView(Array(text.utf8) + [0]) { _ = store.classify($0, searchPath: searchPath) }
        settle(store)
    }

    private static func settle(_ store: CacheStore) {
        while true {
            if let question = store.nextQuestion() {
                store.questionAnswered(answer(question))
            } else if let wanted = store.nextFollow() {
                store.relationsFollowed([wanted.oid])
            } else {
                return
            }
        }
    }

    private static func answer(_ question: OriginQuery) -> [[String?]] {
        switch question.sql {
        case CatalogQueries.originFacts: [["5", "bench", "150018", "logical", "UTF8", "f", "pgcache", "f", "t", "f"]]
        case CatalogQueries.functions(builtIn: true): [["count", "2803", "pg_catalog", "i", "a", "f"]]
        case CatalogQueries.functions(builtIn: false), CatalogQueries.userNames: []
        case CatalogQueries.relations: pairs(question).flatMap(rows)
        default: [[]]
        }
    }

    /// Schemas and names that are asked for, in order.
    private static func pairs(_ question: OriginQuery) -> [(schema: String, name: String)] {
        func words(_ array: String?) -> [String] {
            (array ?? "{}").dropFirst().dropLast().split(separator: ",").map { $0.filter { $0 != "\"" } }
        }
        return zip(words(question.parameters[0]), words(question.parameters[1])).sorted { $0 < $1 }
            .map { (schema: $0.0, name: $0.1) }
    }

    private static func rows(schema: String, table: String) -> [[String?]] {
        guard schema == "public", tables[table] != nil else {
            return [[schema, table] + Array(repeating: nil, count: 23)]
        }
        let oid = "\(20_001 + (tables.keys.sorted().firstIndex(of: table) ?? 0))"
        return (tables[table] ?? []).enumerated().map { position, column in
            [
                "public", table, oid, "r", "p", "f", "f", "f", "d", "\(position + 1)", column.name, column.type, "f",
                "t", "t", position == 0 ? "t" : "f", "f", "t", "f", column.type, "public", table, nil, nil,
                nil,
            ]
        }
    }
}
