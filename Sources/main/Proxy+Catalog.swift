import CDC
import Cache
import Logging
import Loop
import PGProtocol

/// The catalog connection: one question at a time, and a poll now and then.
struct CatalogLink {
    /// What the question under way is for.
    enum Question {
        case cache
        /// Who keeps the slot from being created.
        case blocker
        /// How much WAL the slot holds back.
        case retention
    }

    var current: Question?
    var blockerQuery: String?
    var isRetentionDue = false
    /// A question that is not answered by then makes the connection count as dead.
    var deadlineNanoseconds = UInt64.max
    var isPollTimerRunning = false

    /// The shell has a question of its own.
    var isAsking: Bool { isRetentionDue || blockerQuery != nil }
}

extension Proxy {
    func catalogEvent(_ event: LinkEvent) {
        switch event {
        case .connected:
            store.catalogConnected()
            pollLater()
        case .answered(let rows):
            let question = catalogLink.current
            catalogLink.current = nil
            switch question {
            case .cache: store.questionAnswered(rows)
            case .blocker: blockerNamed(rows)
            case .retention: retentionMeasured(rows)
            case nil: break
            }
        case .failed(let state, let message):
            let question = catalogLink.current
            catalogLink.current = nil
            log.warning(
                "catalog question failed", metadata: ["state": "\(state)", "message": "\(message)"])
            if case .cache = question { store.questionFailed() }
        case .lost(_, let message):
            catalogLost(message)
        case .streaming, .copyData:
            break
        }
    }

    private func catalogLost(_ message: String) {
        catalogLink.current = nil
        store.catalogLost()
        if isStopping { return }
        log.warning("catalog connection lost", metadata: ["message": "\(message)"])
        reconnectLater(.catalog)
    }

    func settleCatalog() {
        guard catalogLink.current == nil, let link = links[.catalog], link.isIdle else { return }
        if let sql = catalogLink.blockerQuery {
            catalogLink.blockerQuery = nil
            ask(.blocker, OriginQuery(sql), link)
        } else if catalogLink.isRetentionDue, replication.feed.isLive {
            catalogLink.isRetentionDue = false
            ask(.retention, OriginQuery(replication.feed.retentionQuery), link)
        } else if let query = store.nextQuestion() {
            ask(.cache, query, link)
        }
    }

    private func ask(_ question: CatalogLink.Question, _ query: OriginQuery, _ link: any PostgresLink) {
        catalogLink.current = question
        catalogLink.deadlineNanoseconds = reactor.nowNanoseconds &+ 40_000_000_000
        link.query(query.sql, query.parameters)
    }

    private func pollLater() {
        if catalogLink.isPollTimerRunning { return }
        catalogLink.isPollTimerRunning = true
        _ = startClock(.catalogPoll, milliseconds: settings.catalogPollMilliseconds)
    }

    func pollTimerFired() {
        catalogLink.isPollTimerRunning = false
        if catalogLink.current != nil, reactor.nowNanoseconds > catalogLink.deadlineNanoseconds {
            links[.catalog]?.close()
            catalogLost("a question was not answered")
        } else {
            store.pollDue()
            catalogLink.isRetentionDue = true
        }
        pollLater()
    }

    private func retentionMeasured(_ rows: [[String?]]) {
        guard let row = rows.first, row.count == 2 else { return }
        // A slot that was lost holds nothing back: its restart_lsn is null.
        let bytes = row[0].flatMap { UInt64($0) } ?? 0
        perform(
            replication.feed.retentionMeasured(bytes: bytes, walStatus: row[1] ?? "", now: now))
    }

    func explainBlocker(_ sql: String) { catalogLink.blockerQuery = sql }

    private func blockerNamed(_ rows: [[String?]]) {
        let words = rows.first?.map { $0 ?? "" }.joined(separator: " ") ?? "it has ended meanwhile"
        replication.trouble = "slot creation waits for: \(words)"
        log.warning("slot creation waits for an open transaction", metadata: ["blocker": "\(words)"])
    }

    /// A connection of ours is gone; it is made again a little later.
    func reconnectLater(_ role: LinkRole) {
        guard !isStopping, lostLinks.insert(role).inserted else { return }
        _ = startClock(.reconnect, milliseconds: 1000)
    }

    /// Connections of ours that were lost are made again.
    func reconnect() {
        let lost = lostLinks
        lostLinks = []
        if isStopping { return }
        if lost.contains(.control) { connectControl() }
        if lost.contains(.catalog) { connectCatalog() }
    }
}
