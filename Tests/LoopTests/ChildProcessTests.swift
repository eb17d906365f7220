import Glibc
import Testing

@testable import Loop

@Suite("Child processes")
struct ChildProcessTests {
    /// Everything that the child writes, read through the reactor until the end.
    private func output(of child: ChildProcess, _ world: World) throws -> String {
        let socket = try world.reactor.adopt(child.outputDescriptor, tag: 1)
        defer { world.reactor.release(socket) }
        var bytes: [UInt8] = []
        while let chunk = child.readOutput() {
            bytes += chunk
            guard chunk.isEmpty else { continue }
            world.reactor.poll(socket, .readable)
            try world.expect(.ready, socket)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func shell(_ script: String) -> ChildProcess.Plan {
        var plan = ChildProcess.Plan(path: "/bin/sh", arguments: ["-c", script])
        plan.output = .pipe
        return plan
    }

    @Test("Arguments, environment and folder arrive; output comes through a pipe",
        arguments: Backend.allCases)
    func pipe(_ backend: Backend) throws {
        let world = try World(backend)
        var plan = shell("echo $0 $GREETING; pwd; cat; seq 1 5000 | wc -l")
        plan.arguments.append("named")
        plan.environment = ["GREETING": "good day", "PATH": "/usr/bin:/bin"]
        plan.directory = "/"
        let child = try ChildProcess.spawn(plan)
        #expect(try output(of: child, world) == "named good day\n/\n5000\n")
        #expect(try child.waitForExit() == 0)
        child.closePipes()
        #expect(child.readOutput() == nil)
    }

    @Test("Outputs go to files, at their ends")
    func files() throws {
        let folder = try TemporaryFolder()
        let log = folder.path + "/log"
        for _ in 0..<2 {
            var plan = shell("echo out; echo err >&2")
            plan.output = .file(log)
            plan.errors = .file(log)
            #expect(try ChildProcess.spawn(plan).waitForExit() == 0)
        }
        #expect(try Syscalls.readText(log) == "out\nerr\nout\nerr\n")
    }

    @Test("A program that is not there is an error of the start, as is an unknown user")
    func missing() throws {
        let missing = #expect(throws: SystemError.self) {
            try ChildProcess.spawn(ChildProcess.Plan(path: "/nonexistent/program"))
        }
        #expect(missing?.code == ENOENT)
        let folder = #expect(throws: SystemError.self) {
            try ChildProcess.spawn(
                ChildProcess.Plan(path: "/bin/true", directory: "/nonexistent"))
        }
        #expect(folder?.code == ENOENT)
        #expect(throws: SystemError.self) {
            try ChildProcess.spawn(ChildProcess.Plan(path: "/bin/true", user: "no-such-user"))
        }
    }

    @Test("Root starts a child as another user, who cannot come back")
    func otherUser() throws {
        guard Syscalls.isRoot else { return }
        let world = try World(.epoll)
        let user = try #require(Syscalls.user(named: "nobody"))
        var plan = shell("id -u; id -G; id -ru")
        plan.user = "nobody"
        let child = try ChildProcess.spawn(plan)
        #expect(try output(of: child, world) == "\(user.user)\n\(user.group)\n\(user.user)\n")
        _ = try child.waitForExit()
    }

    @Test("Signals are neither blocked nor ignored in the child, whatever they are here")
    func cleanSignals() throws {
        let world = try World(.epoll)
        try world.reactor.watchSignals([SIGUSR1], tag: 1)
        let child = try ChildProcess.spawn(
            shell("grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f 2"))
        for mask in try output(of: child, world).split(separator: "\n") {
            let bits = try #require(UInt64(mask, radix: 16))
            // Signals 32 and 33 are glibc's own.
            #expect(bits & ~(0b11 << 31) == 0)
        }
        _ = try child.waitForExit()
    }

    @Test("A group of its own is signalled as a whole")
    func group() throws {
        let world = try World(.epoll)
        var plan = shell("sleep 600 & echo started; wait")
        plan.hasOwnGroup = true
        let child = try ChildProcess.spawn(plan)
        let socket = try world.reactor.adopt(child.outputDescriptor, tag: 1)
        world.reactor.poll(socket, .readable)
        try world.expect(.ready, socket)
        #expect(child.readOutput() == Array("started\n".utf8))
        try child.signalGroup(SIGKILL)
        #expect(ChildProcess.exitSignal(Int(try child.waitForExit())) == Int(SIGKILL))
        // The sleeping grandchild held the other end of the pipe; it is gone too.
        world.reactor.poll(socket, .readable)
        try world.expect(.ready, socket)
        #expect(child.readOutput() == nil)
        world.reactor.release(socket)
    }

    @Test("A child dies with the process that started it")
    func deathSignal() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/pid"
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            var plan = ChildProcess.Plan(path: "/bin/sleep", arguments: ["600"])
            plan.deathSignal = SIGKILL
            plan.output = .discarded
            plan.errors = .discarded
            let child = try ChildProcess.spawn(plan)
            try Syscalls.writeFile(path, "\(child.processID)")
            raise(SIGKILL)
        }
        let process = try #require(Int32(try Syscalls.readText(path)))
        // The orphan is a zombie of another parent's until that reaps it, or gone already.
        let world = try World(.epoll)
        var isGone = false
        for _ in 0..<1000 where !isGone {
            let status = (try? Syscalls.readText("/proc/\(process)/status")) ?? "State:\tZ"
            isGone = status.contains("State:\tZ") || status.contains("State:\tX")
            if !isGone { try world.pass(milliseconds: 5) }
        }
        #expect(isGone)
    }
}
