import CDC
import PGProtocol
import Testing

@testable import Cache

/// A store whose questions are answered as an origin with two tables would.
///
/// `items (id integer primary key, tenant integer, name integer)` and `orders` alike; the function
/// `effect()` is somebody's own.
final class CannedOrigin {
    let store: CacheStore
    /// Relations are followed as soon as they are wanted.
    var follows = true
    var deniedRoles: Set<String> = []
    var asked: [OriginQuery] = []
    private var nextSession: UInt32 = 0
    private var nextTransaction: UInt32 = 500

    static let relations: [String: UInt32] = ["items": 20_001, "orders": 20_002]
    static let items = OID(20_001)
    static let orders = OID(20_002)

    init(_ change: (inout CacheStore.Limits) -> Void = { _ in }) {
        var limits = CacheStore.Limits()
        limits.database = "shop"
        change(&limits)
        store = CacheStore(limits: limits, seed: 7)
        store.streamBecameLive(LSN(100))
        store.catalogConnected()
        settle()
    }

    /// One whose tables are known and followed, and whose rights are proven for role `app`.
    static func warm(_ change: (inout CacheStore.Limits) -> Void = { _ in }) -> CannedOrigin {
        let origin = CannedOrigin(change)
        let client = origin.client()
        for table in relations.keys.sorted() {
            for _ in 0..<3 {
                client.sends(Wire.query("select id from \(table)"))
                client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
                origin.settle()
                origin.beat(100)
            }
        }
        for (name, oid) in relations { origin.describe(name, oid) }
        origin.store.empty(.schema)
        while origin.store.nextWoken() != nil {}
        return origin
    }

    /// The stream says what it will send of a relation.
    private func describe(_ name: String, _ oid: UInt32) {
        store.relationDescribed(
            RelationShape(
                oid: OID(oid), schema: "public", name: name, replicaIdentity: UInt8(ascii: "d"),
                columns: ["id", "tenant", "name"].map {
                    RelationShape.Column(name: $0, type: OID(23), typeModifier: -1, isKey: $0 == "id")
                }))
    }

    /// A session that is logged in and whose settings are known.
    func client(role: String = "app", searchPath: String = "{pg_catalog,public}") -> Dialogue {
        let dialogue = Dialogue(self, number: nextSession, role: role, searchPath: searchPath)
        nextSession += 1
        dialogue.logIn()
        return dialogue
    }

    /// A session that has said nothing yet.
    func stranger() -> Dialogue {
        defer { nextSession += 1 }
        return Dialogue(self, number: nextSession, role: "app", searchPath: "{pg_catalog,public}")
    }

    // MARK: - What the shell does

    /// Asks what the store wants to know until it wants nothing more.
    func settle() {
        while true {
            if let question = store.nextQuestion() {
                asked.append(question)
                store.questionAnswered(answer(question))
            } else if follows, let wanted = store.nextFollow() {
                store.relationsFollowed([wanted.oid])
            } else {
                return
            }
        }
    }

    /// A beat, from its question to its answer. By itself, it shows something new finished that the stream does not
    /// bring: only the position tells when it is reached.
    func beat(_ lsn: UInt64, snapshot: String? = nil) {
        store.beatBegan()
        beatEnds(lsn, snapshot: snapshot)
    }
    func beatEnds(_ lsn: UInt64, snapshot: String? = nil) {
        let next = 700 + store.beatsBegun
        guard let snapshot = Snapshot(snapshot ?? "\(next):\(next):") else {
            Issue.record("not a snapshot: \(snapshot ?? "")")
            return
        }
        store.beatAnswered(snapshot, LSN(lsn))
    }

    /// What was captured becomes servable.
    func passes() {
        let lsn = store.watermark.value + 1000
        beat(lsn)
        store.watermarkAdvanced(LSN(lsn))
    }

    /// One row of a table changes.
    func inserts(_ table: OID, _ values: [String], transaction: UInt32? = nil) {
        receives([RowChange(relation: table, kind: .insert(new: values.map { .text(Array($0.utf8)) }))],
            transaction: transaction)
    }
    func receives(_ changes: [RowChange], transaction: UInt32? = nil) {
        nextTransaction += 1
        store.transactionReceived(
            SourceTransaction(
                narrowID: transaction ?? nextTransaction, endLSN: store.watermark, commitMicroseconds: 0,
                changes: changes))
    }

