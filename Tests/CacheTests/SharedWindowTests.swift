import CDC
import PGProtocol
import Testing

@testable import Cache

/// Queries that differ only in LIMIT and OFFSET are answered from one that holds enough.
@Suite struct SharedWindowTests {
    private let base = "select id from items where tenant = 1 order by id"
    private func rows(_ range: Range<Int>) -> [[String?]] { range.map { ["\($0)"] } }

    /// A store that has the answer to the base with this window.
    private func holding(_ window: String, _ range: Range<Int>) -> (CannedOrigin, Dialogue) {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(base + window, rows(range))
        origin.passes()
        return (origin, client)
    }

    @Test(arguments: [
        (" limit 10", 0..<10, " limit 3", 0..<3), (" limit 10", 0..<10, " limit 9", 0..<9),
        (" limit 10", 0..<10, " limit 0", 0..<0), (" limit 10", 0..<4, " limit 20", 0..<4),
        (" limit 10", 0..<4, " limit 3", 0..<3), (" limit 10", 0..<0, " limit 20", 0..<0),
        ("", 0..<8, " limit 3", 0..<3), ("", 0..<8, " limit 100", 0..<8), ("", 0..<8, " limit 3 offset 4", 4..<7),
        ("", 0..<8, " offset 5", 5..<8), ("", 0..<8, " offset 9", 0..<0), ("", 0..<8, " limit 3 offset 7", 7..<8),
        (" limit 10", 0..<10, " limit 2 offset 8", 8..<10), (" limit 10", 0..<10, " offset 3 limit 2", 3..<5),
        (" limit 10 offset 20", 20..<30, " limit 5 offset 22", 22..<27), (" offset 2", 2..<8, " limit 2 offset 3",
        3..<5),
        (" limit 10 offset 20", 0..<0, " limit 5 offset 22", 0..<0), (" LIMIT 10 ;", 0..<10, "\n limit 3;", 0..<3),
    ])
    func aPartIsAnsweredFromTheWhole(held: String, range: Range<Int>, asked: String, expected: Range<Int>) {
        let (origin, client) = holding(held, range)
        let hits = origin.store.counters.hits
        #expect(client.sends(Wire.query(base + asked)) == ["hit"])
        #expect(client.takeReceivedBytes() == Wire.rows(rows(expected)) + Wire.ready())
        #expect(origin.store.counters.windowsShared == 1)
        // From now on it is an entry of its own.
        #expect(client.sends(Wire.query(base + asked)) == ["hit"])
        #expect(client.takeReceivedBytes() == Wire.rows(rows(expected)) + Wire.ready())
        #expect(origin.store.counters.windowsShared == 1 && origin.store.counters.hits == hits + 2)
    }

    @Test(arguments: [
        (" limit 10", 0..<10, " limit 11"), (" limit 10", 0..<10, " limit 3 offset 8"), (" limit 10", 0..<10,
        " offset 2"),
        (" limit 10 offset 20", 20..<30, " limit 5 offset 19"), (" limit 10 offset 20", 20..<30, " limit 5"),
        (" limit 10", 0..<10, " limit 5 + 1"), (" limit 10", 0..<10, " limit all"), ("", 0..<8,
        " fetch first 3 rows only"),
        (" limit 10", 0..<10, " limit 3 for update"), (" limit 10", 0..<10, " desc limit 3"), ("", 0..<1, " limit 0"),
        (" limit 10 offset 20", 0..<0, " limit 5 offset 19"), (" limit 10", 0..<10, " limit 10 offset 1"),
    ])
    func whatIsNotHeldIsAskedFor(held: String, range: Range<Int>, asked: String) {
        let (origin, client) = holding(held, range)
        #expect(client.sends(Wire.query(base + asked)) == ["forward Q"])
        #expect(origin.store.counters.windowsShared == 0)
    }

