import CLoop
import Glibc

/// The calls into libc that are not about descriptors in flight: clocks, limits, files, randomness.
///
/// They stand in this file (those of sockets, epoll, the ring and signals in CLoop's C files), so that nothing above
/// Loop touches libc, and so that one place shows what the process asks of its machine. All of it blocks for no longer
/// than a small local file takes: it is for starting, stopping and counting, not for the hit path.
public enum Syscalls {
    /// The words of strerror for `code`.
    public static func message(_ code: Int32) -> String {
        guard let text = strerror(code) else { return "error \(code)" }
        return String(cString: text)
    }

    // MARK: - Time and chance

    /// Nanoseconds of the monotonic clock.
    public static func monotonicNanoseconds() -> UInt64 { cloop_monotonic_nanoseconds() }
    /// Microseconds since 1970 by the wall clock, which may jump.
    public static func wallMicroseconds() -> UInt64 { cloop_wall_microseconds() }
    /// CPU time that this process has used, all threads, in nanoseconds.
    public static func processCPUNanoseconds() -> UInt64 { cloop_process_cpu_nanoseconds() }
    /// CPU time that the calling thread has used, in nanoseconds.
    public static func threadCPUNanoseconds() -> UInt64 { cloop_thread_cpu_nanoseconds() }

    /// `count` bytes from the kernel's generator (getrandom).
    public static func randomBytes(_ count: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        try check(cloop_random(&bytes, count), "getrandom")
        return bytes
    }

    // MARK: - The process and its machine

    public static var processID: Int32 { getpid() }
    public static var isRoot: Bool { geteuid() == 0 }

    /// Runs on this processor only (sched_setaffinity); child processes have the others, if there are any.
    public static func pinToProcessor(_ number: Int) throws(SystemError) {
        try check(cloop_pin(Int32(clamping: number)), "pin to processor \(number)")
    }

