import PGProtocol
import Testing

@testable import Cache

/// What a session makes of the origin's messages.
@Suite struct SessionOriginTests {
    let origin = CannedOrigin.warm()
    let select = "select id from items where tenant = 1"

    private func isCaptured(_ answer: [UInt8]) -> Bool {
        let client = origin.client()
        client.sends(Wire.query(select))
        client.hears(answer)
        origin.passes()
        return origin.client().sends(Wire.query(select)) == ["hit"]
    }

    // MARK: - What is captured

    @Test func anAnswerIsCapturedHoweverItIsCut() {
        let answer = Wire.rows([["1"], ["22"], [nil]]) + Wire.ready()
        for size in [1, 2, 3, 7, 30] {
            let origin = CannedOrigin.warm()
            let client = origin.client()
            client.sends(Wire.query(select))
            var rest = answer[...]
            while !rest.isEmpty {
                client.hears(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            #expect(client.takeReceivedBytes() == answer)
            origin.passes()
            #expect(client.sends(Wire.query(select)) == ["hit"])
            #expect(client.takeReceivedBytes() == answer)
        }
    }

    /// The same in the extended protocol, where each reply belongs to a request of its own.
    @Test func repliesAreMatchedHoweverTheyAreCut() {
        let answer =
            Wire.parseComplete + Wire.parameterDescription([23]) + Wire.rowDescription(["id"])
            + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready()
        for size in [1, 4, 6, 11, 33] {
            let client = CannedOrigin.warm().client()
            client.sends(
                Wire.parse(select, name: "s") + Wire.describe("S", "s") + Wire.bind("s")
                    + Wire.describe("P") + Wire.execute() + Wire.sync)
            var rest = answer[...]
            while !rest.isEmpty {
                client.hears(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            #expect(client.takeReceivedBytes() == answer)
            #expect(client.session.isQuiet && client.session.state == .ready)
        }
    }

    @Test func anErrorIsNotCaptured() {
        #expect(!isCaptured(Wire.rowDescription(["id"]) + Wire.dataRow(["1"]) + Wire.error() + Wire.ready()))
    }

    /// [C3]
    @Test func anAnswerWithANoticeIsNotCaptured() {
        #expect(!isCaptured(Wire.notice() + Wire.rows([["1"]]) + Wire.ready()))
        let rest = Wire.notice() + Wire.commandComplete("SELECT 0") + Wire.ready()
        #expect(!isCaptured(Wire.rowDescription(["id"]) + rest))
    }

    /// [C3] A warning of the parser's, before anything of the answer.
    @Test func aNoticeAnywhereInItsSegmentForbidsACapture() {
        let client = origin.client()
        client.sends(Wire.execution(select) + Wire.sync)
        client.hears(
            Wire.notice() + Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.execution(select) + Wire.sync) == ["forward PBDE", "forward S"])
    }

    @Test func anAnswerThatEndsWithoutItsTagIsNotCaptured() {
        #expect(!isCaptured(Wire.rowDescription(["id"]) + Wire.dataRow(["1"]) + Wire.ready()))
    }

    @Test func anAnswerThatIsTooLargeIsRelayedAndNotCaptured() {
        let origin = CannedOrigin.warm { $0.entryBytesMax = 4096 }
        let client = origin.client()
        let answer = Wire.rows([[String(repeating: "x", count: 10_000)]]) + Wire.ready()
        client.sends(Wire.query(select))
        client.hears(answer)
        #expect(client.takeReceivedBytes() == answer)
        #expect(origin.store.figures.entries == 0)
    }

    @Test func aNotificationIsRelayedAndIsNoPartOfAnAnswer() {
        let notification = Wire.message("A") { body in
            body.uint32(1)
            body.cString("channel")
            body.cString("words")
        }
        let client = origin.client()
        client.sends(Wire.query(select))
        client.hears(notification + Wire.rows([["1"]]) + Wire.ready())
        #expect(client.takeReceived() == "ATDCZ")
        // [S1] Who was told of a change must not read what was before it.
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.ownWrite])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        let other = origin.client()
        #expect(other.sends(Wire.query(select)) == ["hit"])
        #expect(other.takeReceivedBytes() == Wire.rows([["1"]]) + Wire.ready())
    }

    // MARK: - COPY

    @Test func copyInOfASimpleQuery() {
        let client = origin.client()
        client.sends(Wire.query("copy items from stdin"))
        client.hears(Wire.copyIn)
        let data = Wire.message("d") { $0.append([1, 2, 3]) }
        #expect(client.sends(data + Wire.sync + Wire.message("c")) == ["forward d", "forward S", "forward c"])
        client.hears(Wire.commandComplete("COPY 1") + Wire.ready())
        #expect(client.session.isQuiet)
        #expect(client.session.state == .ready)
    }

    /// The Sync that came with Execute is ignored in COPY; the one behind CopyDone is answered.
    @Test func copyInOfTheExtendedProtocol() {
        let client = origin.client()
        let unit = Wire.parse("copy items from stdin") + Wire.bind() + Wire.execute()
        client.sends(unit + Wire.sync)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.copyIn)
        client.sends(Wire.message("d") { $0.append([1]) } + Wire.message("c") + Wire.sync)
        client.hears(Wire.commandComplete("COPY 1") + Wire.ready())
        #expect(client.session.isQuiet)
        #expect(client.session.state == .ready)
        #expect(client.takeReceived() == "12GCZ")
    }

