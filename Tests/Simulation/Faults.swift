import Loop

/// Something that goes wrong in a world.
enum Fault: CaseIterable {
    case socketReset, socketVanishes, backendEnds
    case originRestarts, originRefuses
    case linkFails, linkFailsSilently, linkStalls
    case streamFails
    case streamStalls, slotLost
    case standbyStuck
    case tablesLocked, publicationDropped
    case memoryShrinks, settingsReloaded
    /// The origin's configuration has another default.
    case configurationReloaded
    /// Of the cache database, where there is one: it comes back empty, is slow, or cannot do something.
    case cacheLost, cacheStalls, cacheBatchFails, cachePopulationFails, cacheReadFails

    var isOfCacheDatabase: Bool {
        switch self {
        case .cacheLost, .cacheStalls, .cacheBatchFails, .cachePopulationFails, .cacheReadFails: true
        default: false
        }
    }
    static let ofOrigin = allCases.filter { !$0.isOfCacheDatabase }

    /// How often it is drawn, beside the others.
    var weight: Int {
        switch self {
        case .socketReset, .memoryShrinks, .linkStalls, .streamStalls, .standbyStuck: 6
        case .streamFails: 8
        case .linkFails, .backendEnds, .slotLost, .publicationDropped: 4
        case .socketVanishes, .linkFailsSilently, .tablesLocked: 2
        case .originRestarts, .originRefuses, .settingsReloaded, .configurationReloaded: 2
        case .cacheStalls: 10
        case .cacheLost, .cachePopulationFails: 4
        case .cacheBatchFails: 3
        case .cacheReadFails: 1
        }
    }
}

/// Lets things go wrong, from a stream of draws of its own, until `stop`.
///
/// Every fault is drawn from its number alone, so that a run with some of them left out has the others as before.
final class Faults {
    private unowned let world: World
    private let surroundings: Surroundings
    private let omitted: Set<Int>
    private var isOn = true
    private var next = 0
    /// How many have happened.
    private(set) var count = 0
    /// A run has enough of them then.
    private static let countMax = 100
    private let drawn: [Fault]

    /// `omitted` are left out, by their numbers.
    init(_ world: World, _ surroundings: Surroundings, omitting omitted: Set<Int>) {
        self.world = world
        self.surroundings = surroundings
        self.omitted = omitted
        let kinds = surroundings.parameters.hasRows ? Fault.allCases : Fault.ofOrigin
        drawn = kinds.flatMap { Array(repeating: $0, count: $0.weight) }
        if surroundings.parameters.faultMilliseconds > 0 { schedule() }
    }

    /// Nothing goes wrong any more. What is under way ends by itself.
    func stop() { isOn = false }

    /// How many numbers have been drawn: all that a shorter run may leave out.
    var drawnCount: Int { next }

    private func schedule() {
        let number = next
        var random = surroundings.random("fault", number)
        let pause = UInt64(random.within(1...2 * surroundings.parameters.faultMilliseconds)) * millisecond
        surroundings.scheduler.after(pause) { [weak self] in
            guard let self, isOn, next < Faults.countMax else { return }
            next += 1
            if !omitted.contains(number) {
                count += 1
                let favourite = surroundings.parameters.favouriteFault
                let fault = favourite != nil && random.chance(800) ? favourite : random.pick(drawn)
                if let fault { happen(fault, &random) }
            }
            schedule()
        }
    }

    private func happen(_ fault: Fault, _ random: inout Random) {
        surroundings.trace.note("fault", "\(fault)")
        let short = UInt64(random.within(1...50)) * millisecond
        let long = UInt64(random.within(1...3000)) * millisecond
        switch fault {
        case .socketReset: anySocket(&random)?.reset()
        case .socketVanishes: anySocket(&random)?.vanish()
        case .backendEnds: world.origin.terminateOne()
        case .originRestarts: world.origin.restart(downFor: long)
        case .originRefuses:
            world.origin.refusesConnections = true
            surroundings.scheduler.after(long) { [unowned world] in world.origin.refusesConnections = false }
        case .linkFails: random.pick(world.links).fail(state: "57P01", noticedAfter: short / 10)
        case .streamFails:
            for link in world.links where link.role == .replication {
                link.fail(state: "57P01", noticedAfter: short / 10)
            }
        case .linkFailsSilently: random.pick(world.links).fail(state: "", noticedAfter: nil)
        case .linkStalls: random.pick(world.links).stall(for: random.chance(200) ? long : short)
        case .streamStalls:
            world.origin.publications.stallWalsenders(for: random.chance(200) ? long : short)
        case .slotLost: world.origin.publications.loseSlot()
        case .standbyStuck: world.origin.database.stickStandby(for: short)
        case .tablesLocked: world.origin.publications.lockTables(for: short)
        case .publicationDropped: world.origin.publications.dropAll()
        case .memoryShrinks:
            // Everything is evicted, and there is room again a little later.
            world.reload(memoBytesMax: random.pick([0, 4 << 10, 16 << 10]))
            surroundings.scheduler.after(short) { [unowned world] in
                world.reload(memoBytesMax: world.memoBytesMax)
            }
        case .configurationReloaded:
            let setting = random.pick([Setting.byteaOutput, .dateStyle])
            let values = [setting.key: random.pick(setting.values)]
            surroundings.configuration.reload(values, at: surroundings.scheduler.now)
            world.origin.publications.catalogChanged()
        case .settingsReloaded: world.reload(memoBytesMax: world.memoBytesMax)
        case .cacheLost, .cacheStalls, .cacheBatchFails, .cachePopulationFails, .cacheReadFails:
            happen(inCacheDatabase: fault, &random, short: short, long: long)
        }
    }

    private func happen(inCacheDatabase fault: Fault, _ random: inout Random, short: UInt64, long: UInt64) {
        guard let database = world.cacheDatabase else { return }
        switch fault {
        case .cacheLost: database.fail()
        case .cacheStalls: database.stall(for: random.chance(200) ? long : short, &random)
        case .cacheBatchFails: database.failures.batches += 1
        case .cachePopulationFails: database.failures.populations += random.within(1...3)
        case .cacheReadFails: database.failures.reads += 1
        default: break
        }
    }

    private func anySocket(_ random: inout Random) -> Socket? {
        var sockets: [Socket] = []
        world.reactor.forEachSocket { sockets.append($0) }
        return sockets.isEmpty ? nil : random.pick(sockets)
    }
}
