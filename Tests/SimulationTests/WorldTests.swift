import Foundation
import Testing

@testable import Simulation

/// Whole worlds: the same seed is the same world, and what is left out does not change what the rest draws.
@Suite struct WorldTests {
    /// Swift's hashes differ from set to set unless this is in the environment; `simulate` sees to it by itself.
    static let hashesAreDeterministic =
        ProcessInfo.processInfo.environment["SWIFT_DETERMINISTIC_HASHING"] != nil

    @Test(.enabled(if: WorldTests.hashesAreDeterministic), arguments: [1, 7, 15] as [UInt64])
    func theSameSeedIsTheSameWorld(seed: UInt64) {
        let one = Simulator.run(seed: seed, isTraced: true)
        let other = Simulator.run(seed: seed, isTraced: true)
        #expect(one.violation == nil)
        #expect(one.digest == other.digest)
        #expect(one.figures == other.figures)
        #expect(one.trace == other.trace)
        #expect(one.figures.hits > 0)
    }

    @Test func otherSeedsAreOtherWorlds() {
        #expect(Simulator.run(seed: 3).digest != Simulator.run(seed: 4).digest)
    }

    @Test func aClientThatIsLeftOutSendsNothing() {
        var parameters = Parameters(seed: 5)
        parameters.clients = 3
        parameters.statementsPerClient = 30
        var omissions = Omissions()
        omissions.clients = [2]
        let world = World(parameters, omitting: omissions, isTraced: true)
        world.run()
        #expect(world.violation == nil)
        #expect(!world.surroundings.trace.lines.contains { $0.contains("client-2.") })
        #expect(world.surroundings.trace.lines.contains { $0.contains("client-3.") })
    }

    /// A proxy that does not listen to changes: the oracle says so, and the run gets shorter.
    @Test func aStaleAnswerIsAViolationAndItsRunBecomesShort() throws {
        let seed = try #require(
            (1...20 as ClosedRange<UInt64>).first { seed in
                let world = World(Parameters.drawn(seed), ignoresChanges: true)
                world.run()
                return world.violation?.rule == 1
            })
        var shrinker = Shrinker(Parameters.drawn(seed), rule: 1, ignoresChanges: true, runsMax: 60)
        shrinker.shrink()
        let whole = World(Parameters.drawn(seed), ignoresChanges: true)
        whole.run()
        let short = World(Parameters.drawn(seed), omitting: shrinker.omissions, ignoresChanges: true)
        short.run()
        #expect(short.violation?.rule == 1)
        #expect(short.figures.statements < whole.figures.statements)
    }
}
