import PGProtocol
import Testing

@testable import Cache

/// What a session knows of its prepared statements.
@Suite struct PreparedStatementsTests {
    private let one = StatementID(index: 1, generation: 1)
    private let two = StatementID(index: 2, generation: 1)

    private func named<R>(_ name: String, _ body: (ByteView) -> R) -> R {
        withView(Array(name.utf8), body)
    }

    @Test func aNameStandsForItsLastStatement() {
        var prepared = PreparedStatements()
        #expect(named("s") { prepared.find($0) } == nil)
        #expect(named("s") { prepared.insert($0, one, .sent(1)) } == nil)
        #expect(named("s") { prepared.insert($0, two, .sent(2)) } == one)
        let found = named("s") { prepared.find($0) }
        #expect(found?.statement == two && found?.place == .sent(2))
        #expect(named("s") { prepared.remove($0) } == two)
        #expect(named("s") { prepared.remove($0) } == nil)
    }

    @Test func theUnnamedStatementIsOneOfThem() {
        var prepared = PreparedStatements()
        #expect(named("") { prepared.insert($0, one, .local) } == nil)
        #expect(prepared.count == 1)
        #expect(named("") { prepared.insert($0, two, .local) } == one)
        #expect(named("") { prepared.find($0) }?.statement == two)
        #expect(prepared.localOnes.isEmpty)
        #expect(named("") { prepared.remove($0) } == two)
        #expect(prepared.count == 0)
    }

    @Test func whatTheOriginParsedIsThere() {
        var prepared = PreparedStatements()
        _ = named("s") { prepared.insert($0, one, .sent(1)) }
        prepared.parsed(1)
        #expect(named("s") { prepared.find($0) }?.place == .atOrigin)
    }

    @Test func aFailedParseOfTheClientsLeavesNothing() {
        var prepared = PreparedStatements()
        _ = named("s") { prepared.insert($0, one, .sent(1)) }
        #expect(prepared.parseFailed(1, isInjected: false) == one)
        #expect(named("s") { prepared.find($0) } == nil)
        #expect(prepared.parseFailed(1, isInjected: false) == nil)
    }

    @Test func aFailedParseOfOursIsStillToBeSent() {
        var prepared = PreparedStatements()
        for name in ["", "s"] {
            _ = named(name) { prepared.insert($0, one, .local) }
            named(name) { prepared.setPlace($0, .sent(1)) }
            #expect(prepared.parseFailed(1, isInjected: true) == nil)
            #expect(named(name) { prepared.find($0) }?.place == .local)
        }
    }

    /// PostgreSQL cuts names at 63 bytes: two that differ behind that are one to it.
    @Test func aLongNameIsNotKept() {
        let prepared = PreparedStatements()
        #expect(named(String(repeating: "n", count: 63)) { prepared.hasRoom(for: $0) })
        #expect(!named(String(repeating: "n", count: 64)) { prepared.hasRoom(for: $0) })
    }

    @Test func thereIsALimit() {
        var prepared = PreparedStatements()
        for number in 0..<PreparedStatements.countMax {
            #expect(named("s\(number)") { prepared.hasRoom(for: $0) })
            _ = named("s\(number)") { prepared.insert($0, one, .local) }
        }
        #expect(!named("more") { prepared.hasRoom(for: $0) })
        #expect(prepared.localOnes.count == PreparedStatements.countMax)
        #expect(prepared.removeAll().count == PreparedStatements.countMax)
        #expect(prepared.count == 0)
    }
}
