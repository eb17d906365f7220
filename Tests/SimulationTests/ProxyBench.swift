import Cache
import Logging
import Loop
import PGProtocol
import Shell

@testable import Simulation

/// The real proxy on a scripted reactor, before an origin that a test chooses; its own connections are the
/// modelled origin's.
final class ProxyBench {
    let surroundings = Surroundings(parameters: Parameters(seed: 1))
    let reactor: ScriptedReactor
    let origin: Origin
    let proxy: Proxy
    let links: [OriginLink]

    init() {
        let reactor = ScriptedReactor(surroundings)
        let origin = Origin(surroundings)
        reactor.setClock(nanoseconds: surroundings.scheduler.now)
        var settings = Settings()
        settings.rows.isOn = false
        settings.origin.host = "/origin"
        settings.origin.user = "pgcache"
        settings.origin.database = "sim"
        settings.replication = settings.origin
        settings.clientsMax = 8
        settings.memo.bytesMax = 1 << 20
        var links: [OriginLink] = []
        proxy = Proxy(
            settings: settings, reactor: reactor, resolver: NameResolver(reactor: reactor, tag: 0),
            log: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() },
            makeLink: { _, _, tag in
                let role = OriginLink.Role(rawValue: UInt32(truncatingIfNeeded: tag)) ?? .control
                let link = OriginLink(role, origin, reactor, tag: tag)
                links.append(link)
                return link
            }, seed: 1)
        reactor.host = origin
        self.links = links
        self.reactor = reactor
        self.origin = origin
    }

    deinit { surroundings.scheduler.clear() }

    /// Turns until the condition holds; false when it does not within so much virtual time.
    func run(upTo nanoseconds: UInt64, until condition: () -> Bool) throws -> Bool {
        let limit = surroundings.scheduler.now + nanoseconds
        while !condition() {
            guard surroundings.scheduler.now < limit else { return false }
            try proxy.turn()
        }
        return true
    }
}

/// A socket's owner that keeps what it hears.
final class Listener: SocketOwner {
    var received: [UInt8] = []
    var isClosed = false
    var heard: (([UInt8], Socket) -> Void)?

    func received(_ bytes: [UInt8], on socket: Socket) {
        received += bytes
        heard?(bytes, socket)
    }
    func ended(_ socket: Socket) { isClosed = true }
    func closed(_ socket: Socket) { isClosed = true }
}