    private func answer(_ question: OriginQuery) -> [[String?]] {
        switch question.sql {
        case CatalogQueries.originFacts:
            return [["5", "shop", "150018", "logical", "UTF8", "f", "pgcache", "f", "t", "f"]]
        case CatalogQueries.functions(builtIn: true):
            return ["count 2803 i a", "set_config 2078 v f", "pg_advisory_unlock_all 2892 v f"].map { line in
                let words = line.split(separator: " ").map(String.init)
                return [words[0], words[1], "pg_catalog", words[2], words[3], "f"]
            }
        case CatalogQueries.functions(builtIn: false): return [["effect", "20500", "public", "v", "f", "f"]]
        case CatalogQueries.userNames: return []
        case CatalogQueries.relations: return relations(question.parameters)
        case Rights.sql:
            return [[deniedRoles.contains(question.parameters[0] ?? "") ? "f" : "t"]]
        default:
            // The poll: no row of it has this form, so each one after the first tells of a change.
            return [[]]
        }
    }

    private func relations(_ parameters: [String?]) -> [[String?]] {
        guard let schemas = parameters[0].flatMap(SQLText.elements(ofArray:)),
            let names = parameters[1].flatMap(SQLText.elements(ofArray:))
        else { return [] }
        return zip(schemas, names).sorted { $0 < $1 }.flatMap { schema, name -> [[String?]] in
            guard schema == "public", let oid = Self.relations[name] else {
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

/// One session between its client and its origin; what it does is told in words.
///
///     "forward QS"  messages that the origin gets     "inject P"   ours before them
///     "hit"         answered from the cache           "reply 1T"   answered by the session
///     "park" "more" nothing is decided                "relay TDCZ" "swallow 1"  of the origin's messages
final class Dialogue {
    let origin: CannedOrigin
    let role: String
    let searchPath: String
    var session: Session
    var store: CacheStore { origin.store }
    /// All that the client has got, and what it said that is undecided.
    private(set) var received: [UInt8] = []
    private(set) var unread: [UInt8] = []
    private var unheard: [UInt8] = []
    private(set) var sentToOrigin: [UInt8] = []

    init(_ origin: CannedOrigin, number: UInt32, role: String, searchPath: String) {
        self.origin = origin
        self.role = role
        self.searchPath = searchPath
        session = Session(number: SessionNumber(index: number, generation: 1))
    }

    func takeReceived() -> String {
        defer { received = [] }
        return Wire.types(received)
    }
    func takeReceivedBytes() -> [UInt8] {
        defer { received = [] }
        return received
    }
    func takeSentToOrigin() -> [UInt8] {
        defer { sentToOrigin = [] }
        return sentToOrigin
    }

    func logIn(database: String = "shop") {
        sends(Wire.startup([("user", role), ("database", database)]))
        hears(Wire.authentication(0))
        hears(
            Wire.parameterStatus("client_encoding", "UTF8")
                + Wire.parameterStatus("application_name", "shop") + Wire.keyData + Wire.ready())
        guard session.hasInjection else { return }
        sentToOrigin += session.takeInjection()
        readsProfile()
        _ = takeReceived()
    }

    /// The origin answers the question for the settings.
    @discardableResult
    func readsProfile(
        _ changed: [String: String] = [:], role: String? = nil, status: Character = "I"
    ) -> [String] {
        let role = role ?? self.role
        let values = Profile.settings.map { setting -> String? in
            if let value = changed[setting] { return value }
            switch setting {
            case "client_encoding": return "UTF8"
            case "standard_conforming_strings": return "on"
            default: return "default"
            }
        }
        let row: [String?] =
            ["shop", self.role, role, searchPath, "read committed", "read committed", "off", "origin", "0", "UTF8"]
            + [searchPath]
            + values
        return hears(
            Wire.rowDescription([]) + Wire.dataRow(row) + Wire.commandComplete("SELECT 1") + Wire.ready(status))
    }

    /// The client says this; what becomes of it.
    @discardableResult
    func sends(_ bytes: [UInt8]) -> [String] {
        unread += bytes
        return decides()
    }

    /// What the client has said is looked at again.
    @discardableResult
    func decides() -> [String] {
        var told: [String] = []
        var turns = 0
        while !unread.isEmpty {
            turns += 1
            guard turns < 100_000 else {
                Issue.record("the session makes no progress")
                return told
            }
            let step = withView(unread) { session.clientSent($0, store) }
            let (word, consumed) = perform(step)
            told.append(word)
            guard consumed <= unread.count else {
                Issue.record("consumes more than there is: \(word)")
                return told
            }
            unread.removeFirst(consumed)
            if word == "park" || word == "more" || word.hasPrefix("fail") { return told }
        }
        return told
    }

    private func perform(_ step: Session.ClientStep) -> (String, Int) {
        switch step {
        case .needMore(let count):
            #expect(count > unread.count, "asks for what it has")
            return ("more", 0)
        case .park: return ("park", 0)
        case .refuseEncryption(let consumed): return ("refuse", consumed)
        case .open(let consumed): return ("open", consumed)
        case .cancel(let consumed, _): return ("cancel", consumed)
        case .hit(let consumed, let hit):
            if hit.parts.contains(.parseComplete) { received += Wire.parseComplete }
            if hit.parts.contains(.bindComplete) { received += Wire.bindComplete }
            received += store.bytes(hit.entry, describes: hit.parts.contains(.description)).bytes
            if hit.parts.contains(.ready) {
                received += Wire.ready(hit.parts.contains(.isInBlock) ? "T" : "I")
            }
            return ("hit", consumed)
        case .reply(let consumed):
            let reply = session.takeOutgoing()
            received += reply
            return ("reply \(Wire.types(reply))", consumed)
        case .forward(let consumed):
            let injection = session.takeInjection()
            let bytes = Array(unread.prefix(consumed))
            sentToOrigin += injection + bytes
            let injected = injection.isEmpty ? "" : "inject \(Wire.types(injection)) "
            return (injected + "forward \(Wire.types(bytes))", consumed)
        case .terminate(let consumed): return ("terminate", consumed)
        case .fail(let error): return ("fail \(error.state.code)", 0)
        }
    }

    /// The origin says this; what the client gets of it.
    @discardableResult
    func hears(_ bytes: [UInt8]) -> [String] {
        unheard += bytes
        var told: [String] = []
        while !unheard.isEmpty {
            let step = withView(unheard) { session.originSent($0, store) }
            session.signals = session.signals.intersection(.originSaidFatal)
            switch step {
            case .needMore(let count):
                #expect(count > unheard.count, "asks for what it has")
                return told + ["more"]
            case .relay(let count):
                guard count > 0, count <= unheard.count else {
                    Issue.record("relays \(count) of \(unheard.count)")
                    return told
                }
                received += unheard.prefix(count)
                told.append("relay \(Wire.types(Array(unheard.prefix(count))))")
                unheard.removeFirst(count)
            case .swallow(let count):
                guard count > 0, count <= unheard.count else {
                    Issue.record("swallows \(count) of \(unheard.count)")
                    return told
                }
                told.append("swallow \(Wire.types(Array(unheard.prefix(count))))")
                received += session.takeOutgoing()
                sentToOrigin += session.takeInjection()
                unheard.removeFirst(count)
            case .hold:
                told.append("hold")
                return told
            }
        }
        return told
    }

    /// The origin answers, the session's settings first where it was asked for them.
    func hearsAll(_ bytes: [UInt8]) {
        if session.settings.isAsked {
            readsProfile()
            decides()
        }
        hears(bytes)
    }

    /// A simple SELECT that goes to the origin and is answered there.
    func misses(_ sql: String, _ rows: [[String?]] = [["1"]], columns: [String] = ["id"]) {
        let told = sends(Wire.query(sql))
        #expect(told == ["forward Q"], "\(sql)")
        hears(Wire.rows(rows, columns: columns) + Wire.ready())
        _ = takeReceived()
    }

    /// Why the last statement was forwarded.
    func reasons(_ action: () -> Void) -> [ForwardReason] {
        let before = store.counters.forwards
        action()
        return ForwardReason.allCases.filter { store.counters.forwards[$0.position] > before[$0.position] }
    }
}