    /// Another constant, another column, another table.
    @Test(arguments: [
        "select id from items where tenant = 2 order by id limit 3",
        "select name from items where tenant = 1 order by id limit 3",
        "select id from orders where tenant = 1 order by id limit 3",
        "select id from items where tenant = '1' order by id limit 3",
    ])
    func anotherBaseIsAnotherFamily(text: String) {
        let (_, client) = holding(" limit 10", 0..<10)
        #expect(client.sends(Wire.query(text)) == ["forward Q"])
    }

    /// [I1] What was made of an entry depends on what that one depends on, and lives without it.
    @Test func i1ChangesFindWhatWasMade() {
        let (origin, client) = holding(" limit 10", 0..<10)
        #expect(client.sends(Wire.query(base + " limit 3")) == ["hit"])
        origin.inserts(CannedOrigin.items, ["77", "2", "1"])
        #expect(client.sends(Wire.query(base + " limit 3")) == ["hit"])
        origin.inserts(CannedOrigin.items, ["78", "1", "1"])
        #expect(client.sends(Wire.query(base + " limit 3")) == ["forward Q"])
        client.hears(Wire.rows(rows(0..<3)) + Wire.ready())
        #expect(client.sends(Wire.query(base + " limit 2")) == ["forward Q"])
    }