    /// Processors that are online.
    public static var processorCount: Int { max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1) }

    /// Raises the limit of open descriptors (RLIMIT_NOFILE) to the hard limit; the limit that holds now.
    @discardableResult
    public static func raiseDescriptorLimit() throws(SystemError) -> Int {
        let limit = cloop_raise_descriptor_limit()
        guard limit >= 0 else { throw SystemError(Int32(-limit), "setrlimit RLIMIT_NOFILE") }
        return Int(limit)
    }

    /// The limit of open descriptors.
    public static func descriptorLimit() throws(SystemError) -> Int {
        let limit = cloop_descriptor_limit()
        guard limit >= 0 else { throw SystemError(Int32(-limit), "getrlimit RLIMIT_NOFILE") }
        return Int(limit)
    }

    static func setDescriptorLimit(_ limit: Int) throws(SystemError) {
        try check(cloop_set_descriptor_limit(UInt64(limit)), "setrlimit RLIMIT_NOFILE")
    }

    /// Bytes of memory that this process may use: the machine's, or its control group's limit if that is lower.
    public static func memoryBytes() -> Int {
        let machine = max(sysconf(Int32(_SC_PHYS_PAGES)), 0) * max(sysconf(Int32(_SC_PAGESIZE)), 0)
        for file in ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"] {
            guard let text = try? readText(file, bytesMax: 64),
                let limit = Int(text.filter { $0.isNumber }), limit > 0
            else { continue }
            return min(machine, limit)
        }
        return machine
    }

    /// Bytes of memory that this process occupies (proc(5), statm).
    public static func residentBytes() -> Int {
        guard let text = try? readText("/proc/self/statm", bytesMax: 256) else { return 0 }
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
        return pages * max(sysconf(Int32(_SC_PAGESIZE)), 0)
    }

    /// The environment of this process.
    public static func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        return String(cString: value)
    }

    /// Whether a process of this number exists.
    public static func processExists(_ process: Int32) -> Bool {
        process > 0 && (kill(process, 0) == 0 || errno == EPERM)
    }

    /// Sends `signal` to a process, or to a process group when negative.
    public static func sendSignal(_ signal: Int32, to process: Int32) throws(SystemError) {
        try checkErrno(kill(process, signal), "kill \(process)")
    }

    /// The numbers of a user and of its group; nil when there is no such user.
    public static func user(named name: String) -> (user: UInt32, group: UInt32)? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var room = [CChar](repeating: 0, count: 16384)
        guard getpwnam_r(name, &entry, &room, room.count, &found) == 0, found != nil else {
            return nil
        }
        return (entry.pw_uid, entry.pw_gid)
    }

    // MARK: - Ports

    /// A TCP port of 127.0.0.1 that nobody listens on at the moment.
    public static func freePort() throws(SystemError) -> UInt16 {
        var address = cloop_address()
        try check(cloop_address_tcp(&address, "127.0.0.1", 0), "127.0.0.1")
        let descriptor = try check(cloop_socket(address.family, 0), "socket")
        defer { _ = cloop_close(descriptor) }
        try check(cloop_bind(descriptor, &address), "bind 127.0.0.1:0")
        return UInt16(clamping: try check(cloop_local_port(descriptor), "getsockname"))
    }

    // MARK: - Files

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
    public static func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }
    public static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// A whole small file.
    /// - Throws: EFBIG when it holds more than `bytesMax` bytes, or what open and read say.
    public static func readFile(
        _ path: String, bytesMax: Int = 1 << 20
    ) throws(SystemError) -> [UInt8] {
        let descriptor = try checkErrno(open(path, O_RDONLY | O_CLOEXEC), "open \(path)")
        defer { _ = cloop_close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError(errno, "read \(path)") }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= bytesMax else { throw SystemError(EFBIG, "read \(path)") }
        }
    }

    /// A whole small file as text; bytes that are not UTF-8 are replaced.
    public static func readText(
        _ path: String, bytesMax: Int = 1 << 20
    ) throws(SystemError) -> String {
        String(decoding: try readFile(path, bytesMax: bytesMax), as: UTF8.self)
    }

    /// Writes a file anew, or at its end. Permissions are octal, `0o600`.
    public static func writeFile(
        _ path: String, _ text: String, permissions: UInt32 = 0o644, appending: Bool = false
    ) throws(SystemError) {
        let mode = appending ? O_APPEND : O_TRUNC
        let descriptor = try checkErrno(
            open(path, O_WRONLY | O_CREAT | O_CLOEXEC | mode, permissions), "open \(path)")
        defer { _ = cloop_close(descriptor) }
        let bytes = Array(text.utf8)
        var place = 0
        while place < bytes.count {
            let count = bytes.withUnsafeBytes { room in
                write(descriptor, room.baseAddress?.advanced(by: place), room.count - place)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError(errno, "write \(path)") }
            place += count
        }
    }

    /// Creates a file that must not exist yet, for a pid file or a lock.
    /// - Throws: EEXIST when it does.
    public static func createFile(
        _ path: String, _ text: String, permissions: UInt32 = 0o644
    ) throws(SystemError) {
        let descriptor = try checkErrno(
            open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, permissions), "create \(path)")
        _ = cloop_close(descriptor)
        try writeFile(path, text, permissions: permissions)
    }

    public static func removeFile(_ path: String) { unlink(path) }

    /// Creates a folder; one that exists already is fine.
    public static func makeFolder(_ path: String, permissions: UInt32 = 0o700) throws(SystemError) {
        if mkdir(path, permissions) < 0, errno != EEXIST || !isFolder(path) {
            throw SystemError(errno, "mkdir \(path)")
        }
    }

    /// Where temporary folders belong: `$TMPDIR`, or /tmp.
    public static var temporaryParent: String { environment("TMPDIR") ?? "/tmp" }

    /// A new folder, only for its owner, with a name of its own.
    public static func makeTemporaryFolder(
        prefix: String, in parent: String = temporaryParent
    ) throws(SystemError) -> String {
        var template = Array("\(parent)/\(prefix)XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw SystemError(errno, "mkdtemp in \(parent)")
        }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Gives a file or a folder another name; an empty folder of that name is replaced.
    public static func move(_ path: String, to other: String) throws(SystemError) {
        try checkErrno(rename(path, other), "rename \(path)")
    }

    /// Locks a folder for as long as the descriptor is open: to the end of this process at the latest (flock(2)).
    /// - Throws: EWOULDBLOCK when somebody else has locked it, or what open says; a symbolic link is no folder.
    public static func lockFolder(_ path: String) throws(SystemError) -> Int32 {
        let descriptor = try checkErrno(
            open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), "open \(path)")
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            _ = cloop_close(descriptor)
            throw SystemError(code, "lock \(path)")
        }
        return descriptor
    }

    public static func unlockFolder(_ descriptor: Int32) { _ = cloop_close(descriptor) }

    public static func changeOwner(
        _ path: String, user: UInt32, group: UInt32
    ) throws(SystemError) {
        try checkErrno(chown(path, user, group), "chown \(path)")
    }

    public static func changePermissions(
        _ path: String, _ permissions: UInt32
    ) throws(SystemError) {
        try checkErrno(chmod(path, permissions), "chmod \(path)")
    }

    /// Names in a folder, without `.` and `..`, sorted; empty when it cannot be read.
    public static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file or a folder with all it holds; symbolic links are removed, not followed. Errors are ignored:
    /// what cannot be removed stays.
    public static func removeTree(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            unlink(path)
            return
        }
        for name in names(in: path) { removeTree(path + "/" + name) }
        rmdir(path)
    }

    // MARK: - Results

    @discardableResult
    static func check(
        _ result: Int32, _ call: @autoclosure () -> String
    ) throws(SystemError) -> Int32 {
        guard result >= 0 else { throw SystemError(-result, call()) }
        return result
    }

    @discardableResult
    static func checkErrno(
        _ result: Int32, _ call: @autoclosure () -> String
    ) throws(SystemError) -> Int32 {
        guard result >= 0 else { throw SystemError(errno, call()) }
        return result
    }
}
