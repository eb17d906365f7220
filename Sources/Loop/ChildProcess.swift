import CLoop
import Glibc

/// A program that runs as our child, such as the embedded PostgreSQL.
///
/// It is started with fork and execve in a C file (spawn.c says why), with a clean signal mask, and it dies with us
/// (PR_SET_PDEATHSIG), so that a killed proxy leaves no server behind. How it ended comes as an `.exited`
/// completion from `Reactor.watchChild`; only then is it reaped.
///
/// Owner: whoever started it; giving it up does not end the program. Bounds: two pipes at most.
public final class ChildProcess {
    /// Where an output of the child goes.
    public enum Output: Equatable, Sendable {
        case inherited
        case discarded
        /// Appended to this file.
        case file(String)
        /// Read here with `readOutput` or `readErrors`.
        case pipe
    }

    /// What to run.
    public struct Plan: Sendable {
        /// The program's file; not looked up in PATH.
        public var path: String
        /// Without the program's name.
        public var arguments: [String]
        /// nil: this process's own.
        public var environment: [String: String]?
        /// Runs as this user and its group; only root can. nil: as we.
        public var user: String?
        public var directory: String?
        public var output: Output = .inherited
        public var errors: Output = .inherited
        /// A process group of its own: the terminal's ^C does not reach it, and `signalGroup` reaches its children.
        public var hasOwnGroup = false
        /// What the child gets when we die; 0 for nothing.
        public var deathSignal: Int32 = SIGTERM

        public init(
            path: String, arguments: [String] = [], environment: [String: String]? = nil,
            user: String? = nil, directory: String? = nil
        ) {
            self.path = path
            self.arguments = arguments
            self.environment = environment
            self.user = user
            self.directory = directory
        }
    }

    public let processID: Int32
    /// The reading ends, for `Reactor.adopt`; -1 without a pipe. Closed here.
    public private(set) var outputDescriptor: Int32 = -1
    public private(set) var errorsDescriptor: Int32 = -1

    private init(processID: Int32, output: Int32, errors: Int32) {
        self.processID = processID
        outputDescriptor = output
        errorsDescriptor = errors
    }

    deinit { closePipes() }

    /// Starts the program; its input is empty.
    /// - Throws: what failed, up to and with the execve: ENOENT for a missing program or user.
    public static func spawn(_ plan: Plan) throws(SystemError) -> ChildProcess {
        var ends = Ends()
        defer { ends.closeOurs() }
        do {
            ends.input = try openFile("/dev/null", O_RDONLY)
            (ends.output, ends.readOutput) = try open(plan.output)
            (ends.errors, ends.readErrors) = try open(plan.errors)
            let process = try start(plan, ends)
            return ChildProcess(
                processID: process, output: ends.readOutput, errors: ends.readErrors)
        } catch {
            ends.closeTheirs()
            throw error
        }
    }

    // MARK: - While it runs

    public func signal(_ signal: Int32) throws(SystemError) {
        try Syscalls.sendSignal(signal, to: processID)
    }

    /// Signals the child and its children; `hasOwnGroup` must have been set.
    public func signalGroup(_ signal: Int32) throws(SystemError) {
        try Syscalls.sendSignal(signal, to: -processID)
    }

    /// What the child has written since; empty when nothing is there at the moment, nil at the end.
    public func readOutput() -> [UInt8]? { Self.read(outputDescriptor) }
    public func readErrors() -> [UInt8]? { Self.read(errorsDescriptor) }

    /// Closes the reading ends. A descriptor that a reactor has adopted is released there first.
    public func closePipes() {
        for descriptor in [outputDescriptor, errorsDescriptor] where descriptor >= 0 {
            _ = cloop_close(descriptor)
        }
        outputDescriptor = -1
        errorsDescriptor = -1
    }

    /// Blocks until the child ends; its wait status. For tools and tests: a reactor's owner watches instead.
    public func waitForExit() throws(SystemError) -> Int32 {
        var status: Int32 = 0
        while waitpid(processID, &status, 0) < 0 {
            guard errno == EINTR else { throw SystemError(errno, "waitpid \(processID)") }
        }
        return status
    }

