import CDC
import PGProtocol
import Testing

/// Dialogues: what the origin says, and what the feed then wants done.
@Suite struct ReplicationFeedTests {
    private typealias Action = ReplicationAction

    private func feed(
        persistent: Bool = false, lagBytesMax: UInt64 = 1 << 30, acknowledgeMilliseconds: UInt64 = 0
    ) -> ReplicationFeed {
        var configuration = ReplicationFeed.Configuration(slot: "pgcache_ab")
        configuration.isPersistent = persistent
        configuration.acknowledgeMilliseconds = acknowledgeMilliseconds
        configuration.lagBytesMax = lagBytesMax
        configuration.silenceMilliseconds = 1_000
        return ReplicationFeed(configuration: configuration)
    }

    private static let identity: [[String?]] = [["7001", "1", "0/100", "app"]]
    private static let created: [[String?]] = [["pgcache_ab_1", "0/200", nil, "pgoutput"]]
    private static let fence: [[String?]] = [["fence", "740"]]
    private static let fenceQuery = Action.query("SELECT 'fence', pg_current_xact_id()::text")

    private func acknowledged(_ position: UInt64, clock: Int64, reply: Bool = false) -> Action {
        .sendCopyData(
            ReplicationMessage.statusUpdate(
                position: LSN(position), clockMicroseconds: clock, wantsReply: reply))
    }

    private func data(
        _ feed: inout ReplicationFeed, _ bytes: [UInt8], _ now: Instant, moreFollow: Bool = false
    ) -> [ReplicationAction] {
        bytes.withUnsafeBytes {
            feed.copyDataReceived(ByteView($0), now: now, moreFollow: moreFollow)
        }
    }

    /// A feed that streams from 0/200 since 4 ms.
    private func streaming(
        persistent: Bool = false, lagBytesMax: UInt64 = 1 << 30, acknowledgeMilliseconds: UInt64 = 0,
        serverVersion: Int32 = 150_000
    ) -> ReplicationFeed {
        var feed = feed(
            persistent: persistent, lagBytesMax: lagBytesMax, acknowledgeMilliseconds: acknowledgeMilliseconds)
        _ = feed.started(publication: "p", now: .ms(0))
        _ = feed.linkConnected(serverVersion: serverVersion, now: .ms(1))
        _ = feed.linkAnswered(rows: Self.identity, now: .ms(2))
        if persistent { _ = feed.linkAnswered(rows: [], now: .ms(2)) }
        _ = feed.linkAnswered(rows: Self.created, now: .ms(3))
        _ = feed.linkAnswered(rows: Self.fence, now: .ms(3))
        _ = feed.linkStreaming(now: .ms(4))
        return feed
    }

