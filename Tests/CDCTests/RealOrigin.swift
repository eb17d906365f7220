import Foundation
import Loop

/// A PostgreSQL of the test's own, in a temporary directory, reached over its Unix socket.
final class RealOrigin {
    struct Failure: Error, CustomStringConvertible { var description: String }

    let directory: String
    private let binaries: String

    init() throws {
        binaries = try Self.run("/usr/bin/env", ["pg_config", "--bindir"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
        // Short, because a socket's path may not be long.
        directory = try Self.run("/usr/bin/env", ["mktemp", "-d", "/tmp/pgc.XXXXXX"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
        if Syscalls.isRoot { _ = try Self.run("/bin/chown", ["postgres", directory]) }
        _ = try server(
            "initdb", ["-D", "\(directory)/data", "-A", "trust", "-U", "postgres", "--no-sync"])
        let settings = [
            "wal_level=logical", "listen_addresses=", "unix_socket_directories=\(directory)",
            "fsync=off", "max_prepared_transactions=5", "autovacuum=off",
        ]
        _ = try server(
            "pg_ctl",
            [
                "-D", "\(directory)/data", "-w", "-l", "\(directory)/log", "-o",
                settings.map { "-c \($0)" }.joined(separator: " "), "start",
            ])
    }

    func stop() {
        _ = try? server("pg_ctl", ["-D", "\(directory)/data", "-w", "-m", "immediate", "stop"])
        try? FileManager.default.removeItem(atPath: directory)
    }

    func session(
        _ database: String = "postgres", options: String = "", replication: Bool = false
    ) throws -> RealSession {
        let target =
            "host=\(directory) user=postgres dbname=\(database)"
            + (replication ? " replication=database" : "")
        return try RealSession(
            program: "\(binaries)/psql", arguments: [target], options: options)
    }

    private func server(_ program: String, _ arguments: [String]) throws -> String {
        // PostgreSQL refuses to run as root.
        try Self.run("\(binaries)/\(program)", arguments, user: Syscalls.isRoot ? "postgres" : nil)
    }

    /// Output goes through a file, because a server that was started keeps it open.
    private static func run(_ program: String, _ arguments: [String], user: String? = nil) throws -> String {
        let path = NSTemporaryDirectory() + "pgc." + UUID().uuidString
        defer { unlink(path) }
        var plan = ChildProcess.Plan(path: program, arguments: arguments, user: user, directory: "/")
        plan.output = .file(path)
        plan.errors = .file(path)
        // The thread that starts it may end before us, which is not meant.
        plan.deathSignal = 0
        let status = try ChildProcess.spawn(plan).waitForExit()
        let text = try Syscalls.readText(path)
        guard status == 0 else { throw Failure(description: "\(program) \(arguments): \(text)") }
        return text
    }
}

/// One session of psql that stays, so that locks and transactions do.
final class RealSession {
    enum Answer: Equatable {
        case rows([[String?]])
        case failed(state: String)

        var rows: [[String?]] { if case .rows(let rows) = self { rows } else { [] } }
    }

    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var buffer = Data()

    init(program: String, arguments: [String], options: String) throws {
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments =
            ["-X", "-q", "-A", "-t", "-F", "\u{1f}", "-R", "\u{1e}", "-P", "null=\u{2}"] + arguments
        var environment = ProcessInfo.processInfo.environment
        environment["PGOPTIONS"] = options
        process.environment = environment
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    /// Sends without waiting: for a statement that blocks.
    func send(_ sql: String) throws {
        try input.fileHandleForWriting.write(
            contentsOf: Data("\(sql)\n;\n\\echo \u{3}:ERROR :LAST_ERROR_SQLSTATE\u{4}\n".utf8))
    }

    /// The answer to the oldest statement that was sent.
    func answer() throws -> Answer {
        while true {
            if let end = buffer.firstIndex(of: 4) {
                let text = String(decoding: buffer[buffer.startIndex..<end], as: UTF8.self)
                // The mark ends a line.
                buffer = Data(buffer[end...].dropFirst(2))
                let parts = text.split(separator: "\u{3}", omittingEmptySubsequences: false)
                guard parts.count == 2 else { throw RealOrigin.Failure(description: text) }
                if parts[1].hasPrefix("true") { return .failed(state: String(parts[1].dropFirst(5))) }
                let body = parts[0].hasSuffix("\n") ? parts[0].dropLast() : parts[0]
                if body.isEmpty { return .rows([]) }
                return .rows(
                    body.split(separator: "\u{1e}", omittingEmptySubsequences: false).map { row in
                        row.split(separator: "\u{1f}", omittingEmptySubsequences: false)
                            .map { $0 == "\u{2}" ? nil : String($0) }
                    })
            }
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { throw RealOrigin.Failure(description: "psql ended") }
            buffer.append(more)
        }
    }

    @discardableResult func ask(_ sql: String) throws -> Answer {
        try send(sql)
        return try answer()
    }

    func close() {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}
