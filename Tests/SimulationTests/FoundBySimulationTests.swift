import Cache
import PGProtocol
import Shell
import Testing

@testable import Simulation

/// What simulated worlds have found, each in the shortest form: it must not come back.
@Suite struct FoundBySimulationTests {
    /// An origin that answers the log-in, and half of what the session is asked behind it, and closes.
    private final class ClosingOrigin: OriginHost {
        let backend = Listener()
        private var messages = 0

        init() {
            backend.heard = { [unowned self] _, socket in
                messages += 1
                if messages == 1 {
                    socket.send(
                        Wire.message(BackendType.authentication) { $0.uint32(0) }
                            + Wire.message(BackendType.readyForQuery) { $0.uint8(TransactionStatus.idle.rawValue) })
                } else {
                    let description = Wire.message(BackendType.rowDescription) { body in
                        body.uint16(1)
                        body.cString("current_database")
                        for _ in 0..<18 { body.uint8(0) }
                    }
                    socket.send(Array(description.dropLast(10)))
                    socket.end()
                }
            }
        }

        func accepts(_ socket: Socket) -> Bool {
            socket.owner = backend
            return true
        }
    }

    /// Seed 18 of its day: the profile is read behind the client's back, and nobody else's business.
    @Test func halfOfAnAnswerThatTheClientDidNotAskForDoesNotReachIt() throws {
        let bench = ProxyBench()
        let origin = ClosingOrigin()
        bench.reactor.host = origin
        try bench.proxy.start()
        let client = Listener()
        let socket = try #require(bench.reactor.connect(client: "client", owner: client))
        var startup = ByteWriter()
        startup.lengthPrefixed { body in
            body.uint32(196_608)
            for word in ["user", "app", "database", "sim"] { body.cString(word) }
            body.uint8(0)
        }
        socket.send(startup.bytes)
        let isOver = try bench.run(upTo: 10 * second) { client.isClosed }
        #expect(isOver)
        var types: [UInt8] = []
        var position = 0
        while position + 5 <= client.received.count {
            types.append(client.received[position])
            let length = client.received[position + 1..<position + 5].reduce(0) { $0 << 8 | Int($1) }
            position += 1 + length
        }
        #expect(position == client.received.count, "whole messages")
        #expect(String(decoding: types, as: UTF8.self) == "RZE")
    }

    /// Seed 23: a half-open control connection answers no beat, and nothing becomes servable any more.
    @Test func aBeatThatIsNotAnsweredEndsTheControlConnection() throws {
        let bench = ProxyBench()
        try bench.proxy.start()
        let isLive = try bench.run(upTo: 30 * second) { bench.proxy.store.isServing && bench.proxy.store.isReady }
        #expect(isLive)
        let control = try #require(bench.links.first { $0.role == .control })
        control.fail(state: "", noticedAfter: nil)
        let isStuck = try bench.run(upTo: 5 * second) { bench.proxy.store.isBeatInFlight && !control.isIdle }
        #expect(isStuck)
        let isBack = try bench.run(upTo: 20 * second) { control.isIdle && !bench.proxy.store.isBeatInFlight }
        #expect(isBack)
    }

    /// The lost slot of a stream that says nothing is noticed by the question for what it holds back.
    @Test func aSlotWithoutItsLogIsNoticedAlthoughTheStreamIsSilent() throws {
        let bench = ProxyBench()
        try bench.proxy.start()
        let isLive = try bench.run(upTo: 30 * second) { bench.proxy.store.isServing }
        #expect(isLive)
        bench.origin.publications.stallWalsenders(for: 60 * second)
        bench.origin.publications.loseSlot()
        let isNoticed = try bench.run(upTo: 8 * second) { !bench.proxy.store.isServing }
        #expect(isNoticed)
        let isBack = try bench.run(upTo: 60 * second) { bench.proxy.store.isServing }
        #expect(isBack)
    }
}
