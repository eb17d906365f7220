import CDC
import Cache
import Loop
import PGProtocol

/// The machines of the change stream, and the timers that they asked for.
struct Replication {
    var publication: Publication
    var feed: ReplicationFeed
    /// The publication waits for transactions to end: give it the next snapshot.
    var publicationWantsBeat = false
    var feedTimer: TimerID?
    var publicationTimer: TimerID?
    var isBeatTimerRunning = false
    /// A beat that is not answered by then makes the control connection count as dead; `.max` while none is asked.
    var beatDeadlineNanoseconds = UInt64.max
    /// Why nothing is followed, for `/readyz` and `/status`.
    var trouble: String? = "starting"
    /// Once a second, so that a stream that has stopped shows its lag.
    var isLagBeatDue = false
    /// A beat is wanted although nobody in the cache waits for one.
    var wantsBeat: Bool { publicationWantsBeat || isLagBeatDue }
    var isFeedStarted = false
    var isFeedFinished = false
    var isPublicationFinished = false

    init(settings: Settings, seed: UInt64) {
        let digits = String(seed, radix: 16)
        publication = Publication(
            configuration: settings.cdc.publicationName.map { .adopt($0) }
                ?? .own(Leftovers.publicationPrefix + digits))
        var configuration = ReplicationFeed.Configuration(
            slot: settings.cdc.slotName ?? Leftovers.slotPrefix + digits)
        configuration.isPersistent = settings.cdc.slot == .persistent
        configuration.silenceMilliseconds = settings.cdc.silenceMilliseconds
        configuration.lagBytesMax = UInt64(settings.cdc.lagLimitBytes)
        feed = ReplicationFeed(configuration: configuration)
    }
}
