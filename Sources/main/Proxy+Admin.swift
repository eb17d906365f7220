import CDC
import Cache
import Loop
import PGProtocol

/// What operators see: readiness, status, metrics.
extension Proxy: AdminPages {
    func adminCompleted() {
        guard let admin else { return }
        admin.run()
        reactor.poll(adminSocket, .readable)
        if let timeout = admin.timeoutMilliseconds, !isAdminTimerRunning {
            isAdminTimerRunning = true
            _ = startClock(.admin, milliseconds: max(timeout, 1))
        }
    }

    public func readiness() -> (isReady: Bool, reason: String) {
        if isStopping { return (false, "stopping") }
        if listeners.isEmpty { return (false, "not listening") }
        if let trouble = replication.trouble { return (false, trouble) }
        if !store.isReady { return (false, "reading the catalog") }
        if settings.rows.isReadyWhenPinned, let trouble = store.pinnedTrouble { return (false, trouble) }
        return (true, "ready")
    }

    public func status() -> JSON {
        let figures = store.figures
        let counters = store.counters
        replication.staleness.reached(store.reachedBeat)
        return [
            "ready": .bool(readiness().isReady),
            "trouble": JSON(replication.trouble),
            "uptime_ms": JSON((reactor.nowNanoseconds &- startedNanoseconds) / 1_000_000),
            "connections": [
                "active": JSON(connections.activeCount), "total": JSON(shellCounters.connections),
                "refused": JSON(shellCounters.refused),
            ],
            "cache": [
                "size_bytes": JSON(figures.bytes), "size_limit_bytes": JSON(figures.bytesMax),
                "entries": JSON(figures.entries), "generation": JSON(counters.schemaChanges),
                "tables_tracked": JSON(store.followedCount),
                "queries_registered": JSON(figures.statements),
                "policy": .string(settings.memo.policy.rawValue),
                "cache_hits": JSON(counters.hits), "cache_misses": JSON(counters.misses),
                "invalidations": JSON(counters.invalidations), "patches": JSON(figures.patches),
                "evictions": JSON(figures.evictions),
            ],
            "rows": describeRows(),
            "cdc": [
                "live": .bool(store.isServing),
                "last_applied_lsn": .string(store.watermark.description),
                "received_lsn": .string(replication.feed.receivedLSN.description),
                "lag_bytes": JSON(replication.feed.lagBytes),
                "lag_ms": JSON(replication.feed.lagMicroseconds / 1000),
                "publication": .string(replication.publication.configuration.name),
                "event_trigger": .string(replication.eventTriggerTrouble.map { "none: \($0)" } ?? "on"),
                "staleness_ms": JSON(replication.staleness.ageNanoseconds(now: reactor.nowNanoseconds) / 1_000_000),
            ],
            "forwards": .object(
                zip(ForwardReason.allCases, counters.forwards).filter { $1 > 0 }
                    .map { JSON.Member($0.rawValue, JSON($1)) }),
            "queries": .array(store.busiestStatements(max: 100).map(describe)),
        ]
    }

    private func describeRows() -> JSON {
        let rows = store.rowFigures
        return [
            "ready": .bool(rows.isReady), "trouble": JSON(rowsTrouble), "size_bytes": JSON(rows.bytes),
            "size_limit_bytes": JSON(rows.bytesMax),
            "tables": .array(
                rows.relations.map { relation in
                    [
                        "name": .string(relation.name), "state": .string(relation.state),
                        "size_bytes": JSON(relation.bytes),
                        "fragments": .array(relation.fragments.map { .string($0) }),
                    ]
                }),
        ]
    }

    private func describe(_ statement: CacheStore.StatementFigures) -> JSON {
        [
            "sql_preview": .string(statement.preview), "state": .string(statement.state),
            "reason": JSON(statement.reason), "statements": JSON(statement.statements),
            "hit_count": JSON(statement.hits), "miss_count": JSON(statement.misses),
            "entries": JSON(statement.entries), "reads": .array(statement.reads.map { .string($0) }),
            "settings": .string(statement.settings), "last_invalidation": JSON(statement.lastInvalidation),
        ]
    }

