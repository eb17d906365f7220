import ArgumentParser
import Cache

/// `pgcache check`: what the origin lacks, and the statement that mends it.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Connect to the origin and list what is missing there. The status is 1 if caching cannot work.",
        discussion: SettingsArguments.discussion)

    @OptionGroup var arguments: SettingsArguments

    func run() throws {
        let settings = try arguments.load()
        var check = OriginCheck(settings)
        do { try check.run(BlockingLinks()) } catch {
            StandardStream.error.line("pgcache check: \(error)")
            throw ExitCode(1)
        }
        for line in check.lines { StandardStream.output.line(line) }
        if check.failures > 0 { throw ExitCode(1) }
    }
}

/// Asks the origin every requirement, and tries the ways in that pgcache and its clients use.
struct OriginCheck {
    private let settings: Settings
    /// What to print, in order.
    private(set) var lines: [String] = []
    private(set) var failures = 0
    private(set) var warnings = 0

    init(_ settings: Settings) { self.settings = settings }

    mutating func run(_ links: BlockingLinks) throws(LinkFailure) {
        let origin = settings.origin
        let link: UInt64
        do { link = try links.connect(origin, name: "pgcache check") } catch {
            guard error != .interrupted else { throw error }
            fail(
                "connection", "cannot connect to \(origin.host) as \(origin.user): \(error)",
                fix: Self.demandsTLS(error) ? "ssl_mode = \"require\" may help, if the origin has TLS" : nil)
            return summarize()
        }
        add("connection", .ok, "\(origin.user) at \(origin.host), database \(origin.database)")
        let requirements = Requirement.all(
            publication: settings.cdc.publicationName, allowedTables: settings.allowedTables)
        for requirement in requirements {
            do {
                let rows = try links.ask(link, requirement.query.sql, requirement.query.parameters)
                add(requirement.name, requirement.judge(rows))
            } catch {
                guard case .refused(let state, let message) = error else { throw error }
                add(requirement.name, requirement.failed(state: state, message: SettingValue.trimmed(message)))
            }
        }
        links.close(link)
        try checkReplication(links)
        try checkPlainClients(links)
        summarize()
    }

    /// pg_hba.conf may let a role in and not its replication connections.
    private mutating func checkReplication(_ links: BlockingLinks) throws(LinkFailure) {
        let source = settings.replication
        do {
            let link = try links.connect(source, name: "pgcache check", extra: [("replication", "database")])
            links.close(link)
            add("replication", .ok, "\(source.user) may open a replication connection")
        } catch {
            guard error != .interrupted else { throw error }
            fail(
                "replication", "no replication connection to \(source.host) as \(source.user): \(error)",
                fix: "ALTER ROLE \"\(source.user)\" REPLICATION;")
        }
    }

    /// Clients reach the origin through pgcache without TLS, for now.
    private mutating func checkPlainClients(_ links: BlockingLinks) throws(LinkFailure) {
        guard settings.origin.sslMode != .disable, !settings.origin.isUnixSocket else { return }
        var plain = settings.origin
        plain.sslMode = .disable
        do {
            links.close(try links.connect(plain, name: "pgcache check"))
            add("clients", .ok, "the origin takes connections without TLS")
        } catch {
            guard error != .interrupted else { throw error }
            fail(
                "clients", "clients come through pgcache without TLS, and the origin refuses that: \(error)",
                fix: "a hostnossl line in pg_hba.conf for the address of pgcache")
        }
    }

    /// The words of pg_hba.conf's refusal when there is no line for connections without TLS.
    private static func demandsTLS(_ failure: LinkFailure) -> Bool {
        guard case .refused(_, let message) = failure else { return false }
        return message.contains("no encryption") || message.contains("SSL off")
    }

    private mutating func fail(_ name: String, _ text: String, fix: String?) {
        add(name, .failure, text, fix)
    }

    private mutating func add(_ name: String, _ findings: [Requirement.Finding]) {
        for finding in findings { add(name, finding.level, finding.text, finding.fix) }
    }

    private mutating func add(
        _ name: String, _ level: Requirement.Finding.Level, _ text: String, _ fix: String? = nil
    ) {
        switch level {
        case .ok: lines.append("ok       \(name): \(text)")
        case .warning:
            lines.append("warning  \(name): \(text)")
            warnings += 1
        case .failure:
            lines.append("FAILED   \(name): \(text)")
            failures += 1
        }
        if let fix { lines.append("         \(fix)") }
    }

    private mutating func summarize() {
        lines.append(
            failures > 0
                ? "\(failures) failed, \(warnings) warnings: pgcache would forward everything"
                : "0 failed, \(warnings) warnings: pgcache can cache here")
    }
}