    // MARK: - What cannot be followed

    @Test func aReplyThatNobodyIsOwedMakesTheSessionARelay() {
        for reply in [Wire.parseComplete, Wire.bindComplete, Wire.closeComplete] {
            let client = origin.client()
            client.sends(Wire.query(select))
            client.hears(reply)
            #expect(client.session.state == .opaque)
            #expect(client.sends(Wire.query(select)) == ["forward Q"])
        }
        #expect(origin.store.figures.entries == 0)
    }

    @Test func aMessageOfNoLengthMakesTheSessionARelay() {
        let client = origin.client()
        client.hears([68, 0, 0, 0, 3, 1, 2, 3])
        #expect(client.session.state == .opaque)
        #expect(client.takeReceivedBytes() == [68, 0, 0, 0, 3, 1, 2, 3])
    }

    @Test func settingsWithoutEndAreNotKept() {
        let client = origin.client()
        for number in 0..<1000 { client.hears(Wire.parameterStatus("setting\(number)", "x")) }
        #expect(client.session.reported.count <= Session.reportedMax)
    }

    @Test func theOriginsLastWordsAreKnown() {
        let client = origin.client()
        client.hears(Wire.error("57P01"))
        #expect(!client.session.signals.contains(.originSaidFatal))
        client.hears(Wire.error("57P01", severity: "FATAL"))
        #expect(client.session.signals.contains(.originSaidFatal))
    }

    // MARK: - Settings

    @Test func aSessionWhoseSettingsCannotBeReadForwards() {
        let client = origin.stranger()
        client.sends(Wire.startup([("user", "app"), ("database", "shop")]))
        client.hears(Wire.authentication(0) + Wire.ready())
        #expect(client.session.hasInjection)
        _ = client.session.takeInjection()
        client.sends(Wire.query(select))
        #expect(client.hears(Wire.error("42501") + Wire.ready()) == ["swallow E", "swallow Z"])
        #expect(client.decides() == ["forward Q"])
        #expect(client.session.standing == .refused(.sessionState))
    }

    @Test func aTemporarySchemaForbidsTheCache() {
        let client = origin.client(searchPath: "{pg_temp_3,pg_catalog,public}")
        #expect(client.session.standing == .refused(.sessionState))
    }

    // MARK: - Anything at all

    private func randomMessage(_ random: inout Seeded) -> [UInt8] {
        let sqls = [
            select, "select id from orders", "select effect()", "begin", "commit", "set timezone = 'UTC'",
            "insert into items values (1)", "copy items from stdin", "deallocate all", "", "select \u{e9}",
            "alter table items add x int", "select id from items where tenant = $1",
        ]
        let names = ["", "s", "t"]
        let sql = sqls.randomElement(using: &random) ?? ""
        let name = names.randomElement(using: &random) ?? ""
        switch Int.random(in: 0..<14, using: &random) {
        case 0, 1: return Wire.query(sql)
        case 2: return Wire.execution(sql)
        case 3: return Wire.parse(sql, name: name, types: [23])
        case 4: return Wire.bind(name, ["1"])
        case 5: return Wire.describe(Bool.random(using: &random) ? "S" : "P", name)
        case 6: return Wire.execute(limit: UInt32.random(in: 0...1, using: &random))
        case 7: return Wire.close("S", name)
        case 8: return Wire.flush
        case 9: return Wire.message("c")
        case 10: return Wire.execution(sql) + Wire.sync
        case 11: return Wire.message("F") { $0.uint32(1) }
        default: return Wire.sync
        }
    }