    /// [T4] An answer that may be later than the watermark is nobody's yet.
    @Test func t4OnlyWhatIsServableIsShared() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(base + " limit 10", rows(0..<10))
        #expect(client.sends(Wire.query(base + " limit 3")) == ["forward Q"])
        client.hears(Wire.rows(rows(0..<3)) + Wire.ready())
    }

    /// [P1] The right to one text is not that to another.
    @Test func p1TheRightToTheTextIsAskedFor() {
        let (origin, _) = holding(" limit 10", 0..<10)
        origin.deniedRoles = ["guest"]
        let guest = origin.client(role: "guest")
        for _ in 0..<3 {
            #expect(guest.sends(Wire.query(base + " limit 3")) == ["forward Q"])
            guest.hears(Wire.error("42501") + Wire.ready())
            origin.settle()
        }
        #expect(origin.store.counters.windowsShared == 0)
    }

    /// [S1] A session that has written waits for what it wrote.
    @Test func s1OwnWritesComeFirst() {
        let (_, client) = holding(" limit 10", 0..<10)
        client.sends(Wire.query("insert into items values (5, 1, 1)"))
        client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready())
        #expect(client.reasons { client.sends(Wire.query(base + " limit 3")) } == [.ownWrite])
    }

    // MARK: - The extended protocol

    private func bind(_ values: [[UInt8]?], formats: [UInt16] = [], results: [UInt16] = []) -> [UInt8] {
        Wire.message("B") { body in
            body.cString("")
            body.cString("s")
            body.uint16(UInt16(formats.count))
            for format in formats { body.uint16(format) }
            body.uint16(UInt16(values.count))
            for value in values {
                body.uint32(value.map { UInt32($0.count) } ?? .max)
                body.append(value ?? [])
            }
            body.uint16(UInt16(results.count))
            for format in results { body.uint16(format) }
        }
    }
    private func text(_ value: Int) -> [UInt8] { Array("\(value)".utf8) }
    private func binary(_ value: Int) -> [UInt8] { withUnsafeBytes(of: Int64(value).bigEndian) { Array($0) } }

    /// A client that has prepared this as `s`.
    private func prepared(_ sql: String, types: [UInt32] = []) -> (CannedOrigin, Dialogue) {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.sends(Wire.parse(sql, name: "s", types: types) + Wire.sync)
        client.hears(Wire.parseComplete + Wire.ready())
        _ = client.takeReceived()
        return (origin, client)
    }

    private func executes(_ client: Dialogue, _ bind: [UInt8], limit: UInt32 = 0) -> Bool {
        client.sends(bind + Wire.describe("P") + Wire.execute(limit: limit) + Wire.sync).first == "hit"
    }

    private func misses(_ client: Dialogue, _ bind: [UInt8], _ range: Range<Int>) {
        #expect(!executes(client, bind))
        client.hears(Wire.bindComplete + Wire.rows(rows(range)) + Wire.ready())
        _ = client.takeReceived()
    }

    @Test(arguments: [[0], [1], [0, 0], [0, 1]] as [[UInt16]])
    func aParameterMayBeTheLimit(formats: [UInt16]) {
        let (origin, client) = prepared("select id from items where tenant = $1 order by id limit $2")
        let isBinary = (formats.count == 1 ? formats[0] : formats[1]) == 1
        let tenantIsBinary = formats[0] == 1
        func bind(_ tenant: Int, _ limit: Int) -> [UInt8] {
            self.bind(
                [tenantIsBinary ? Array(binary(tenant).suffix(4)) : text(tenant),
                    isBinary ? binary(limit) : text(limit)],
                formats: formats)
        }
        misses(client, bind(1, 10), 0..<10)
        origin.passes()
        #expect(executes(client, bind(1, 4)))
        #expect(client.takeReceivedBytes() == Wire.bindComplete + Wire.rows(rows(0..<4)) + Wire.ready())
        misses(client, bind(2, 4), 0..<4)
        misses(client, bind(1, 11), 0..<11)
    }

    @Test func parametersMayBeLimitAndOffset() {
        let (origin, client) = prepared("select id from items where tenant = $1 order by id limit $2 offset $3")
        func bind(_ limit: Int, _ offset: Int) -> [UInt8] { self.bind([text(1), text(limit), text(offset)]) }
        misses(client, bind(10, 0), 0..<10)
        origin.passes()
        #expect(executes(client, bind(3, 5)))
        #expect(client.takeReceivedBytes() == Wire.bindComplete + Wire.rows(rows(5..<8)) + Wire.ready())
        misses(client, bind(3, 8), 8..<11)
    }

    /// Formats of results belong to the answer.
    @Test func k1OtherResultFormatsAreOtherAnswers() {
        let (origin, client) = prepared("select id from items where tenant = $1 order by id limit $2")
        misses(client, bind([text(1), text(10)]), 0..<10)
        origin.passes()
        misses(client, bind([text(1), text(3)], results: [1]), 0..<3)
        misses(client, bind([text(1), nil]), 0..<3)
        misses(client, bind([text(1), Array(" 3".utf8)]), 0..<3)
        origin.passes()
        #expect(executes(client, bind([text(1), text(3)])))
    }

    /// A parameter that is used elsewhere too alters more than the limit.
    @Test func aParameterThatIsMoreThanTheLimitIsNotShared() {
        let (origin, client) = prepared("select id from items where tenant < $1 order by id limit $1")
        misses(client, bind([text(10)]), 0..<10)
        origin.passes()
        misses(client, bind([text(3)]), 0..<3)
    }

    /// An Execute that stops early has rows of its own.
    @Test func anExecuteWithALimitIsNotShared() {
        let (origin, client) = prepared("select id from items where tenant = $1 order by id limit $2")
        misses(client, bind([text(1), text(10)]), 0..<10)
        origin.passes()
        #expect(!executes(client, bind([text(1), text(4)]), limit: 2))
    }

    /// Constants in a text that is prepared.
    @Test func constantsInPreparedTextsAreShared() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        let text = "select id from items where tenant = $1 order by id"
        client.sends(Wire.execution(text + " limit 10", ["1"]) + Wire.sync)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows(rows(0..<10)) + Wire.ready())
        origin.passes()
        client.sends(Wire.parse(text + " limit 4", name: "s") + Wire.sync)
        client.hears(Wire.parseComplete + Wire.ready())
        #expect(executes(client, bind([self.text(1)])))
        #expect(!executes(client, bind([self.text(2)])))
    }
}