    /// The exit code in a wait status; nil when a signal ended the child.
    public static func exitCode(_ status: Int) -> Int? {
        status & 0x7f == 0 ? (status >> 8) & 0xff : nil
    }

    /// The signal in a wait status; nil when the child exited.
    public static func exitSignal(_ status: Int) -> Int? {
        status & 0x7f == 0 ? nil : status & 0x7f
    }

    // MARK: - Starting

    /// The descriptors of one start: the child's ends, and the reading ends that stay.
    private struct Ends {
        var input: Int32 = -1
        var output: Int32 = -1
        var errors: Int32 = -1
        var readOutput: Int32 = -1
        var readErrors: Int32 = -1

        /// After the start the child has its own copies.
        func closeOurs() { for end in [input, output, errors] where end >= 0 { _ = cloop_close(end) } }
        func closeTheirs() {
            for end in [readOutput, readErrors] where end >= 0 { _ = cloop_close(end) }
        }
    }

    private static func openFile(_ path: String, _ flags: Int32) throws(SystemError) -> Int32 {
        try Syscalls.checkErrno(Glibc.open(path, flags | O_CLOEXEC, 0o644), "open \(path)")
    }

    private static func open(
        _ output: Output
    ) throws(SystemError) -> (child: Int32, reading: Int32) {
        switch output {
        case .inherited: return (-1, -1)
        case .discarded: return (try openFile("/dev/null", O_WRONLY), -1)
        case .file(let path): return (try openFile(path, O_WRONLY | O_CREAT | O_APPEND), -1)
        case .pipe:
            var ends: [Int32] = [-1, -1]
            try Syscalls.check(cloop_pipe(&ends), "pipe")
            _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
            return (ends[1], ends[0])
        }
    }

    private static func start(_ plan: Plan, _ ends: Ends) throws(SystemError) -> Int32 {
        var spawn = cloop_spawn()
        if let name = plan.user {
            guard let user = Syscalls.user(named: name) else {
                throw SystemError(ENOENT, "user \(name)")
            }
            spawn.setUser = 1
            spawn.user = user.user
            spawn.group = user.group
        }
        spawn.input = ends.input
        spawn.output = ends.output
        spawn.errors = ends.errors
        spawn.ownGroup = plan.hasOwnGroup ? 1 : 0
        spawn.deathSignal = plan.deathSignal
        let arguments = CStrings([plan.path] + plan.arguments)
        let environment = plan.environment.map { given in
            CStrings(given.map { "\($0.key)=\($0.value)" }.sorted())
        }
        let directory = CStrings(plan.directory.map { [$0] } ?? [])
        spawn.path = arguments.pointers[0].map { UnsafePointer($0) }
        spawn.arguments = UnsafePointer(arguments.pointers)
        spawn.environment =
            environment.map { UnsafePointer($0.pointers) } ?? cloop_environment()
        spawn.directory = directory.pointers[0].map { UnsafePointer($0) }
        let process = withExtendedLifetime((arguments, environment, directory)) {
            cloop_spawn_start(&spawn)
        }
        return try Syscalls.check(process, "start \(plan.path)")
    }

    private static func read(_ descriptor: Int32) -> [UInt8]? {
        guard descriptor >= 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = Glibc.read(descriptor, &bytes, bytes.count)
            if count > 0 { return Array(bytes[..<count]) }
            if count == 0 { return nil }
            if errno == EAGAIN { return [] }
            if errno != EINTR { return nil }
        }
    }
}

/// Strings as C wants them: an array of pointers with a null at its end.
final class CStrings {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    /// A nil stays a null pointer.
    init(_ strings: [String?]) {
        count = strings.count
        pointers = .allocate(capacity: count + 1)
        pointers.initialize(repeating: nil, count: count + 1)
        for (index, string) in strings.enumerated() {
            if let string { pointers[index] = strdup(string) }
        }
    }

    deinit {
        for index in 0..<count { free(pointers[index]) }
        pointers.deallocate()
    }

    /// As libpq's functions take them.
    var constant: UnsafePointer<UnsafePointer<CChar>?> {
        UnsafeRawPointer(pointers).assumingMemoryBound(to: UnsafePointer<CChar>?.self)
    }
}