    private func randomReply(_ random: inout Seeded) -> [UInt8] {
        switch Int.random(in: 0..<18, using: &random) {
        case 0: return Wire.parseComplete
        case 1: return Wire.bindComplete
        case 2: return Wire.closeComplete
        case 3: return Wire.noData
        case 4: return Wire.portalSuspended
        case 5: return Wire.copyIn
        case 6: return Wire.ready("T")
        case 7: return Wire.ready("E")
        case 8: return Wire.error()
        case 9: return Wire.notice()
        case 10: return Wire.parameterStatus("TimeZone", "\(UInt8.random(in: 0...9, using: &random))")
        case 11: return Wire.parameterDescription([23])
        case 12: return Wire.message("I")
        case 13: return Wire.rows([["1"], [nil]])
        case 14: return Wire.authentication(3)
        case 15: return Wire.message("H") { $0.uint8(0) }
        default: return Wire.ready()
        }
    }

    private func mutated(_ bytes: [UInt8], _ random: inout Seeded) -> [UInt8] {
        var bytes = bytes
        guard !bytes.isEmpty else { return bytes }
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.removeSubrange(index...)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
        case 3: bytes[min(4, bytes.count - 1)] &+= 1
        default: bytes[index] = 0
        }
        return bytes
    }

    /// Whatever a client and an origin say: nothing traps, and every step makes progress (`Dialogue` checks that).
    @Test(arguments: 0..<40) func nothingThatIsSaidTraps(seed: Int) {
        var random = Seeded(state: UInt64(seed))
        for _ in 0..<15 {
            let origin = CannedOrigin.warm()
            let dialogues = [origin.client(), origin.client()]
            let mutates = Bool.random(using: &random)
            for _ in 0..<60 {
                let dialogue = dialogues[Int.random(in: 0..<2, using: &random)]
                var bytes: [UInt8]
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<4:
                    bytes = randomMessage(&random)
                    if mutates, Int.random(in: 0..<8, using: &random) == 0 { bytes = mutated(bytes, &random) }
                    dialogue.sends(bytes)
                case 4..<8:
                    bytes = randomReply(&random)
                    if mutates, Int.random(in: 0..<8, using: &random) == 0 { bytes = mutated(bytes, &random) }
                    dialogue.hears(bytes)
                    dialogue.decides()
                case 8:
                    origin.inserts(CannedOrigin.items, ["1", "1", "1"])
                    origin.settle()
                default:
                    origin.passes()
                    while let woken = origin.store.nextWoken() {
                        for dialogue in dialogues where dialogue.session.number == woken {
                            dialogue.session.followerReleased()
                            dialogue.decides()
                        }
                    }
                }
            }
            for dialogue in dialogues { dialogue.session.ended(origin.store) }
            // Nobody is left to finish a capture.
            #expect(origin.store.figures.followers == 0)
            #expect(origin.store.memo.capturingCount == 0)
        }
    }

    @Test(arguments: 0..<20) func randomBytesDoNotTrap(seed: Int) {
        var random = Seeded(state: UInt64(1000 + seed))
        for _ in 0..<20 {
            let dialogue = Bool.random(using: &random) ? origin.client() : origin.stranger()
            for _ in 0..<30 {
                let count = Int.random(in: 1..<40, using: &random)
                var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                if Bool.random(using: &random), count > 5 {
                    bytes[0] = Array("PBDESQHCFcdfpX".utf8).randomElement(using: &random) ?? 0
                    for index in 1..<4 { bytes[index] = 0 }
                }
                if Bool.random(using: &random) { dialogue.sends(bytes) } else { dialogue.hears(bytes) }
            }
            dialogue.session.ended(origin.store)
        }
    }
}

extension Memo {
    /// Captures that are under way.
    fileprivate var capturingCount: Int {
        (0..<storage.pointee.used).reduce(0) { $0 + (pointer($1).pointee.state == .capturing ? 1 : 0) }
    }
}
