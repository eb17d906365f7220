/// One direction of a connection between pgcache's own links and the modelled origin.
///
/// What is sent arrives after a drawn delay, in order, each batch as one. A stalled pipe holds everything back; a cut
/// one drops what is under way and whatever is sent later, which is how nothing of an earlier life of a link is ever
/// delivered.
///
/// Invariant: batches arrive in the order in which they were sent. Owner: the sending side.
final class LinkPipe<Item> {
    private let scheduler: Scheduler
    private var random: Random
    private let typicalMicroseconds: Int
    private let deliver: ([Item]) -> Void
    private var batches: [[Item]] = []
    private var firstBatch = 0
    private var lastArrival: UInt64 = 0
    private var stalledUntil: UInt64 = 0
    private(set) var isCut = false

    /// - Parameters:
    ///   - microseconds: the typical delay; nil for that of pgcache's links to the origin.
    ///   - deliver: called from the scheduler, once for each batch.
    init(
        _ surroundings: Surroundings, _ name: String, _ number: Int, microseconds: Int? = nil,
        deliver: @escaping ([Item]) -> Void
    ) {
        scheduler = surroundings.scheduler
        random = surroundings.random(name, number)
        typicalMicroseconds = max(microseconds ?? surroundings.parameters.linkMicroseconds, 1)
        self.deliver = deliver
    }

    func send(_ batch: [Item]) {
        if isCut || batch.isEmpty { return }
        batches.append(batch)
        lastArrival = max(scheduler.now &+ delay(), lastArrival, stalledUntil)
        scheduler.at(lastArrival) { self.arrive() }
    }

    /// Nothing arrives for so long, not even what is under way.
    func stall(for nanoseconds: UInt64) {
        stalledUntil = max(stalledUntil, scheduler.now &+ nanoseconds)
    }

    func cut() {
        isCut = true
        batches = []
        firstBatch = 0
    }

    private func arrive() {
        if isCut { return }
        guard scheduler.now >= stalledUntil else {
            scheduler.at(stalledUntil) { self.arrive() }
            return
        }
        let batch = batches[firstBatch]
        firstBatch += 1
        if firstBatch == batches.count {
            batches.removeAll(keepingCapacity: true)
            firstBatch = 0
        } else if firstBatch > 256 {
            batches.removeFirst(firstBatch)
            firstBatch = 0
        }
        deliver(batch)
    }

    /// Nanoseconds: 0.3 to 3 times the typical delay, rarely twenty times.
    private func delay() -> UInt64 {
        if random.chance(5) { return UInt64(typicalMicroseconds) * 20_000 }
        return UInt64(typicalMicroseconds * random.within(300...3_000))
    }
}
