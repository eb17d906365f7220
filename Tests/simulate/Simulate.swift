import ArgumentParser
import Glibc
import Simulation

/// Runs the whole proxy in simulated worlds; docs/simulation.md explains them.
@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs pgcache in simulated worlds, each from one number, and looks for wrong answers.")

    @Option(help: "Replay one seed.")
    var seed: UInt64?
    @Option(help: "The first of a list of seeds.")
    var from: UInt64 = 1
    @Option(help: "How many seeds; 0 goes on until stopped.")
    var count: UInt64 = 0
    @Option(help: "Begin no other seed after so many seconds.")
    var seconds: UInt64 = .max
    @Flag(help: "Begin with a seed that nobody has tried.")
    var fresh = false
    @Flag(help: "Print everything that happens.")
    var trace = false
    @Flag(help: "Do not look for a shorter run that fails alike.")
    var whole = false
    @Option(help: "A rule to switch off, in a build for that.")
    var mutant: String?
    @Flag(help: "Switch each rule off in turn, or those that are named, and print which seed catches it.")
    var mutants = false
    @Argument(help: "With --mutants: their names.")
    var names: [String] = []

    mutating func run() throws {
        hashDeterministically()
        guard Simulator.mutate(mutant) else { throw ValidationError("no such mutant in this build") }
        if mutants { return try runMutants() }
        if let seed { return try replay(seed) }
        try runMany()
    }

    /// Swift's hashes depend on the process unless this is set before it starts.
    private func hashDeterministically() {
        let name = "SWIFT_DETERMINISTIC_HASHING"
        if getenv(name) != nil { return }
        setenv(name, "1", 1)
        execv("/proc/self/exe", CommandLine.unsafeArgv)
    }

    private var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private func replay(_ seed: UInt64) throws {
        let outcome = Simulator.run(seed: seed, isTraced: trace)
        for line in outcome.trace { print(line) }
        print("seed \(seed): \(outcome.parameters)")
        print("\(outcome.figures.text); digest \(String(outcome.digest, radix: 16))")
        try report(outcome)
    }

    private func report(_ outcome: Simulator.Outcome) throws {
        guard let violation = outcome.violation else {
            print("no violation")
            return
        }
        print("VIOLATION seed \(outcome.seed), rule \(violation.rule): \(violation.text)")
        guard !whole else { throw ExitCode(1) }
        let shortest = Simulator.shortest(seed: outcome.seed, rule: violation.rule)
        print("the shortest run found that breaks the same rule:")
        for line in shortest.trace { print(line) }
        throw ExitCode(1)
    }

    private func runMany() throws {
        var seed = fresh ? UInt64.random(in: 0..<(1 << 62)) : from
        let began = now
        var lineAt = began + 60_000_000_000
        var sum = Figures()
        func line() {
            let elapsed = Double(now - began) / 1e9
            print("\(Int(elapsed)) s: \(sum.text), \(Int(Double(sum.statements) / max(elapsed, 0.001))) statements/s")
            fflush(nil)
        }
        while (count == 0 || sum.runs < Int(count)) && (now - began) / 1_000_000_000 < seconds {
            let outcome = Simulator.run(seed: seed)
            sum += outcome.figures
            if outcome.violation != nil {
                line()
                print("seed \(seed): \(outcome.parameters)")
                try report(outcome)
            }
            if now >= lineAt {
                line()
                lineAt += 60_000_000_000
            }
            seed += 1
        }
        line()
    }

    /// Each mutant for a minute at most; all of them have to be caught.
    private func runMutants() throws {
        guard !Simulator.mutants.isEmpty else { throw ValidationError("this build has no mutants: make mutants") }
        print("| mutant | seed | rule | statements | seconds |")
        print("|---|---|---|---|---|")
        var missed: [String] = []
        for name in names.isEmpty ? Simulator.mutants : names {
            guard Simulator.mutate(name) else { throw ValidationError("no such mutant: \(name)") }
            let began = now
            var seed = from
            var sum = Figures()
            var caught: Simulator.Outcome?
            while caught == nil, (now - began) / 1_000_000_000 < 60 {
                let outcome = Simulator.run(seed: seed)
                sum += outcome.figures
                if outcome.violation != nil { caught = outcome }
                seed += 1
            }
            let seconds = String(Double((now - began) / 100_000_000) / 10)
            let found = caught.map { "\($0.seed) | \($0.violation?.rule ?? 0)" } ?? "- | not caught"
            print("| \(name) | \(found) | \(sum.statements) | \(seconds) |")
            fflush(nil)
            if caught == nil { missed.append(name) }
        }
        guard missed.isEmpty else {
            print("not caught: \(missed.joined(separator: ", "))")
            throw ExitCode(1)
        }
    }
}