    @Test func itCreatesATemporarySlotAndStreams() {
        var feed = feed()
        #expect(feed.started(publication: "we\"ird's", now: .ms(0)) == [.connect, .wake(at: .ms(30_000))])
        #expect(feed.linkConnected(serverVersion: 150_000, now: .ms(1)) == [.query("IDENTIFY_SYSTEM")])
        #expect(
            feed.linkAnswered(rows: Self.identity, now: .ms(2)) == [
                .query(
                    "CREATE_REPLICATION_SLOT \"pgcache_ab_1\" TEMPORARY LOGICAL pgoutput "
                        + "NOEXPORT_SNAPSHOT"),
                .wake(at: .ms(130_002)),
            ])
        #expect(
            feed.linkAnswered(rows: Self.created, now: .ms(3)) == [Self.fenceQuery, .wake(at: .ms(30_003))])
        #expect(
            feed.linkAnswered(rows: Self.fence, now: .ms(3)) == [
                .fenced(below: TransactionID(740)),
                .startReplication(
                    "START_REPLICATION SLOT \"pgcache_ab_1\" LOGICAL 0/200 (proto_version '1', "
                        + "publication_names '\"we\"\"ird''s\"', messages 'true')"),
                .wake(at: .ms(30_003)),
            ])
        #expect(
            feed.linkStreaming(now: .ms(4)) == [
                acknowledged(0x200, clock: 0), .live(LSN(0x200)), .wake(at: .ms(504)),
            ])
        #expect(feed.isLive && feed.watermark == LSN(0x200))
    }

    /// [T2] Without the fence nobody knows what the stream leaves out.
    @Test func withoutATransactionNumberThereIsNoStream() {
        for answers: [[String?]] in [[], [["fence", nil]], [["fence", "x"]]] {
            var feed = feed()
            _ = feed.started(publication: "p", now: .ms(0))
            _ = feed.linkConnected(serverVersion: 150_000, now: .ms(1))
            _ = feed.linkAnswered(rows: Self.identity, now: .ms(2))
            _ = feed.linkAnswered(rows: Self.created, now: .ms(3))
            let actions = feed.linkAnswered(rows: answers, now: .ms(4))
            guard case .lost(_, mustEmpty: true) = actions.first else {
                Issue.record("\(actions)")
                continue
            }
        }
    }

    @Test func serversBefore14AreNotAskedForMessages() {
        var feed = feed()
        _ = feed.started(publication: "p", now: .ms(0))
        _ = feed.linkConnected(serverVersion: 130_010, now: .ms(1))
        _ = feed.linkAnswered(rows: Self.identity, now: .ms(2))
        _ = feed.linkAnswered(rows: Self.created, now: .ms(3))
        #expect(
            feed.linkAnswered(rows: Self.fence, now: .ms(3)).last(where: { $0.isStart })
                == .startReplication(
                    "START_REPLICATION SLOT \"pgcache_ab_1\" LOGICAL 0/200 (proto_version '1', "
                        + "publication_names '\"p\"')"))
    }

    @Test func aCommitIsGivenThenCountedThenAcknowledged() {
        var feed = streaming()
        let row: RowImage = [StreamBytes.text("1"), .null]
        for bytes in [
            StreamBytes.begin(7, final: 0x300), StreamBytes.relation(1), StreamBytes.insert(1, row),
        ] {
            #expect(data(&feed, StreamBytes.walData(bytes, at: 0x300), .ms(5)) == [])
        }
        #expect(feed.watermark == LSN(0x200) && feed.receivedLSN == LSN(0x300))
        let end = StreamBytes.walData(StreamBytes.commit(0x300, end: 0x330), at: 0x300)
        let actions = data(&feed, end, .ms(6))
        guard case .relationDescribed(let shape) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(shape.oid == OID(1))
        #expect(
            Array(actions.dropFirst()) == [
                .transactionReceived(
                    SourceTransaction(
                        narrowID: 7, endLSN: LSN(0x330), commitMicroseconds: 1_000,
                        changes: [RowChange(relation: OID(1), kind: .insert(new: row))])),
                .watermarkAdvanced(LSN(0x330)), acknowledged(0x330, clock: 2_000),
            ])
    }

    @Test func commitsInOneReadShareAnAcknowledgement() {
        var feed = streaming()
        var last: [ReplicationAction] = []
        for (index, position) in [UInt64(0x300), 0x400].enumerated() {
            let begin = StreamBytes.walData(StreamBytes.begin(7, final: position))
            let commit = StreamBytes.walData(StreamBytes.commit(position, end: position + 8))
            _ = data(&feed, begin, .ms(5), moreFollow: true)
            last = data(&feed, commit, .ms(5), moreFollow: index == 0)
            #expect(last.contains(acknowledged(position + 8, clock: 2_000)) == (index == 1))
        }
    }

    /// Each wakes the walsender. What is owed is sent with the clock, once, or when the walsender asks.
    @Test func acknowledgementsAreFew() {
        var feed = streaming(acknowledgeMilliseconds: 50)
        #expect(
            data(&feed, StreamBytes.keepalive(0x280), .ms(60)) == [
                .watermarkAdvanced(LSN(0x280)), acknowledged(0x280, clock: 2_000),
            ])
        #expect(
            data(&feed, StreamBytes.keepalive(0x290), .ms(70)) == [.watermarkAdvanced(LSN(0x290)), .wake(at: .ms(110))])
        #expect(data(&feed, StreamBytes.keepalive(0x2A0), .ms(80)) == [.watermarkAdvanced(LSN(0x2A0))])
        #expect(feed.clockReached(.ms(110)) == [acknowledged(0x2A0, clock: 2_000), .wake(at: .ms(580))])
        #expect(feed.clockReached(.ms(120)) == [.wake(at: .ms(580))])
        #expect(data(&feed, StreamBytes.keepalive(0x2A0), .ms(130)) == [.wake(at: .ms(160))])
        #expect(
            data(&feed, StreamBytes.keepalive(0x2A0, reply: true), .ms(140)) == [acknowledged(0x2A0, clock: 2_000)])
    }

    /// [T8] They have not been seen to report a position that nobody has acknowledged.
    @Test func olderServersAreAcknowledgedAtOnce() {
        var feed = streaming(acknowledgeMilliseconds: 50, serverVersion: 140_012)
        for position: UInt64 in [0x280, 0x290] {
            #expect(
                data(&feed, StreamBytes.keepalive(position), .ms(5)) == [
                    .watermarkAdvanced(LSN(position)), acknowledged(position, clock: 2_000),
                ])
        }
    }

    @Test func keepalivesMoveTheWatermarkOnlyBetweenTransactions() {
        var feed = streaming()
        #expect(
            data(&feed, StreamBytes.keepalive(0x280), .ms(5)) == [
                .watermarkAdvanced(LSN(0x280)), acknowledged(0x280, clock: 2_000),
            ])
        // An older position proves nothing new, and is answered all the same [T8].
        #expect(
            data(&feed, StreamBytes.keepalive(0x240), .ms(6)) == [acknowledged(0x280, clock: 2_000)])
        _ = data(&feed, StreamBytes.walData(StreamBytes.begin(7, final: 0x300)), .ms(7))
        #expect(
            data(&feed, StreamBytes.keepalive(0x400), .ms(8)) == [acknowledged(0x280, clock: 2_000)])
    }

    @Test func aBacklogIsWorkedOffBeforeItIsLive() {
        var feed = feed(persistent: true)
        _ = feed.started(publication: "p", now: .ms(0))
        _ = feed.linkConnected(serverVersion: 150_000, now: .ms(1))
        _ = feed.linkAnswered(rows: [["7001", "1", "0/900", "app"]], now: .ms(2))
        _ = feed.linkAnswered(rows: [], now: .ms(2))
        _ = feed.linkAnswered(rows: Self.created, now: .ms(3))
        _ = feed.linkAnswered(rows: Self.fence, now: .ms(3))
        #expect(!feed.linkStreaming(now: .ms(4)).contains(.live(LSN(0x200))))
        _ = data(&feed, StreamBytes.keepalive(0x800), .ms(5))
        #expect(!feed.isLive)
        #expect(data(&feed, StreamBytes.keepalive(0x900), .ms(6)).last == .live(LSN(0x900)))
    }

    @Test func aBlockedSlotIsExplainedAndTriedAgainLaterAndLater() {
        var feed = feed()
        _ = feed.started(publication: "p", now: .ms(0))
        var now = Instant.ms(0)
        for delay in [UInt64(500), 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            _ = feed.linkConnected(serverVersion: 150_000, now: now)
            _ = feed.linkAnswered(rows: Self.identity, now: now)
            let actions = feed.linkFailed(state: "55P03", message: "lock timeout", now: now)
            let until = now.advanced(byMilliseconds: delay)
            #expect(
                actions == [
                    .explainBlocker(sql: ReplicationFeed.blockerQuery),
                    .lost(reason: .slotBlocked, mustEmpty: true), .close, .wake(at: until),
                ])
            #expect(feed.clockReached(now) == [.wake(at: until)])
            #expect(feed.clockReached(until).first == .connect)
            now = until
        }
    }

    @Test(arguments: [true, false]) func aMissingPublicationMeansANewSlot(asError: Bool) {
        var feed = streaming(persistent: true)
        let message = "publication \"p\" does not exist"
        let actions =
            asError
            ? feed.linkFailed(state: "42704", message: message, now: .ms(9))
            : feed.linkLost(state: "42704", message: message, now: .ms(9))
        #expect(actions.first == .lost(reason: .publicationMissing, mustEmpty: true))
        #expect(!feed.isLive)
    }

    @Test func silenceIsQuestionedAndThenBelieved() {
        var feed = streaming()
        #expect(feed.clockReached(.ms(400)) == [.wake(at: .ms(504))])
        #expect(
            feed.clockReached(.ms(504)) == [
                acknowledged(0x200, clock: 0, reply: true), .wake(at: .ms(1_004)),
            ])
        _ = data(&feed, StreamBytes.keepalive(0x200), .ms(900))
        #expect(feed.clockReached(.ms(1_004)) == [.wake(at: .ms(1_400))])
        _ = feed.clockReached(.ms(1_400))
        #expect(
            feed.clockReached(.ms(1_900)) == [
                .lost(reason: .silent(milliseconds: 1_000), mustEmpty: true), .close,
                .wake(at: .ms(2_400)),
            ])
    }

    @Test func aProcessThatSleptAsksBeforeItDespairs() {
        var feed = streaming()
        #expect(
            feed.clockReached(.ms(90_000)) == [
                acknowledged(0x200, clock: 0, reply: true), .wake(at: .ms(90_500)),
            ])
        #expect(feed.isLive)
    }

    @Test func tooFarBehindGivesTheSlotUp() {
        var feed = streaming(lagBytesMax: 0x1000)
        #expect(feed.originObserved(LSN(0x1200), now: .ms(5)) == [])
        #expect(feed.lagBytes == 0x1000)
        #expect(
            feed.originObserved(LSN(0x1201), now: .ms(5)).prefix(2) == [
                .lost(reason: .lagLimit(bytes: 0x1001), mustEmpty: true), .close,
            ])
    }

    @Test func retainedWALGivesTheSlotUp() {
        var feed = streaming(lagBytesMax: 0x1000)
        #expect(feed.retentionMeasured(bytes: 0x1000, walStatus: "reserved", now: .ms(5)) == [])
        var other = feed
        #expect(
            feed.retentionMeasured(bytes: 0x1001, walStatus: "extended", now: .ms(5)).first
                == .lost(reason: .lagLimit(bytes: 0x1001), mustEmpty: true))
        #expect(
            other.retentionMeasured(bytes: 0, walStatus: "lost", now: .ms(5)).first
                == .lost(reason: .slotLost("its WAL was removed"), mustEmpty: true))
    }

    @Test func lagInSecondsIsTheOriginsTime() {
        var feed = streaming()
        _ = data(&feed, StreamBytes.keepalive(0x280, clock: 5_000_000), .ms(5))
        #expect(feed.lagMicroseconds == 0)
        _ = feed.originObserved(LSN(0x900), now: .ms(6))
        _ = data(&feed, StreamBytes.keepalive(0x280, clock: 9_000_000), .ms(7))
        #expect(feed.lagMicroseconds == 4_000_000, "a keepalive that lags behind the beat")
        let begin = StreamBytes.begin(7, final: 0x300, at: 6_000_000)
        let commit = StreamBytes.commit(0x300, end: 0x330, at: 6_000_000)
        _ = data(&feed, StreamBytes.walData(begin, clock: 9_000_000), .ms(8))
        _ = data(&feed, StreamBytes.walData(commit, clock: 9_500_000), .ms(8))
        #expect(feed.lagMicroseconds == 3_500_000)
        _ = data(&feed, StreamBytes.keepalive(0x900, clock: 10_000_000), .ms(9))
        #expect(feed.lagMicroseconds == 0 && feed.lagBytes == 0)
    }

    @Test(arguments: [
        [UInt8](), [1, 2], StreamBytes.walData([UInt8(ascii: "S"), 0]),
        StreamBytes.walData(StreamBytes.commit(0x300, end: 0x330)),
        StreamBytes.keepalive(0x300) + [0],
    ])
    func bytesThatAreNotTheProtocolEndTheStream(bytes: [UInt8]) {
        var feed = streaming(persistent: true)
        let actions = data(&feed, bytes, .ms(5))
        guard case .lost(.protocolViolation, mustEmpty: true) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(data(&feed, StreamBytes.keepalive(0x900), .ms(6)) == [], "late bytes are ignored")
    }

    @Test func aCommitBehindTheWatermarkIsDoubt() {
        var feed = streaming()
        _ = data(&feed, StreamBytes.walData(StreamBytes.begin(7, final: 0x100)), .ms(5))
        let actions = data(&feed, StreamBytes.walData(StreamBytes.commit(0x100, end: 0x130)), .ms(5))
        guard case .lost(.protocolViolation, mustEmpty: true) = actions.first else {
            Issue.record("\(actions)")
            return
        }
    }

    // MARK: A persistent slot

    private func reconnected(
        _ identity: [[String?]] = identity, slot: [[String?]]
    ) -> (ReplicationFeed, [ReplicationAction]) {
        var feed = streaming(persistent: true)
        _ = data(&feed, StreamBytes.keepalive(0x800), .ms(5))
        #expect(
            feed.linkLost(state: "", message: "gone", now: .ms(6)).first
                == .lost(reason: .linkLost(state: "", message: "gone"), mustEmpty: false))
        _ = feed.clockReached(.ms(506))
        _ = feed.linkConnected(serverVersion: 150_000, now: .ms(507))
        _ = feed.linkAnswered(rows: identity, now: .ms(508))
        let actions = feed.linkAnswered(rows: slot, now: .ms(509))
        return (feed, actions)
    }

    @Test func aHealthySlotIsResumedWithoutEmptyingAnything() {
        var (feed, actions) = reconnected(slot: [["f", "t", "reserved", "0/700"]])
        #expect(
            actions.first
                == .startReplication(
                    "START_REPLICATION SLOT \"pgcache_ab\" LOGICAL 0/800 (proto_version '1', "
                        + "publication_names '\"p\"', messages 'true')"))
        #expect(feed.linkStreaming(now: .ms(510)).contains(.live(LSN(0x800))))
    }

    @Test(arguments: [
        [], [["f", "t", "lost", "0/700"]], [["f", "t", "reserved", "0/801"]],
        [["f", "t", "reserved", nil]],
    ] as [[[String?]]])
    func aSlotInDoubtEmptiesEverything(slot: [[String?]]) {
        let (_, actions) = reconnected(slot: slot)
        guard case .lost(.slotLost, mustEmpty: true) = actions.first else {
            Issue.record("\(actions)")
            return
        }
    }

    @Test(arguments: [["7002", "1", "0/900", "app"], ["7001", "2", "0/900", "app"]])
    func anotherOriginOrTimelineEmptiesEverything(row: [String]) {
        let (_, actions) = reconnected([row], slot: [["f", "t", "reserved", "0/700"]])
        guard case .lost(.slotLost, mustEmpty: true) = actions.first else {
            Issue.record("\(actions)")
            return
        }
    }

    @Test func aSlotStillInUseIsWaitedFor() {
        let (_, actions) = reconnected(slot: [["t", "t", "reserved", "0/700"]])
        guard case .lost(.refused, mustEmpty: false) = actions.first else {
            Issue.record("\(actions)")
            return
        }
    }

    @Test func anOldSlotOfOursIsMadeAnewAtTheStart() {
        var feed = feed(persistent: true)
        _ = feed.started(publication: "p", now: .ms(0))
        _ = feed.linkConnected(serverVersion: 150_000, now: .ms(1))
        _ = feed.linkAnswered(rows: Self.identity, now: .ms(2))
        #expect(
            feed.linkAnswered(rows: [["f", "t", "reserved", "0/50"]], now: .ms(3))
                == [.query("DROP_REPLICATION_SLOT \"pgcache_ab\"")])
        #expect(
            feed.linkAnswered(rows: [], now: .ms(4)).first
                == .query("CREATE_REPLICATION_SLOT \"pgcache_ab\" LOGICAL pgoutput NOEXPORT_SNAPSHOT"))
    }

    @Test func aSlotOfSomethingElseIsLeftAlone() {
        var feed = feed(persistent: true)
        _ = feed.started(publication: "p", now: .ms(0))
        _ = feed.linkConnected(serverVersion: 150_000, now: .ms(1))
        _ = feed.linkAnswered(rows: Self.identity, now: .ms(2))
        let actions = feed.linkAnswered(rows: [["f", "f", "reserved", "0/50"]], now: .ms(3))
        guard case .lost(.refused, mustEmpty: true) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(feed.stopped(now: .ms(4)) == [.close, .finished])
    }

    // MARK: The end

    @Test func stoppingClosesAndDropsWhatIsPersistent() {
        var temporary = streaming()
        #expect(temporary.stopped(now: .ms(5)) == [.close, .finished])
        var persistent = streaming(persistent: true)
        #expect(persistent.stopped(now: .ms(5)) == [.close, .connect, .wake(at: .ms(5_005))])
        #expect(
            persistent.linkConnected(serverVersion: 150_000, now: .ms(6))
                == [.query("DROP_REPLICATION_SLOT \"pgcache_ab\" WAIT")])
        #expect(persistent.linkAnswered(rows: [], now: .ms(7)) == [.close, .finished])
        var stuck = streaming(persistent: true)
        _ = stuck.stopped(now: .ms(5))
        #expect(stuck.clockReached(.ms(5_005)) == [.close, .finished])
    }

    @Test func anotherPublicationStartsOver() {
        var feed = streaming(persistent: true)
        #expect(
            feed.started(publication: "q", now: .ms(5)).first
                == .lost(reason: .publicationReplaced, mustEmpty: true))
    }

    @Test func stepsThatAreNotAnsweredAreGivenUp() {
        var feed = feed()
        _ = feed.started(publication: "p", now: .ms(0))
        #expect(feed.clockReached(.ms(29_999)) == [.wake(at: .ms(30_000))])
        #expect(
            feed.clockReached(.ms(30_000)).first
                == .lost(reason: .unanswered(step: "connecting"), mustEmpty: true))
    }

    @Test func noEventTrapsInAnyState() {
        var random = Seeded(3)
        let rows: [[[String?]]] = [
            [], [[]], [[nil]], Self.identity, Self.created, [["f", "t", "reserved", "0/1"]],
        ]
        let streams = StreamBytes.specimens.map { StreamBytes.walData($0, at: 5) }
        for seed in 0..<300 {
            var feed = feed(persistent: seed % 2 == 0)
            for step in 0..<60 {
                let now = Instant.ms(UInt64(step * random.below(2_000)))
                switch random.below(10) {
                case 0: _ = feed.started(publication: "p", now: now)
                case 1: _ = feed.linkConnected(serverVersion: 150_000, now: now)
                case 2, 3: _ = feed.linkAnswered(rows: rows[random.below(rows.count)], now: now)
                case 4: _ = feed.linkFailed(state: "55P03", message: "", now: now)
                case 5: _ = feed.linkStreaming(now: now)
                case 6: _ = data(&feed, streams[random.below(streams.count)], now)
                case 7: _ = data(&feed, StreamBytes.keepalive(.max), now)
                case 8: _ = feed.clockReached(now)
                default: _ = feed.linkLost(state: "", message: "", now: now)
                }
            }
        }
    }
}

extension ReplicationAction {
    fileprivate var isStart: Bool { if case .startReplication = self { true } else { false } }
}
