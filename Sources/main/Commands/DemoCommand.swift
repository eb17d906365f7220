import ArgumentParser
import Loop

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Start a throw-away origin with pgcache in front, load both, compare every answer.",
        discussion: "Options that are not known here go to pgcache, e.g. --reactor io_uring.")

    @Flag(help: "End after the report; the status is 1 if answers differ or hits are too few.")
    var exit = false

    @Option(help: "Seconds of load.")
    var seconds = 6

    @Flag(help: "Let pgcache ignore the changes it receives: the comparison must notice.")
    var breakInvalidation = false

    @Argument(parsing: .allUnrecognized, help: ArgumentHelp(visibility: .hidden))
    var runOptions: [String] = []

    func validate() throws {
        guard (1...3600).contains(seconds) else { throw ValidationError("--seconds is between 1 and 3600") }
    }

    func run() throws {
        let choice = Demo.Choice(
            seconds: seconds, endsAfterReport: exit, breaksInvalidation: breakInvalidation,
            runOptions: runOptions)
        let status: Int32
        do { status = try Demo(choice).run() } catch {
            StandardStream.error.line("pgcache demo: \(error.description)")
            throw ExitCode(1)
        }
        if status != 0 { throw ExitCode(status) }
    }
}

/// The demo's child process. It prints `DemoLoad.Result.text`.
struct DemoLoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "demo-load", shouldDisplay: false)

    @Option var cachePort: UInt16
    @Option var originPort: UInt16
    @Option var seconds = 6

    func run() throws {
        func endpoint(_ port: UInt16, _ user: String) -> Settings.Endpoint {
            var endpoint = Settings.Endpoint()
            endpoint.host = "127.0.0.1"
            endpoint.port = port
            endpoint.user = user
            endpoint.database = DemoShop.database
            return endpoint
        }
        do {
            var load = DemoLoad(
                DemoLoad.Plan(
                    throughCache: endpoint(cachePort, DemoShop.roleThroughCache),
                    direct: endpoint(originPort, DemoShop.roleDirect),
                    milliseconds: UInt64(clamping: seconds) * 1000),
                try BlockingLinks())
            StandardStream.output.line(try load.run().text)
        } catch {
            StandardStream.error.line("demo-load: \(error)")
            throw ExitCode(1)
        }
    }
}
