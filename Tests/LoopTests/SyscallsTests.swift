import Glibc
import Testing

@testable import Loop

@Suite("System calls")
struct SyscallsTests {
    @Test("Files are written, appended to, read within a limit, and removed with their folder")
    func files() throws {
        let folder = try Syscalls.makeTemporaryFolder(prefix: "loop-test-")
        #expect(Syscalls.isFolder(folder))
        let file = folder + "/deep/file"
        try Syscalls.makeFolder(folder + "/deep")
        try Syscalls.makeFolder(folder + "/deep")
        try Syscalls.writeFile(file, "one", permissions: 0o600)
        try Syscalls.writeFile(file, "two", appending: true)
        #expect(try Syscalls.readText(file) == "onetwo")
        try Syscalls.writeFile(file, "anew")
        #expect(try Syscalls.readText(file) == "anew")
        let tooLarge = #expect(throws: SystemError.self) {
            try Syscalls.readFile(file, bytesMax: 3)
        }
        #expect(tooLarge?.code == EFBIG)
        try Syscalls.createFile(folder + "/pid", "1")
        let exists = #expect(throws: SystemError.self) {
            try Syscalls.createFile(folder + "/pid", "2")
        }
        #expect(exists?.code == EEXIST)
        try #require(symlink("/", folder + "/root") == 0)
        #expect(Syscalls.names(in: folder) == ["deep", "pid", "root"])
        let lock = try Syscalls.lockFolder(folder + "/deep")
        try Syscalls.move(folder + "/deep", to: folder + "/moved")
        let locked = #expect(throws: SystemError.self) { try Syscalls.lockFolder(folder + "/moved") }
        #expect(locked?.code == EWOULDBLOCK)
        Syscalls.unlockFolder(lock)
        Syscalls.unlockFolder(try Syscalls.lockFolder(folder + "/moved"))
        #expect(throws: SystemError.self) { try Syscalls.lockFolder(folder + "/root") }
        Syscalls.removeTree(folder)
        #expect(!Syscalls.exists(folder))
        #expect(Syscalls.exists("/etc"), "links are not followed")
        let missing = #expect(throws: SystemError.self) { try Syscalls.readFile(file) }
        #expect(missing?.code == ENOENT)
        #expect(missing?.description.contains(file) == true)
    }

    @Test("The machine and the process can be measured")
    func measures() throws {
        #expect(Syscalls.memoryBytes() > 64 << 20)
        #expect((1 << 20..<Syscalls.memoryBytes()).contains(Syscalls.residentBytes()))
        #expect(Syscalls.processorCount >= 1)
        let cpu = Syscalls.processCPUNanoseconds()
        let time = Syscalls.monotonicNanoseconds()
        var sum: UInt64 = 0
        for index in UInt64(0)..<200_000 { sum &+= index &* index }
        #expect(sum != 0)
        #expect(Syscalls.processCPUNanoseconds() > cpu)
        #expect(Syscalls.monotonicNanoseconds() > time)
        #expect(Syscalls.wallMicroseconds() > 1_700_000_000_000_000)
        #expect(try Syscalls.descriptorLimit() > 0)
        #expect(Syscalls.processExists(Syscalls.processID))
        #expect(!Syscalls.processExists(0))
    }

    @Test("Random bytes differ")
    func random() throws {
        let first = try Syscalls.randomBytes(32)
        #expect(first.count == 32)
        #expect(try Syscalls.randomBytes(32) != first)
        #expect(try Syscalls.randomBytes(0).isEmpty)
    }

    @Test("A process is pinned to a processor that exists")
    func pinning() async {
        await #expect(processExitsWith: .success) {
            func hasProcessorZeroAlone() throws -> Bool {
                let status = "grep -qx 'Cpus_allowed_list:.0' /proc/self/status"
                return try ChildProcess.spawn(.init(path: "/bin/sh", arguments: ["-c", status])).waitForExit() == 0
            }
            let isAlone = try hasProcessorZeroAlone()
            try Syscalls.pinToProcessor(0)
            // What it starts has the others, where there are any.
            guard try hasProcessorZeroAlone() == isAlone else { fatalError("a child shares the processor") }
            try Syscalls.raiseDescriptorLimit()
        }
        #expect(throws: SystemError.self) { try Syscalls.pinToProcessor(1023) }
        #expect(throws: SystemError.self) { try Syscalls.pinToProcessor(-1) }
    }

    @Test("Free ports can be listened on; users are known by name")
    func portsAndUsers() throws {
        let world = try World(.epoll)
        let port = try Syscalls.freePort()
        _ = try world.reactor.listen(on: .tcp(address: "127.0.0.1", port: port), backlog: 1, tag: 1)
        #expect(Syscalls.user(named: "root")?.user == 0)
        #expect(Syscalls.user(named: "no-such-user") == nil)
    }
}
