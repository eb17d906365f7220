import Mutation

/// What a program, or a test, runs of the simulated worlds.
public enum Simulator {
    /// How one seed went.
    public struct Outcome {
        public var seed: UInt64
        /// The parameters that were drawn.
        public var parameters: String
        public var figures: Figures
        /// The same for every run of the seed by the same program.
        public var digest: UInt64
        /// Number of the oracle's rule that was broken, and how; nil when none was.
        public var violation: (rule: Int, text: String)?
        /// What happened, if it was asked for.
        public var trace: [String]
    }

    public static func run(seed: UInt64, isTraced: Bool = false) -> Outcome {
        outcome(World(Parameters.drawn(seed), isTraced: isTraced))
    }

    /// A shorter run that breaks the same rule, as a dialogue.
    public static func shortest(seed: UInt64, rule: Int) -> Outcome {
        var shrinker = Shrinker(Parameters.drawn(seed), rule: rule)
        shrinker.shrink()
        return outcome(World(Parameters.drawn(seed), omitting: shrinker.omissions, isTraced: true))
    }

    private static func outcome(_ world: World) -> Outcome {
        world.run()
        let parameters = world.surroundings.parameters
        return Outcome(
            seed: parameters.seed, parameters: parameters.text, figures: world.figures,
            digest: world.digest, violation: world.violation.map { ($0.rule, $0.text) },
            trace: world.surroundings.trace.lines)
    }

    /// Names of the rules that can be switched off; none but in a build for that.
    public static var mutants: [String] {
        #if MUTANTS
        Mutation.allCases.map(\.rawValue)
        #else
        []
        #endif
    }

    /// Switches one rule off, or all on again. False where there is no such rule.
    public static func mutate(_ name: String?) -> Bool {
        #if MUTANTS
        Mutation.active = name.flatMap { Mutation(rawValue: $0) }
        return name == nil || Mutation.active != nil
        #else
        return name == nil
        #endif
    }
}
