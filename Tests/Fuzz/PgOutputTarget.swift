import CDC
import PGProtocol

@testable import Cache

/// Arbitrary CopyData messages of a walsender, each behind two bytes of length, applied to a warm store.
///
/// The watermark never goes back, nothing is followed after an error, and the feed acknowledges what it
/// says that it has. After a loss the feed is taken back to where it streams, as the shell would.
enum PgOutputTarget {
    private static let now = Instant(nanoseconds: 1_000_000_000)

    static func run(_ input: FuzzInput) {
        var input = input
        let shop = CannedShop()
        let client = Dialogue.loggedIn(shop, number: 0)
        shop.warmUp(client)
        var feed = streaming(shop)
        var reader = ByteReader(input.payload)
        while let length = try? reader.uint16("length"),
            let message = try? reader.bytes(min(Int(length), reader.remaining), "message")
        {
            let control = input.control()
            let before = feed.watermark
            let actions = withExactCopy(message.bytes[...]) {
                feed.copyDataReceived($0, now: now, moreFollow: control & 1 == 1)
            }
            expect(feed.watermark >= before, "the watermark went back")
            expect(feed.receivedLSN >= feed.watermark, "more was given than received")
            let isLost = apply(actions, to: shop, from: before)
            expect(isLost != feed.isLive, "a feed is live until it says that it is lost")
            if isLost { feed = streaming(shop) }
            if control & 2 == 2 { client.sends(ClientMessages.known[Int(control >> 2) % 3]) }
            if control & 4 == 4 { client.originAnswers() }
            shop.turnEnds([client])
        }
        expect(shop.store.figures.bytes <= shop.store.figures.bytesMax, "the memo keeps its bound")
    }

    /// A feed that has just been told that it streams from 1000 on.
    private static func streaming(_ shop: CannedShop) -> ReplicationFeed {
        var configuration = ReplicationFeed.Configuration(slot: "pgcache_fuzz")
        configuration.limits.rowChangesMax = 8
        configuration.limits.bytesMax = 2048
        configuration.limits.relationsMax = 4
        var feed = ReplicationFeed(configuration: configuration)
        _ = feed.started(publication: "pgcache_fuzz", now: now)
        _ = feed.linkConnected(serverVersion: 150_018, now: now)
        _ = feed.linkAnswered(rows: [["1", "1", "0/3E8", "shop"]], now: now)
        _ = feed.linkAnswered(rows: [["pgcache_fuzz_1", "0/3E8", nil, "pgoutput"]], now: now)
        _ = feed.linkAnswered(rows: [["fence", "740"]], now: now)
        _ = apply(feed.linkStreaming(now: now), to: shop, from: .zero)
        expect(feed.isLive, "a feed without anything to catch up on is live")
        return feed
    }

    /// Performs the actions as the shell does; true when the stream is lost.
    private static func apply(
        _ actions: [ReplicationAction], to shop: CannedShop, from start: LSN
    ) -> Bool {
        var isLost = false
        var reached = start
        for action in actions {
            switch action {
            case .relationDescribed(let shape): shop.store.relationDescribed(shape)
            case .transactionReceived(let transaction):
                expect(transaction.endLSN > reached, "a transaction ends before what was given")
                shop.store.transactionReceived(transaction)
            case .watermarkAdvanced(let lsn):
                expect(lsn > reached, "the watermark went back")
                reached = lsn
                shop.store.watermarkAdvanced(lsn)
            case .fenced(let fence): shop.store.streamFenced(below: fence)
            case .live(let lsn): shop.store.streamBecameLive(lsn)
            case .lost(_, let mustEmpty):
                isLost = true
                shop.store.streamLost(mustEmpty: mustEmpty)
            case .sendCopyData(let bytes): expect(bytes.count == 34, "a status update has 34 bytes")
            case .connect, .query, .startReplication, .close, .explainBlocker, .wake, .finished: break
            }
        }
        return isLost
    }
}
