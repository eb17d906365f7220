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
    /// Now and then, so that a stream that has stopped shows its lag, and the watermark's age is known.
    var isLagBeatDue = false
    var staleness: Staleness
    /// When a beat last made the origin flush its WAL, and whether it may.
    var flushedNanoseconds: UInt64 = 0
    var isFlushing = false
    /// When the watermark last moved.
    var advancedNanoseconds: UInt64 = 0
    var mayFlush = true
    /// Why changes of the schema by others are noticed by the poll alone; nil while an event trigger reports them.
    var eventTriggerTrouble: String?
    /// A beat is wanted although nobody in the cache waits for one.
    var wantsBeat: Bool { publicationWantsBeat || isLagBeatDue }
    var isFeedStarted = false
    var isFeedFinished = false
    var isPublicationFinished = false

    init(settings: Settings, seed: UInt64, nowNanoseconds: UInt64) {
        let digits = String(seed, radix: 16)
        let instance = Leftovers.publicationPrefix + digits
        var own: Publication.Configuration =
            settings.cdc.publicationName.map { .adopt($0, instance: instance) } ?? .own(instance)
        own.installsEventTrigger = settings.usesEventTrigger
        own.pollMilliseconds = settings.catalogPollMilliseconds
        publication = Publication(configuration: own)
        eventTriggerTrouble = settings.usesEventTrigger ? "not created yet" : "switched off"
        staleness = Staleness(
            boundNanoseconds: settings.maxStalenessMilliseconds &* 1_000_000, nowNanoseconds: nowNanoseconds)
        var configuration = ReplicationFeed.Configuration(
            slot: settings.cdc.slotName ?? Leftovers.slotPrefix + digits)
        configuration.isPersistent = settings.cdc.slot == .persistent
        configuration.silenceMilliseconds = settings.cdc.silenceMilliseconds
        configuration.lagBytesMax = UInt64(settings.cdc.lagLimitBytes)
        feed = ReplicationFeed(configuration: configuration)
    }
}
