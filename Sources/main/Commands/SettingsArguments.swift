import ArgumentParser
import Loop

/// The options that every command with settings takes: `--config` and one for each setting.
///
/// The settings' options are not declared one by one: they are whatever the parser does not know, and the loader judges
/// them by its table, which also knows PgCache's spelling.
struct SettingsArguments: ParsableArguments {
    @Option(name: [.short, .long], help: "A TOML file with settings.")
    var config: String?

    @Argument(parsing: .allUnrecognized, help: ArgumentHelp(visibility: .hidden))
    var options: [String] = []

    /// Reads the sources; the loader can be made again to reload.
    func loader() throws(ValidationError) -> SettingsLoader {
        var fileText: String?
        if let path = config ?? Syscalls.environment("PGCACHE_CONFIG") {
            do {
                fileText = try Syscalls.readText(path)
            } catch {
                throw ValidationError("\(error)")
            }
        }
        var environment: [String: String] = [:]
        for name in SettingsTable.environmentNames {
            if let value = Syscalls.environment(name) { environment[name] = value }
        }
        return SettingsLoader(
            options: options, fileText: fileText, environment: environment,
            memoryBytes: Syscalls.memoryBytes())
    }

    /// The settings; warnings go to standard error.
    func load(needsOrigin: Bool = true) throws(ValidationError) -> Settings {
        let loader = try loader()
        do {
            let loaded = try loader.load(needsOrigin: needsOrigin)
            for warning in loaded.warnings { StandardStream.error.line("pgcache: \(warning)") }
            return loaded.settings
        } catch {
            throw ValidationError(error.description)
        }
    }

    static let discussion =
        "Settings are options, or stand in a TOML file, or in the environment as PGCACHE_…; "
        + "the first of these that has one wins.\n\n" + SettingsTable.optionHelp
}
