import ArgumentParser

/// `pgcache explain 'SELECT …'`: asks a running pgcache what it makes of a statement.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Ask a running pgcache whether and why a statement is cached, and what became of its answers.",
        discussion: """
            Connects to the listen socket of the same settings, as the origin's user and to its database; --url asks \
            another way, or as another role. It is what SELECT pgcache_explain('…') answers to any client.

            \(SettingsArguments.discussion)
            """)

    @Option(help: "postgres://user:password@host:port/database of the running pgcache.") var url: String?
    @Argument(help: "The statement.") var statement: String

    @OptionGroup var arguments: SettingsArguments

    func run() throws {
        do {
            let links = try BlockingLinks()
            let link = try links.connect(try endpoint(), name: "pgcache explain")
            let rows = try links.ask(link, "SELECT pgcache_explain($1)", [statement])
            let width = rows.map { $0.first??.count ?? 0 }.max() ?? 0
            for row in rows where row.count == 2 {
                let item = row[0] ?? ""
                let gap = String(repeating: " ", count: width - item.count + 2)
                StandardStream.output.line(item + gap + (row[1] ?? ""))
            }
        } catch let error as LinkFailure {
            StandardStream.error.line("pgcache explain: \(error)")
            throw ExitCode(1)
        }
    }

    /// The listen socket, for the origin's own user; the URL says what is otherwise.
    private func endpoint() throws -> Settings.Endpoint {
        let settings = try arguments.load(needsOrigin: url == nil)
        var endpoint = settings.origin
        endpoint.sslMode = .disable
        if let socket = settings.listen.socket {
            endpoint.host = ["0.0.0.0", "::", ""].contains(socket.host) ? "127.0.0.1" : socket.host
            endpoint.port = socket.port
        }
        guard let text = url else { return endpoint }
        do {
            let url = try ConnectionURL(text)
            endpoint.host = url.host ?? endpoint.host
            endpoint.port = url.port ?? endpoint.port
            endpoint.user = url.user ?? endpoint.user
            endpoint.password = url.password ?? endpoint.password
            endpoint.database = url.database ?? endpoint.database
        } catch {
            throw ValidationError("--url: expected \(error.expected)")
        }
        return endpoint
    }
}
