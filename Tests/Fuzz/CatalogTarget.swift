import CDC
import PGProtocol

@testable import Cache

/// Arbitrary rows as answers to pgcache's own questions: the catalog, rights, the poll, the settings of a
/// session, snapshots and positions, and everything that the two links of the change stream ask.
///
/// The payload is text: fields end with a tab, rows with a line feed, and `\N` is NULL. The controls
/// say which answers are taken from it; the first says what is asked besides.
enum CatalogTarget {
    private static let now = Instant(nanoseconds: 1_000_000_000)

    static func run(_ input: FuzzInput) {
        var input = input
        let rows = rows(of: input.payload)
        switch input.control() % 4 {
        case 0: store(rows, &input)
        case 1: feed(rows, isPersistent: input.control() & 1 == 1)
        case 2: publication(rows, isAdopted: input.control() & 1 == 1, &input)
        default: texts(rows)
        }
    }

    private static func rows(of view: ByteView) -> [[String?]] {
        view.string.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.split(separator: "\t", omittingEmptySubsequences: false).map { $0 == "\\N" ? nil : String($0) }
        }
    }

    // MARK: - The store

    /// A control for each question: odd ones are answered with a part of the rows, from where the last one
    /// ended.
    private static func store(_ rows: [[String?]], _ given: inout FuzzInput) {
        var input = given
        var position = 0
        var questions = 0
        let shop = CannedShop { question in
            let control = input.control()
            questions += 1
            guard control & 1 == 1, questions < 40 else { return nil }
            let end = min(position + Int(control >> 1 & 15), rows.count)
            defer { position = end }
            return Array(rows[position..<end])
        }
        let client = Dialogue.loggedIn(shop, number: 0)
        shop.warmUp(client)
        for relation in [CannedShop.items, OID(1), OID(20_003)] {
            shop.inserts(relation, ["7", "3", "1"])
            shop.receives(relation, .delete(old: .key([.text([0x37]), .null, .null])))
        }
        shop.turnEnds([client])
        expect(shop.store.catalog.nameCount <= shop.store.catalog.namesMax, "the catalog keeps its bound")
    }

    // MARK: - The links of the stream

    private static func feed(_ rows: [[String?]], isPersistent: Bool) {
        var configuration = ReplicationFeed.Configuration(slot: "pgcache_fuzz")
        configuration.isPersistent = isPersistent
        var feed = ReplicationFeed(configuration: configuration)
        _ = feed.started(publication: "pgcache_fuzz", now: now)
        _ = feed.linkConnected(serverVersion: 150_018, now: now)
        for row in rows {
            _ = feed.linkAnswered(rows: row == [""] ? [] : [row], now: now)
            if let field = row.first, let text = field, let lsn = LSN(text) {
                _ = feed.originObserved(lsn, now: now)
                _ = feed.retentionMeasured(bytes: lsn.value, walStatus: row.last.flatMap { $0 } ?? "", now: now)
            }
            _ = feed.linkStreaming(now: now)
        }
        _ = feed.linkLost(state: "", message: "", now: now)
        expect(!feed.isLive, "a feed without a link is not live")
    }

    private static func publication(_ rows: [[String?]], isAdopted: Bool, _ input: inout FuzzInput) {
        let name = "pgcache_0badcafe"
        var publication = Publication(configuration: isAdopted ? .adopt(name) : .own(name))
        var clock = now
        _ = publication.started(now: clock)
        _ = publication.linkConnected(serverVersion: 150_018, now: clock)
        var position = 0
        for _ in 0..<40 {
            let control = input.control()
            let end = min(position + Int(control & 7), rows.count)
            clock = clock.advanced(byMilliseconds: UInt64(control))
            switch control >> 5 {
            case 0: _ = publication.relationWanted(CannedShop.items, schema: "public", name: "items", now: clock)
            case 1: _ = publication.clockReached(clock)
            case 2: if let snapshot = Snapshot("900:950:901,902") {
                _ = publication.snapshotArrived(snapshot, now: clock)
            }
            case 3: _ = publication.linkFailed(state: "55P03", message: "locked", now: clock)
            default:
                _ = publication.linkAnswered(rows: Array(rows[position..<end]), now: clock)
                position = end
            }
        }
    }

    // MARK: - Texts

    /// What is read and written again is the same.
    private static func texts(_ rows: [[String?]]) {
        for row in rows {
            for field in row {
                guard let text = field else { continue }
                if let lsn = LSN(text) {
                    expect(LSN(lsn.description) == lsn, "\(lsn) is another when it is read again")
                    _ = lsn.withoutPageHeader
                }
                if let oid = OID(text) { expect(OID(oid.description) == oid, "\(oid) is another") }
                if let snapshot = Snapshot(text) { check(snapshot) }
                if let elements = SQLText.elements(ofArray: text) {
                    expect(
                        SQLText.elements(ofArray: SQLText.array(elements)) == elements,
                        "\(elements) are others when they are read again")
                }
                _ = SQLText.character(text)
            }
            _ = Profile.parse(row: row, database: "shop")
            // The few columns that matter, with what is usual behind them.
            let usual = [String?](repeating: "on", count: max(Profile.readColumnCount - row.count, 0))
            if let reading = Profile.parse(row: row + usual, database: "shop") {
                _ = reading.profile.standardConformingStrings
            }
        }
        _ = Rights.judge(rows)
        var poll = CatalogPoll()
        expect(poll.absorb(rows) == .everything, "the first poll is a change of everything")
    }

    private static func check(_ snapshot: Snapshot) {
        for running in snapshot.running {
            expect(!snapshot.isFinished(running), "\(running) runs")
        }
        expect(!snapshot.isFinished(snapshot.upper), "what is beyond the end has not finished")
        let narrow = UInt32(truncatingIfNeeded: snapshot.upper.value)
        expect(snapshot.widen(narrow) == snapshot.upper, "the end is the nearest to itself")
        _ = snapshot.isEveryoneFinished(below: snapshot.lower)
    }
}
