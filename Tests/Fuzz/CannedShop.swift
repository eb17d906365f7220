import CDC
import PGProtocol

@testable import Cache

/// A small store of cached answers whose questions an origin with two tables answers.
///
/// `items (id integer primary key, tenant integer, name integer)` and `orders` alike; the function
/// `effect()` is somebody's own. Bounds are low, so that short inputs reach them.
final class CannedShop {
    let store: CacheStore
    private var nextTransaction: UInt32 = 500
    /// What is answered instead of the truth; nil for the truth.
    var answers: ((OriginQuery) -> [[String?]]?)?

    static let items = OID(20_001)
    static let orders = OID(20_002)
    private static let relations: [(name: String, oid: OID)] = [("items", items), ("orders", orders)]

    init(answers: ((OriginQuery) -> [[String?]]?)? = nil) {
        var limits = CacheStore.Limits()
        limits.database = "shop"
        // The model of the origin has one tag for all statements: blocks are its affair.
        limits.cachesInTransactions = false
        limits.memoBytesMax = 128 << 10
        limits.entryBytesMax = 2 << 10
        limits.statementsMax = 24
        limits.statementBytesMax = 2 << 10
        store = CacheStore(limits: limits, seed: 7)
        self.answers = answers
        store.streamBecameLive(LSN(100))
        store.catalogConnected()
        settle()
    }

    // MARK: - What the shell does

    /// Asks what the store wants to know until it wants nothing more.
    func settle() {
        var turns = 0
        while true {
            turns += 1
            expect(turns < 1000, "the store never stops asking")
            if let question = store.nextQuestion() {
                store.questionAnswered(answers?(question) ?? Self.answer(question))
            } else if let wanted = store.nextFollow() {
                store.relationsFollowed([wanted.oid])
            } else {
                return
            }
        }
    }

    /// What was captured becomes servable.
    func passes() {
        let lsn = LSN(store.watermark.value + 1000)
        beat(lsn)
        store.watermarkAdvanced(lsn)
    }

    func beat(_ lsn: LSN) {
        store.beatBegan()
        guard let snapshot = Snapshot("900:900:") else { fatalError("a snapshot is a snapshot") }
        store.beatAnswered(snapshot, lsn)
    }

    func receives(_ relation: OID, _ kind: RowChange.Kind) {
        nextTransaction += 1
        store.transactionReceived(
            SourceTransaction(
                narrowID: nextTransaction, endLSN: store.watermark, commitMicroseconds: 0,
                changes: [RowChange(relation: relation, kind: kind)]))
    }

    func inserts(_ relation: OID, _ values: [String]) {
        receives(relation, .insert(new: values.map { .text(Array($0.utf8)) }))
    }

    /// The stream says what it will send of the tables.
    func describesTables() {
        for (name, oid) in Self.relations {
            store.relationDescribed(
                RelationShape(
                    oid: oid, schema: "public", name: name, replicaIdentity: UInt8(ascii: "d"),
                    columns: ["id", "tenant", "name"].map {
                        RelationShape.Column(name: $0, type: OID(23), typeModifier: -1, isKey: $0 == "id")
                    }))
        }
    }

    // MARK: - What the origin answers

    private static func answer(_ question: OriginQuery) -> [[String?]] {
        switch question.sql {
        case CatalogQueries.originFacts:
            return [["5", "shop", "150018", "logical", "UTF8", "f", "pgcache", "f", "t", "f"]]
        case CatalogQueries.functions(builtIn: true): return [["count", "2803", "pg_catalog", "i", "a", "f"]]
        case CatalogQueries.functions(builtIn: false): return [["effect", "20500", "public", "v", "f", "f"]]
        case CatalogQueries.userNames: return []
        case CatalogQueries.relations: return tables(question.parameters)
        case Rights.sql: return [["t"]]
        default:
            // The poll: no row of it has this form, so each one after the first tells of a change.
            return [[]]
        }
    }

    private static func tables(_ parameters: [String?]) -> [[String?]] {
        guard let schemas = parameters[0].flatMap(SQLText.elements(ofArray:)),
            let names = parameters[1].flatMap(SQLText.elements(ofArray:))
        else { return [] }
        return zip(schemas, names).sorted { $0 < $1 }.flatMap { schema, name -> [[String?]] in
            guard schema == "public", let oid = relations.first(where: { $0.name == name })?.oid else {
                return [[schema, name] + Array(repeating: nil, count: 23)]
            }
            return ["id", "tenant", "name"].enumerated().map { index, column in
                [
                    schema, name, "\(oid)", "r", "p", "f", "f", "f", "d", "\(index + 1)", column, "23", "f",
                    "t", "t", index == 0 ? "t" : "f", "f", "t", "f", "23", schema, name, nil, nil, nil,
                ]
            }
        }
    }
}
