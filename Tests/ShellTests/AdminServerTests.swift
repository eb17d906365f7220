import Loop
import Testing

@testable import Shell

/// The server on a real socket, driven by the reactor as the proxy drives it.
struct AdminServerTests {
    private final class Pages: AdminPages {
        func readiness() -> (isReady: Bool, reason: String) { (true, "") }
        func status() -> JSON { .object([.init("x", .string(String(repeating: "y", count: 300_000)))]) }
        func metrics() -> [MetricValue] { [] }
    }

    /// Sends one request and gives the whole answer, up to the end of the stream.
    private func answer(to request: String) throws -> String {
        let reactor = try EpollReactor()
        let pages = Pages()
        let server = try AdminServer(address: "localhost", port: 0, pages: pages)
        defer { server.stop() }
        let adopted = try reactor.adopt(server.descriptor, tag: 1)
        reactor.poll(adopted, .readable)
        let socket = try reactor.connect(to: .tcp(address: "127.0.0.1", port: server.port), tag: 2)
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        let sent = UnsafeMutableRawBufferPointer.allocate(byteCount: request.utf8.count, alignment: 16)
        sent.copyBytes(from: request.utf8)
        defer {
            room.deallocate()
            sent.deallocate()
        }
        let base = try #require(room.baseAddress)
        let sentBase = try #require(sent.baseAddress)
        var received: [UInt8] = []
        while true {
            try reactor.wait()
            while let completion = reactor.next() {
                switch completion.kind {
                case .ready:
                    server.run()
                    reactor.poll(adopted, .readable)
                case .connected:
                    #expect(completion.result == 0)
                    withUnsafePointer(to: Slice(base: sentBase, count: sent.count)) {
                        reactor.send(socket, UnsafeBufferPointer(start: $0, count: 1))
                    }
                    reactor.receive(socket, into: base, capacity: room.count)
                case .received where completion.result > 0:
                    received += room[..<completion.result]
                    reactor.receive(socket, into: base, capacity: room.count)
                case .received: reactor.close(socket)
                case .closed where completion.tag == 2:
                    reactor.release(adopted)
                    return String(decoding: received, as: UTF8.self)
                default: break
                }
            }
        }
    }

    @Test func aPageIsServed() throws {
        let answer = try #require(
            HTTPProbe.Answer(try self.answer(to: "GET /healthz HTTP/1.0\r\n\r\n")))
        #expect(answer.status == 200)
        #expect(answer.body == "ok\n")
    }

    @Test func aLargePageArrivesWhole() throws {
        let answer = try #require(
            HTTPProbe.Answer(try self.answer(to: "GET /status?pretty HTTP/1.0\r\n\r\n")))
        #expect(answer.body.utf8.count == 300_000 + "{\"x\":\"\"}\n".utf8.count)
    }

    @Test func aPostIsRefusedWithTheMethodsThatAreAllowed() throws {
        let text = try answer(to: "POST /status HTTP/1.0\r\nContent-Length: 2\r\n\r\nab")
        #expect(text.hasPrefix("HTTP/1.0 405") || text.hasPrefix("HTTP/1.1 405"))
        #expect(text.contains("Allow: GET, HEAD"))
    }

    @Test func garbageEndsTheConnectionAndNothingElse() throws {
        let text = try answer(to: "\u{1}\u{2}nonsense\r\n\r\n")
        #expect(!text.contains("200"))
    }

    @Test func aTakenPortAndANameAreErrors() throws {
        let pages = Pages()
        let first = try AdminServer(address: "127.0.0.1", port: 0, pages: pages)
        #expect(throws: SystemError.self) {
            _ = try AdminServer(address: "127.0.0.1", port: first.port, pages: pages)
        }
        #expect(throws: SystemError.self) {
            _ = try AdminServer(address: "no.such.name", port: 0, pages: pages)
        }
        first.stop()
        first.stop()
        #expect(first.timeoutMilliseconds == nil)
    }
}
