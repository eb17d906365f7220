import ArgumentParser
import Mutation

/// The program: what the executable calls.
public enum Pgcache {
    /// Reads the command line and does what it says; ends the process with the status of that.
    public static func main() {
        #if MUTANTS
        Mutation.activateFromEnvironment()
        #endif
        RootCommand.main()
    }
}

/// The command line.
struct RootCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pgcache",
        abstract: "A caching proxy for PostgreSQL that follows its origin's changes.",
        version: PgcacheVersion.text,
        subcommands: [
            RunCommand.self, CheckCommand.self, CleanupCommand.self, ExplainCommand.self,
            DemoCommand.self, DemoLoadCommand.self,
            SettingsCommand.self, VersionCommand.self,
        ],
        defaultSubcommand: RunCommand.self)
}

enum PgcacheVersion {
    static let text = "0.1.0"
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print the version.")

    func run() { StandardStream.output.line("pgcache \(PgcacheVersion.text)") }
}

struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings", abstract: "Print every setting as a Markdown table.",
        discussion: "A setting is taken from the first of: its option, the file, its environment "
            + "variable, the default.")

    @Flag(help: "Print the metrics instead.") var metrics = false

    func run() {
        StandardStream.output.line(metrics ? Metric.markdown : SettingsTable.markdown)
    }
}
