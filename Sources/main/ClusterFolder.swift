import Loop

/// The folder of one embedded cluster: its data, its socket and its log, for nobody else to enter.
///
/// It is locked while its instance lives, so that who comes later can tell what was left by one that was killed. It
/// gets its name when it is locked, so nobody can take it for left over before.
/// Owner: `EmbeddedPostgres`; giving it up opens the lock. Bounds: one descriptor.
final class ClusterFolder {
    let path: String
    private let lock: Int32

    static let prefix = "pgcache-cache-"
    private static let unfinishedPrefix = "pgcache-new-"
    /// The port is only a part of the socket's name.
    static let port: UInt16 = 5432
    /// Of the path of a Unix socket (unix(7)).
    private static let socketPathBytesMax = 107

    /// - Parameter parent: made if it is not there.
    /// - Parameter user: whom it shall belong to; nil for us.
    /// - Throws: what could not be made.
    init(in parent: String, user: String?) throws(SystemError) {
        let owner = user.flatMap { Syscalls.user(named: $0) }
        if !Syscalls.isFolder(parent) {
            try Syscalls.makeFolder(parent)
            if let owner { try Syscalls.changeOwner(parent, user: owner.user, group: owner.group) }
        }
        let unfinished = try Syscalls.makeTemporaryFolder(prefix: Self.unfinishedPrefix, in: parent)
        var taken: Int32?
        do throws(SystemError) {
            let lock = try Syscalls.lockFolder(unfinished)
            taken = lock
            if let owner {
                try Syscalls.changeOwner(unfinished, user: owner.user, group: owner.group)
            }
            let path = parent + "/" + Self.prefix + unfinished.suffix(6)
            try Syscalls.move(unfinished, to: path)
            self.path = path
            self.lock = lock
        } catch {
            if let taken { Syscalls.unlockFolder(taken) }
            Syscalls.removeTree(unfinished)
            throw error
        }
    }

    deinit { Syscalls.unlockFolder(lock) }

    var data: String { path + "/data" }
    var log: String { path + "/log" }
    var isTooDeep: Bool { "\(path)/.s.PGSQL.\(Self.port)".utf8.count > Self.socketPathBytesMax }

    /// What initdb or the server said last, errors rather than anything else, as one line.
    var lastWords: String {
        let lines = ((try? Syscalls.readText(log)) ?? "").split(separator: "\n").map { SettingValue.trimmed($0) }
        let errors = lines.filter { line in
            ["FATAL", "PANIC", "ERROR", "error:", "could not"].contains { line.contains($0) }
        }
        return (errors.isEmpty ? lines.filter { !$0.isEmpty } : errors).suffix(3).joined(separator: "; ")
    }

    /// Folders in `parent` whose instance is gone and whose server does not run any more.
    static func leftOver(in parent: String) -> [String] {
        Syscalls.names(in: parent).filter { $0.hasPrefix(prefix) }.map { parent + "/" + $0 }.filter { path in
            guard let lock = try? Syscalls.lockFolder(path) else { return false }
            defer { Syscalls.unlockFolder(lock) }
            return !hasServer(path)
        }
    }

    /// The server of a killed instance is on its way out; its number may be another program's by now.
    private static func hasServer(_ path: String) -> Bool {
        guard let text = try? Syscalls.readText(path + "/data/postmaster.pid"),
            let process = text.split(separator: "\n").first.flatMap({ Int32($0) }),
            Syscalls.processExists(process)
        else { return false }
        return (try? Syscalls.readText("/proc/\(process)/comm"))?.hasPrefix("postgres") ?? false
    }
}
