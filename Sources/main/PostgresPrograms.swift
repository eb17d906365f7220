import Loop

/// Where PostgreSQL's server is on this machine: folders that have both initdb and postgres.
///
/// Debian and Red Hat keep the servers out of PATH, each major version in a folder whose name tells it. What is found
/// in PATH may be of any version, and has to be asked (`postgres --version`).
enum PostgresPrograms {
    /// Folders by major version, as the distributions name them.
    static var byVersion: [Int: String] {
        var found: [Int: String] = [:]
        for name in Syscalls.names(in: "/usr/lib/postgresql") {
            if let major = Int(name) { add("/usr/lib/postgresql/\(name)/bin", major, to: &found) }
        }
        for name in Syscalls.names(in: "/usr") where name.hasPrefix("pgsql-") {
            if let major = Int(name.dropFirst(6)) { add("/usr/\(name)/bin", major, to: &found) }
        }
        return found
    }

    /// Folders of PATH, in its order.
    static var inPath: [String] {
        (Syscalls.environment("PATH") ?? "").split(separator: ":").map(String.init).filter(hasServer)
    }

    /// For who does not mind the version: the newest, or else what PATH has.
    static var newest: String? { byVersion.max { $0.key < $1.key }?.value ?? inPath.first }

    /// PostgreSQL does not run as root: the user it runs as then; nil for our own.
    static var user: String? { Syscalls.isRoot ? "postgres" : nil }

    /// The major version in what `postgres --version` prints, such as `postgres (PostgreSQL) 15.4 (Debian 15.4-1)`.
    static func majorVersion(in text: String) -> Int? {
        guard let mark = text.firstRange(of: "(PostgreSQL) ") else { return nil }
        return Int(text[mark.upperBound...].prefix { $0.isASCII && $0.isNumber })
    }

    private static func add(_ folder: String, _ major: Int, to found: inout [Int: String]) {
        if found[major] == nil, hasServer(folder) { found[major] = folder }
    }

    private static func hasServer(_ folder: String) -> Bool {
        Syscalls.isExecutable(folder + "/initdb") && Syscalls.isExecutable(folder + "/postgres")
    }
}
