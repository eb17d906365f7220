import Glibc
import Testing

@testable import Loop

@Suite("Names")
struct NameResolverTests {
    /// Asks, and routes completions until the answer is there.
    private func answer(
        _ world: World, _ resolver: NameResolver, _ name: String,
        _ onOther: (Completion) -> Void = { _ in }
    ) throws -> NameResolver.Answer? {
        let query = resolver.resolve(name, port: 5432, tag: 50)
        let limit = world.reactor.startTimer(nanoseconds: 20_000_000_000, tag: 99)
        defer { world.reactor.cancelTimer(limit) }
        while true {
            while let completion = world.reactor.next() {
                switch completion.tag {
                case 50:
                    #expect(completion.kind == .ready && completion.socket == .none)
                    let answer = resolver.takeAnswer(query)
                    #expect(resolver.takeAnswer(query) == nil, "an answer is taken once")
                    return answer
                case 40: resolver.advance(completion)
                case 99: throw NothingCame(description: "no answer for \(name)")
                default: onOther(completion)
                }
            }
            try world.reactor.wait()
        }
    }

    @Test("Numeric addresses are their own answer", arguments: Backend.allCases)
    func numeric(_ backend: Backend) throws {
        let world = try World(backend)
        let resolver = NameResolver(reactor: world.reactor, tag: 40)
        for address in ["127.0.0.1", "::1", "203.0.113.9"] {
            #expect(
                try answer(world, resolver, address)
                    == .found([.tcp(address: address, port: 5432)]))
        }
    }

    @Test("localhost works without a network", arguments: Backend.allCases)
    func localhost(_ backend: Backend) throws {
        let world = try World(backend)
        let resolver = NameResolver(reactor: world.reactor, tag: 40)
        guard case .found(let addresses) = try answer(world, resolver, "localhost") else {
            Issue.record("localhost is not found")
            return
        }
        #expect(addresses.contains(.tcp(address: "127.0.0.1", port: 5432)))
    }

    @Test("A name server that refuses, or says nothing, makes a failure", arguments: Backend.allCases)
    func noServer(_ backend: Backend) throws {
        let world = try World(backend)
        let silent = try NameServer { _ in nil }
        for server in ["127.0.0.1:9", silent.address] {
            let resolver = NameResolver(
                reactor: world.reactor, tag: 40, timeoutMilliseconds: 50, tries: 1)
            try resolver.useServer(server)
            guard case .failed(let reason)? = try answer(world, resolver, "db.example.test.")
            else {
                Issue.record("nobody knows this name")
                return
            }
            #expect(!reason.isEmpty)
        }
        let resolver = NameResolver(reactor: world.reactor, tag: 40)
        #expect(throws: SystemError.self) { try resolver.useServer("no address") }
    }

    @Test("A name server is asked through the reactor", arguments: Backend.allCases)
    func server(_ backend: Backend) throws {
        let world = try World(backend)
        let server = try NameServer { type in type == 1 ? [192, 0, 2, 7] : nil }
        let adopted = try world.reactor.adopt(server.descriptor, tag: 60)
        world.reactor.poll(adopted, .readable)
        let resolver = NameResolver(
            reactor: world.reactor, tag: 40, timeoutMilliseconds: 5000, tries: 1)
        try resolver.useServer(server.address)
        let found = try answer(world, resolver, "db.example.test.") { _ in
            server.serve()
            world.reactor.poll(adopted, .readable)
        }
        #expect(found == .found([.tcp(address: "192.0.2.7", port: 5432)]))
        // A question that is forgotten is not answered.
        let query = resolver.resolve("other.example.test.", port: 1, tag: 51)
        resolver.cancel(query)
        #expect(resolver.takeAnswer(query) == nil)
        world.reactor.release(adopted)
    }
}

/// A name server on a free UDP port: answers every question of a type with one address, others with none.
final class NameServer {
    let descriptor: Int32
    let address: String
    private let address4: (UInt16) -> [UInt8]?

    init(_ address4: @escaping (UInt16) -> [UInt8]?) throws {
        self.address4 = address4
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var local = sockaddr_in()
        local.sin_family = sa_family_t(AF_INET)
        local.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = descriptor
        let result = withUnsafeMutablePointer(to: &local) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) | getsockname(socket, $0, &length)
            }
        }
        try #require(result == 0)
        address = "127.0.0.1:\(UInt16(bigEndian: local.sin_port))"
    }

    deinit { close(descriptor) }

    /// Answers what has come (RFC 1035, 4.1).
    func serve() {
        var packet = [UInt8](repeating: 0, count: 1500)
        var peer = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        while true {
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(
                        descriptor, &packet, packet.count, Int32(MSG_DONTWAIT), $0, &length)
                }
            }
            guard count > 12 else { return }
            // The question: labels, a zero, type and class.
            var end = 12
            while end < count, packet[end] != 0 { end += Int(packet[end]) + 1 }
            guard end + 5 <= count else { return }
            let answer = address4(UInt16(packet[end + 1]) << 8 | UInt16(packet[end + 2]))
            var reply = Array(packet[0..<(end + 5)])
            let answers: UInt8 = answer == nil ? 0 : 1
            reply.replaceSubrange(2..<12, with: [0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0])
            if let answer { reply += [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4] + answer }
            withUnsafePointer(to: &peer) {
                _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(descriptor, reply, reply.count, 0, $0, length)
                }
            }
        }
    }
}
