import Loop
import PGProtocol
import Testing

@testable import Cache
@testable import Shell

/// Many executions on one connection, each under the settings of its profile.
struct CacheReaderTests {
    private static let statements = [
        // Seven: fails. Eight: the zone counts when the literal is parsed. Nine: when the value is shown.
        7: "select 1 / (extract(epoch from now()) * 0)",
        8: "select (timestamptz '2020-01-01 12:00:00') at time zone 'UTC'",
        9: "select '2020-01-01 12:00:00+00'::timestamptz::text",
        10: "select pg_terminate_backend(pg_backend_pid())",
    ]
    private static let zones: [UInt32: String] = [1: "Asia/Tokyo", 2: "America/New_York", 3: "UTC"]

    private func send(_ reader: CacheReader, _ entry: UInt64, _ statement: UInt64, profile: UInt32) {
        let read = RowRead(entry: entry, statement: statement, bindTail: [0, 0, 0, 0, 0, 0], profile: profile)
        let isSent = reader.send(
            read, parseBody: { number in Self.statements[Int(number)].map { Array($0.utf8) + [0, 0, 0] } },
            settings: { [("TimeZone", Self.zones[$0] ?? "UTC")] })
        #expect(isSent)
    }

    /// What one execution that fails has set is undone; those behind it were sent in the belief that it holds.
    @Test(arguments: ReactorBackend.allCases)
    func anErrorUndoesSettingsAndWhatReliedOnThemDoesNotCount(_ backend: ReactorBackend) throws {
        let links = try BlockingLinks()
        let server = try ThrowAwayOrigin(links)
        defer { server.remove(links) }
        try server.start(links)
        let world = try CacheReaderWorld(backend)
        world.reader.link.connect(
            server.endpoint(user: "postgres", database: "postgres").parameters(applicationName: "test"))
        try world.connected()

        send(world.reader, 1, 9, profile: 1)
        #expect(try world.answers(1) == [1: "2020-01-01 21:00:00+09"])
        send(world.reader, 2, 7, profile: 2)
        send(world.reader, 3, 9, profile: 2)
        send(world.reader, 4, 8, profile: 2)
        send(world.reader, 5, 8, profile: 3)
        world.reader.link.flush()
        let answers = try world.answers(4)
        #expect(answers == [2: "22012", 3: nil, 4: nil, 5: nil])

        // What was prepared meanwhile is prepared again, under the settings that it should have had.
        send(world.reader, 6, 8, profile: 2)
        send(world.reader, 7, 9, profile: 2)
        send(world.reader, 8, 7, profile: 2)
        send(world.reader, 9, 9, profile: 2)
        send(world.reader, 10, 8, profile: 3)
        world.reader.link.flush()
        #expect(
            try world.answers(5) == [
                6: "2020-01-01 17:00:00", 7: "2020-01-01 07:00:00-05", 8: "22012", 9: "2020-01-01 07:00:00-05",
                10: "2020-01-01 17:00:00",
            ])

        // An operator's doing is no answer of the statement.
        send(world.reader, 11, 10, profile: 2)
        world.reader.link.flush()
        #expect(throws: CacheReaderWorld.Lost.self) { try world.answers(1) }
    }

    @Test func whatMayPassIsTold() {
        for state in ["40001", "53200", "55P03", "57P01", "58030"] { #expect(CacheReader.isPassing(state)) }
        for state in ["22012", "42501", "57014", "", "5", "XX000"] { #expect(!CacheReader.isPassing(state)) }
    }
}

private final class CacheReaderWorld {
    let reactor: KernelReactor
    let reader: CacheReader
    private let resolver: NameResolver
    private static let linkTag: UInt64 = 1
    private static let resolverTag: UInt64 = 2
    private static let guardTag: UInt64 = 3

    struct NothingCame: Error {}
    struct Lost: Error {}

    init(_ backend: ReactorBackend) throws {
        reactor = try backend.makeReactor()
        resolver = NameResolver(reactor: reactor, tag: Self.resolverTag)
        reader = CacheReader(CacheLink(reactor: reactor, resolver: resolver, tag: Self.linkTag))
    }

    func connected() throws {
        while !reader.link.isOpen { try turn() }
    }

    private func turn() throws {
        let limit = reactor.startTimer(nanoseconds: 30_000_000_000, tag: Self.guardTag)
        defer { reactor.cancelTimer(limit) }
        try reactor.wait()
        while let completion = reactor.next() {
            switch completion.tag {
            case Self.linkTag: reader.advance(completion)
            case Self.resolverTag: resolver.advance(completion)
            default: throw NothingCame()
            }
        }
    }

    /// The first column of each answer's row, or its SQLSTATE; nil where there is none.
    func answers(_ count: Int) throws -> [UInt64: String?] {
        reader.link.flush()
        var come: [UInt64: [UInt8]] = [:]
        var ended: [UInt64: String?] = [:]
        while ended.count < count {
            while let event = reader.nextEvent() {
                switch event {
                case .arrived(let entry, let bytes): come[entry, default: []] += bytes
                case .ended(let entry): ended[entry] = text(come[entry] ?? [])
                case .failed(let entry): ended.updateValue(nil, forKey: entry)
                case .lost: throw Lost()
                }
            }
            if ended.count < count { try turn() }
        }
        return ended
    }

    private func text(_ messages: [UInt8]) -> String? {
        var position = 0
        while position + 5 <= messages.count {
            let total = CacheMessage.length(messages[...], at: position)
            let body = messages[(position + 5)..<(position + total)]
            switch messages[position] {
            case BackendType.dataRow: return String(decoding: body.dropFirst(6), as: UTF8.self)
            case BackendType.errorResponse:
                return CacheMessage(type: BackendType.errorResponse, body: body).error.state
            default: position += total
            }
        }
        return nil
    }
}
