import PGProtocol
import Testing

@testable import Cache

@Suite struct StatementTableTests {
    @Test func aStatementIsFoundByItsWholeKeyUnderItsProfile() throws {
        let fixture = MemoFixture()
        let one = try #require(fixture.insert("select 1 from t"))
        one.pointee.state = .cacheable
        #expect(fixture.find("select 1 from t") == one)
        #expect(fixture.find("select 1 from t", profile: 1) == nil)
        #expect(fixture.find("select 1 from tt") == nil)
        #expect(fixture.find("select 1 from") == nil)
        #expect(one.pointee.text.string == "select 1 from t")
        let other = try #require(fixture.insert("select 1 from t", profile: 1))
        #expect(other != one)
        #expect(other.pointee.state == .fresh)
    }

    @Test func equalHashesDoNotMakeEqualStatements() throws {
        let fixture = MemoFixture()
        let texts = (0..<50).map { "select \($0) from t" }
        for text in texts { _ = try #require(fixture.insert(text, hash: 7)) }
        for text in texts {
            #expect(fixture.find(text, hash: 7)?.pointee.text.string == text)
        }
        #expect(fixture.find("select 50 from t", hash: 7) == nil)
        // The same tag in the index, another hash.
        #expect(fixture.find("select 1 from t", hash: 7 << 32) == nil)
    }

    @Test func declaredTypesAreReadFromTheKey() throws {
        let fixture = MemoFixture()
        var writer = ByteWriter()
        writer.cString("select $1")
        writer.uint16(2)
        writer.uint32(23)
        writer.uint32(0)
        let prepared = withView(writer.bytes) {
            fixture.statements.insert(
                profile: 0, key: $0, textCount: 9, hash: 1, evictingFrom: fixture.memo)
        }
        #expect(try #require(prepared).pointee.declaredTypes == [OID(23), OID(0)])
        #expect(try #require(fixture.insert("select 2")).pointee.declaredTypes == [])
    }

    @Test func theTableIsBoundedByCountAndByBytes() throws {
        let fixture = MemoFixture(statementsMax: 10)
        for number in 0..<100 { _ = try #require(fixture.insert("select \(number)")) }
        #expect(fixture.statements.count == 10)
        #expect(fixture.statements.evictions == 90)

        let narrow = MemoFixture(statementBytesMax: 20_000)
        for number in 0..<100 { _ = try #require(narrow.insert("select \(number)")) }
        #expect(narrow.statements.bytes <= 20_000)
        #expect(narrow.statements.count > 5)
        #expect(narrow.insert(String(repeating: "x", count: 20_000)) == nil)
        #expect(narrow.statements.refusals == 1)
    }

    @Test func whatWasFoundLatelyStays() throws {
        let fixture = MemoFixture(statementsMax: 4)
        for name in ["a", "b", "c", "d"] { _ = try #require(fixture.insert(name)) }
        // The first insertion takes everybody's second chance and the oldest.
        _ = try #require(fixture.insert("e"))
        #expect(fixture.find("a") == nil)
        _ = fixture.find("b")
        _ = try #require(fixture.insert("f"))
        #expect(fixture.find("b") != nil)
        #expect(fixture.find("c") == nil)
    }

    @Test func whatSessionsHoldStaysAndAFullTableRefuses() throws {
        let fixture = MemoFixture(statementsMax: 3)
        let ids = try ["a", "b", "c"].map { try #require(fixture.insert($0)).pointee.id }
        ids.forEach(fixture.statements.retain)
        #expect(fixture.insert("d") == nil)
        fixture.statements.release(ids[1])
        #expect(fixture.insert("d") != nil)
        #expect(fixture.statements[ids[0]] != nil)
        #expect(fixture.statements[ids[1]] == nil)
        #expect(fixture.find("b") == nil)
    }

    @Test func aPendingRequestKeepsItsStatement() throws {
        let fixture = MemoFixture(statementsMax: 1)
        let one = try #require(fixture.insert("a"))
        one.pointee.isPinnedByCatalogRequest = true
        #expect(fixture.insert("b") == nil)
        one.pointee.isPinnedByCatalogRequest = false
        #expect(fixture.insert("b") != nil)
    }

    @Test func aReusedSlotHasANewGeneration() throws {
        let fixture = MemoFixture(statementsMax: 1)
        let first = try #require(fixture.insert("a")).pointee.id
        let second = try #require(fixture.insert("b")).pointee.id
        #expect(first.index == second.index)
        #expect(fixture.statements[first] == nil)
        #expect(fixture.statements[second]?.pointee.text.string == "b")
        #expect(fixture.statements[StatementID(index: 77, generation: 1)] == nil)
    }

    @Test func theEntriesOfAnEvictedStatementGoWithIt() throws {
        let fixture = MemoFixture(statementsMax: 1)
        let one = try #require(fixture.insert("a"))
        let sole = try #require(fixture.store(one, bytes: [1]))
        let other = try #require(fixture.store(one, [9, 9], bytes: [2]))
        let capturing = try #require(fixture.begin(one, [8]))
        _ = try #require(fixture.insert("b"))
        for id in [sole, other, capturing] { #expect(fixture.memo[id] == nil) }
        #expect(!fixture.append(capturing, [1]))
        #expect(fixture.memo.counters.entries == 0)
        #expect(fixture.memo.bytes == 0)
    }

    @Test func resetForgetsWhatTheCatalogSaidAndKeepsTheStatements() throws {
        let fixture = MemoFixture()
        let one = try #require(fixture.insert("a"))
        let id = one.pointee.id
        fixture.statements.retain(id)
        one.pointee.state = .cacheable
        one.pointee.rolesAllowed.insert(3)
        one.pointee.query = ResolvedQuery(
            uses: [], functions: [], isRowForRow: false, parameterCount: 0)
        one.pointee.describeReply = [1, 2, 3]
        weak let query = one.pointee.query
        #expect(query != nil)
        fixture.statements.reset()
        #expect(query == nil)
        #expect(fixture.statements[id] == one)
        #expect(one.pointee.state == .fresh)
        #expect(one.pointee.rolesAllowed == RoleSet())
        #expect(one.pointee.describeReply == nil)
        fixture.statements.release(id)
    }

    @Test func referencesEndWithTheTable() throws {
        weak var query: ResolvedQuery?
        do {
            let fixture = MemoFixture()
            let one = try #require(fixture.insert("a"))
            let made = ResolvedQuery(uses: [], functions: [], isRowForRow: false, parameterCount: 0)
            one.pointee.query = made
            query = made
        }
        #expect(query == nil)
    }

    @Test func anyOrderOfInsertionsAndEvictionsAgreesWithADictionary() throws {
        var random = Seeded(state: 11)
        let fixture = MemoFixture(statementsMax: 64)
        for _ in 0..<5000 {
            let text = "select \(Int.random(in: 0..<200, using: &random))"
            // Few hashes, so that clusters form and removal has to close them.
            let hash = UInt64(text.utf8.reduce(0) { $0 &+ Int($1) } % 9)
            if let found = fixture.find(text, hash: hash) {
                #expect(found.pointee.text.string == text)
            } else {
                _ = try #require(fixture.insert(text, hash: hash))
                #expect(fixture.find(text, hash: hash) != nil)
            }
        }
        #expect(fixture.statements.count == 64)
    }
}
