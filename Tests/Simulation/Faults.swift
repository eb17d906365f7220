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

    /// How often it is drawn, beside the others.
    var weight: Int {
        switch self {
        case .socketReset, .memoryShrinks, .linkStalls, .streamStalls, .standbyStuck: 6
        case .streamFails: 8
        case .linkFails, .backendEnds, .slotLost, .publicationDropped: 4
        case .socketVanishes, .linkFailsSilently, .tablesLocked: 2
        case .originRestarts, .originRefuses, .settingsReloaded, .configurationReloaded: 2
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
    private static let drawn: [Fault] = Fault.allCases.flatMap { Array(repeating: $0, count: $0.weight) }

    /// `omitted` are left out, by their numbers.
    init(_ world: World, _ surroundings: Surroundings, omitting omitted: Set<Int>) {
        self.world = world
        self.surroundings = surroundings
        self.omitted = omitted
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
                let fault = favourite != nil && random.chance(800) ? favourite : random.pick(Faults.drawn)
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
                world.reload(memoBytesMax: world.surroundings.parameters.memoBytesMax)
            }
        case .configurationReloaded:
            let setting = random.pick([Setting.byteaOutput, .dateStyle])
            let values = [setting.key: random.pick(setting.values)]
            surroundings.configuration.reload(values, at: surroundings.scheduler.now)
            world.origin.publications.catalogChanged()
        case .settingsReloaded: world.reload(memoBytesMax: world.surroundings.parameters.memoBytesMax)
        }
    }

    private func anySocket(_ random: inout Random) -> Socket? {
        var sockets: [Socket] = []
        world.reactor.forEachSocket { sockets.append($0) }
        return sockets.isEmpty ? nil : random.pick(sockets)
    }
}
