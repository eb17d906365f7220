import ArgumentParser

/// `pgcache run`: the proxy, until a signal ends it.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the proxy.", discussion: SettingsArguments.discussion)

    @OptionGroup var arguments: SettingsArguments

    func run() throws {
        let settings = try arguments.load()
        let status = Proxy.run(settings) {
            // SIGHUP: the file and the environment may have changed.
            do { return try arguments.load() } catch {
                StandardStream.error.line("pgcache: settings were not reloaded: \(error)")
                return nil
            }
        }
        if status != 0 { throw ExitCode(status) }
    }
}