    public func metrics() -> [MetricValue] {
        replication.staleness.reached(store.reachedBeat)
        let counters = store.counters
        let figures = store.figures
        let rows = store.rowFigures
        let feed = replication.feed
        var values: [MetricValue] = [
            MetricValue(.queriesTotal, counters.simpleQueries &+ counters.extendedQueries),
            MetricValue(.queriesCacheable, counters.hits &+ counters.misses),
            MetricValue(.queriesUncacheable, counters.forwardsTotal),
            MetricValue(.queriesCacheHit, counters.hits),
            MetricValue(.queriesCacheMiss, counters.misses),
            MetricValue(.connectionsTotal, shellCounters.connections),
            MetricValue(.connectionsActive, connections.activeCount),
            MetricValue(.connectionsErrors, shellCounters.refused &+ shellCounters.connectionErrors),
            MetricValue(.protocolSimpleQueries, counters.simpleQueries),
            MetricValue(.protocolExtendedQueries, counters.extendedQueries),
            MetricValue(.protocolParseLocal, counters.parsesAnswered),
            MetricValue(.protocolBlockLocal, counters.blockVerbsAnswered),
            MetricValue(.sessionSettingsRead, counters.profileReads),
            MetricValue(
                .cdcEventsProcessed,
                counters.inserts &+ counters.updates &+ counters.deletes &+ counters.truncates),
            MetricValue(.cdcInserts, counters.inserts),
            MetricValue(.cdcUpdates, counters.updates),
            MetricValue(.cdcDeletes, counters.deletes),
            MetricValue(.cdcTruncates, counters.truncates),
            MetricValue(.cdcTransactions, counters.transactions),
            MetricValue(.cdcLagBytes, feed.lagBytes),
            MetricValue(.cdcLagSeconds, Double(feed.lagMicroseconds) / 1e6),
            MetricValue(.cdcReceivedLSN, feed.receivedLSN.value),
            MetricValue(.cdcAppliedLSN, store.watermark.value),
            MetricValue(
                .cdcStalenessSeconds,
                Double(replication.staleness.ageNanoseconds(now: reactor.nowNanoseconds)) / 1e9),
            MetricValue(.cdcEventTrigger, replication.eventTriggerTrouble == nil ? 1 : 0),
            MetricValue(.cdcLive, store.isServing ? 1 : 0),
            MetricValue(.cdcRestarts, counters.streamLosses),
            MetricValue(.cdcBeats, counters.beats),
            MetricValue(.cacheInvalidations, counters.invalidations),
            MetricValue(.cacheSpared, counters.spared),
            MetricValue(.cacheEvictions, figures.evictions),
            MetricValue(.cacheFlushes, counters.schemaChanges, [.init("reason", "schema")]),
            MetricValue(.cacheFlushes, counters.streamLosses, [.init("reason", "stream")]),
            MetricValue(.cacheMemoHits, counters.hits),
            MetricValue(.cacheMemoCaptures, figures.captures),
            MetricValue(.cacheMemoCapturesUnfit, counters.capturesRefused, [.init("reason", "visibility")]),
            MetricValue(.cacheMemoCapturesUnfit, figures.abandoned, [.init("reason", "abandoned")]),
            MetricValue(.cacheMemoPatches, figures.patches),
            MetricValue(.cacheMemoEvictions, figures.evictions),
            MetricValue(.cacheMemoEntries, figures.entries),
            MetricValue(.cacheMemoBytes, figures.bytes),
            MetricValue(.cacheMemoBytesMax, figures.bytesMax),
            MetricValue(.cacheQueriesRegistered, figures.statements),
            MetricValue(.cacheStatementsParsed, counters.statementsParsed),
            MetricValue(.cacheStatementsByShape, counters.statementsByShape),
            MetricValue(.cacheWindowsShared, counters.windowsShared),
            MetricValue(.cacheSubsumptions, counters.subsumptions),
            MetricValue(.cacheRowsReady, rows.isReady ? 1 : 0),
            MetricValue(.cacheRowsReads, counters.rowReads),
            MetricValue(.cacheRowsAnswers, counters.rowAnswers),
            MetricValue(.cacheRowsRefused, counters.rowRefusals),
            MetricValue(.cacheRowsOperations, rows.counters.operations),
            MetricValue(.cacheRowsPending, rows.pending),
            MetricValue(.cacheRowsPools, rows.pools),
            MetricValue(.cacheRowsFragments, rows.fragments),
            MetricValue(.cacheRowsBytes, rows.bytes),
            MetricValue(.cacheRowsBytesMax, rows.bytesMax),
            MetricValue(.cacheRowsEvictions, rows.counters.evictions),
            MetricValue(.cacheRowsResets, rows.counters.resets),
            MetricValue(.cachePopulations, rows.counters.populations),
            MetricValue(.cachePopulationsPending, rows.populating),
            MetricValue(.cachePopulationsGivenUp, rows.counters.givenUp),
            MetricValue(.cacheTablesTracked, store.followedCount),
            MetricValue(.cacheGeneration, counters.schemaChanges),
            MetricValue(.cacheCoalesceWaiting, figures.followers),
            MetricValue(.cacheCoalesceServed, counters.coalesced),
            MetricValue(.cacheCoalesceDeadlineForward, counters.coalesceTimeouts),
            MetricValue(.cacheResidentBytes, Syscalls.residentBytes()),
            MetricValue(
                .processProcessorSeconds, Double(Syscalls.processCPUNanoseconds()) / 1e9),
            MetricValue(
                .processUptimeSeconds,
                Double(reactor.nowNanoseconds &- startedNanoseconds) / 1e9),
        ]
        for (reason, count) in zip(ForwardReason.allCases, counters.forwards) where count > 0 {
            values.append(
                MetricValue(.queriesForwarded, count, [.init("reason", reason.rawValue)]))
        }
        return values
    }
}
