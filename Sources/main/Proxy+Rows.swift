import Cache
import Logging
import Loop
import PGProtocol

/// The row tier's commands performed, and what came of them told.
extension Proxy {
    /// The real one: a simulator has a model.
    func makeCacheDatabase() {
        guard settings.rows.isOn else { return }
        cacheDatabase = PostgresCacheDatabase(
            cluster: settings.rows.makeCluster(
                reactor: reactor, resolver: resolver, tag: Tag(.rows, index: 0).value),
            isOwnCluster: settings.rows.server == nil, reactor: reactor, resolver: resolver, log: log,
            originParameters: parameters(
                settings.origin, application: "pgcache populate",
                options: CacheSQL.fixedOptions + " -c lock_timeout=2000"),
            populationsMax: settings.rows.populationsMax, makeTag: { Tag(.rows, index: 16 + $0).value },
            parseBody: { [store] in store.parseBody(of: $0) },
            profileSettings: { [store] in store.settings(ofProfile: $0) })
    }

    /// Completions of a model's carry this.
    package static var cacheDatabaseTag: UInt64 { Tag(.rows, index: 16).value }

    /// Makes the cache database once it is known what the origin is like; tells it what is wanted.
    func settleRows() {
        guard let rows = cacheDatabase else { return }
        if !isStopping, let facts = store.originDatabase, facts != cacheDatabaseFacts {
            cacheDatabaseFacts = facts
            rows.start(like: facts)
        }
        while let command = store.nextRowCommand() { rows.perform(command) }
        drainRows(rows)
        rows.flush()
    }

    func rowsCompleted(_ completion: Completion) {
        guard let rows = cacheDatabase else { return }
        rows.advance(completion)
        drainRows(rows)
    }

    private func drainRows(_ rows: any CacheDatabase) {
        while let event = rows.nextEvent() {
            switch event {
            case .ready(let alikeness):
                rowsTrouble = nil
                log.info("cache database ready", metadata: ["alike": "\(alikeness)"])
                store.cacheDatabaseReady(alikeness)
            case .lost(let reason):
                rowsTrouble = reason
                log.warning("no cache database", metadata: ["reason": "\(reason)"])
                store.cacheDatabaseLost()
            case .poolCreated(let relation, let table, let types):
                log.info("relation pool made", metadata: ["oid": "\(relation)"])
                store.poolCreated(relation, tableOID: table, columnTypes: types)
            case .poolInherits(let child, let parent): store.poolInherits(child, parent: parent)
            case .poolFailed(let relation, let reason):
                log.warning("no relation pool", metadata: ["oid": "\(relation)", "reason": "\(reason)"])
                store.poolFailed(relation, reason)
            case .applied(let sequence, let missing, let told):
                store.rowsApplied(sequence, missing: missing, told: told)
            case .applyFailed: store.rowsFailed()
            case .populationLoaded(let id, let bytes, let reach):
                store.populationLoaded(id, bytes: bytes, reach: reach)
            case .populationFailed(let id, let failure):
                log.info("population given up", metadata: ["number": "\(id.number)", "reason": "\(failure)"])
                store.populationFailed(id, failure)
            case .readArrived(let entry, let bytes): withView(bytes) { store.readArrived(entry, $0) }
            case .readEnded(let entry): store.readEnded(entry)
            case .readFailed(let entry): store.readFailed(entry)
            case .keysListed(let number, let keys): store.keysListed(number, keys)
            case .zoneDescribed(let zone, let digest): store.zoneDescribed(zone, digest)
            case .measured(let bytes): store.poolsMeasured(bytes)
            }
        }
    }
}
