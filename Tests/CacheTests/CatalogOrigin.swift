import Foundation
import Loop
import Testing

@testable import Cache

/// A throw-away PostgreSQL in a temporary folder, shared by the tests of this module that ask a real
/// catalog. It listens on a Unix socket only, and ends with this process: its keeper, a shell, waits for
/// the end of its standard input.
final class CatalogOrigin: Sendable {
    static let shared = Result { try CatalogOrigin() }

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let directory: String
    private let keeper: Process
    private let lifeline: Pipe

    static let programs = "/usr/lib/postgresql/15/bin"
    private static let fieldEnd = "\u{1f}"
    private static let rowEnd = "\u{1e}"
    private static let null = "\u{1d}"

    init() throws {
        directory = NSTemporaryDirectory() + "pgcache-catalog-" + UUID().uuidString.prefix(8)
        keeper = Process()
        lifeline = Pipe()
        let output = Pipe()
        let script = """
            set -e; mkdir -m 700 '\(directory)'; cd '\(directory)'
            trap '' INT
            '\(Self.programs)/initdb' -D data -A trust -U postgres -E UTF8 --locale=C.UTF-8 >log 2>&1
            '\(Self.programs)/pg_ctl' -D data -w -l log start >>log 2>&1 \
              -o "-k '\(directory)' -c listen_addresses= -c fsync=off -c wal_level=logical -c autovacuum=off \
                  -c jit=off -c statement_timeout=2min"
            echo ready; cat >/dev/null
            '\(Self.programs)/pg_ctl' -D data -w -m immediate stop >/dev/null 2>&1
            cd /; rm -rf '\(directory)'
            """
        // PostgreSQL refuses to run as root.
        let asOther = Syscalls.isRoot ? ["/usr/sbin/runuser", "-u", "postgres", "--"] : []
        let words = asOther + ["/bin/sh", "-c", script]
        keeper.executableURL = URL(fileURLWithPath: words[0])
        keeper.arguments = Array(words.dropFirst())
        keeper.currentDirectoryURL = URL(fileURLWithPath: "/")
        keeper.standardInput = lifeline
        keeper.standardOutput = output
        try keeper.run()
        let line = output.fileHandleForReading.availableData
        guard String(decoding: line, as: UTF8.self) == "ready\n" else {
            throw Failure(description: "PostgreSQL did not start in \(directory)")
        }
    }

    /// A database of its own, so that tests do not meet.
    func database(_ name: String = "d" + UUID().uuidString.prefix(8).lowercased()) throws -> Database {
        _ = try Database(origin: self, name: "postgres", user: "postgres").run("CREATE DATABASE \(name)")
        return Database(origin: self, name: name, user: "postgres")
    }

    struct Database {
        let origin: CatalogOrigin
        let name: String
        let user: String

        func asRole(_ role: String) -> Database {
            Database(origin: origin, name: name, user: role)
        }

        /// Runs statements, which may hold what psql knows of, in one new session; the rows of all. Values with
        /// line feeds are read only in a single result.
        @discardableResult
        func run(_ text: String, isOneResult: Bool = false) throws -> [[String?]] {
            // Through files: an end of a pipe that some other child has inherited would keep us waiting for that one.
            let file = "\(origin.directory)/\(UUID().uuidString)"
            defer { for end in [".in", ".out", ".err"] { unlink(file + end) } }
            try Syscalls.writeFile(file + ".in", text, permissions: 0o644)
            var plan = ChildProcess.Plan(
                path: "\(CatalogOrigin.programs)/psql",
                arguments: [
                    "-XAtq", "-h", origin.directory, "-U", user, "-d", name,
                    "-F", CatalogOrigin.fieldEnd, "-R", CatalogOrigin.rowEnd,
                    "-P", "null=\(CatalogOrigin.null)", "-v", "ON_ERROR_STOP=1", "-f", file + ".in",
                ], user: Syscalls.isRoot ? "postgres" : nil, directory: "/")
            plan.output = .file(file + ".out")
            plan.errors = .file(file + ".err")
            // The thread that starts it may end before us, which is not meant.
            plan.deathSignal = 0
            let status = try ChildProcess.spawn(plan).waitForExit()
            guard status == 0 else { throw Failure(description: try Syscalls.readText(file + ".err")) }
            let answer = try Syscalls.readText(file + ".out")
            // psql ends each result with a newline, and separates its rows.
            let results =
                isOneResult && answer.hasSuffix("\n") ? [answer.dropLast()] : answer.split(separator: "\n")
            return results.flatMap { result in
                result.components(separatedBy: CatalogOrigin.rowEnd).map { row in
                    row.components(separatedBy: CatalogOrigin.fieldEnd).map {
                        $0 == CatalogOrigin.null ? nil : $0
                    }
                }
            }
        }

        /// Runs one of pgcache's own queries after `before`, in the same session, with a hostile search path.
        func rows(_ query: OriginQuery, after before: String = "") throws -> [[String?]] {
            func literal(_ value: String?) -> String {
                value.map { "'" + $0.replacingOccurrences(of: "'", with: "''") + "'" } ?? "NULL"
            }
            guard !query.parameters.isEmpty else { return try run("\(before);\n\(query.sql);", isOneResult: true) }
            let values = query.parameters.map(literal).joined(separator: ", ")
            return try run(
                "\(before);\nPREPARE asked AS \(query.sql);\nEXECUTE asked(\(values));", isOneResult: true)
        }

        /// The same under the options of the catalog's connection.
        func catalogRows(_ query: OriginQuery) throws -> [[String?]] {
            try rows(query, after: "SET search_path = pg_catalog")
        }

        /// A catalog with everything but relations loaded.
        func loadedCatalog(relationsMax: Int = 100, namesMax: Int = 1000) throws -> Catalog {
            var catalog = Catalog(relationsMax: relationsMax, namesMax: namesMax)
            for request in catalog.bootstrapRequests() {
                let answer = try catalogRows(request.query)
                #expect(catalog.absorb(answer, answering: request) == .used)
            }
            return catalog
        }

        /// The relation of that name as the catalog describes it.
        func relation(_ schema: String?, _ name: String, searchPath: [String] = ["pg_catalog", "public"])
            throws -> RelationLookup
        {
            var catalog = try loadedCatalog()
            let wanted = RelationName(schema: schema, name: name)
            let request = try catalog.ask([wanted], searchPath: searchPath)
            let answer = try catalogRows(request.query)
            #expect(catalog.absorb(answer, answering: request) == .used)
            return try #require(catalog.view(searchPath: searchPath)).relation(wanted)
        }
    }
}

extension Catalog {
    /// Asks for names that are not known yet.
    mutating func ask(_ names: [RelationName], searchPath: [String]) throws -> Request {
        let request = request(names, searchPath: searchPath)
        return try #require(request)
    }
}
