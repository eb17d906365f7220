import PGProtocol
import Testing

@testable import Cache

/// Statements that we have answered for and the origin does not know yet, when something goes wrong
/// before it does: the client must not be able to tell [S3].
@Suite struct LocalStatementTests {
    /// Without bounds: what a session reads at the origin is not what this is about.
    let origin = CannedOrigin.warm { $0.readYourWrites = .off }
    let select = "select id from items where tenant = 1"

    /// A session that was told of `s` by us alone.
    private func told() -> Dialogue {
        let first = origin.client()
        first.sends(Wire.execution(select) + Wire.sync)
        first.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([]) + Wire.ready())
        origin.settle()
        origin.store.empty(.schema)
        first.sends(Wire.parse(select, name: "s") + Wire.sync)
        first.hears(Wire.parseComplete + Wire.ready())
        let second = origin.client()
        #expect(second.sends(Wire.parse(select, name: "s") + Wire.sync) == ["reply 1", "reply Z"])
        _ = second.takeReceived()
        return second
    }

    private let execution = Wire.bind("s") + Wire.execute()
    private let answer = Wire.bindComplete + Wire.rows([["1"]])

    @Test func aSegmentBehindOurParseWaitsUntilThatIsAnswered() {
        let client = told()
        #expect(
            client.sends(execution + Wire.sync + execution + Wire.sync)
                == ["inject P forward BE", "forward S", "park"])
        client.hears(Wire.parseComplete + answer + Wire.ready())
        #expect(client.decides() == ["forward BE", "forward S"])
        client.hears(answer + Wire.ready())
        #expect(client.takeReceived() == "2TDCZ2TDCZ")
    }

    @Test func anErrorThatDropsOurParseMakesTheNextSegmentBringItAgain() {
        let client = told()
        let failing = Wire.parse("select wrong", name: "t")
        #expect(
            client.sends(failing + execution + Wire.sync + execution + Wire.sync)
                == ["forward P", "inject P forward BE", "forward S", "park"])
        client.hears(Wire.error("42703") + Wire.ready())
        #expect(client.decides() == ["inject P forward BE", "forward S"])
        client.hears(Wire.parseComplete + answer + Wire.ready())
        #expect(client.takeReceived() == "EZ2TDCZ")
    }

    /// Of a text that may name prepared statements, the Parse is the client's and goes before what we prepare:
    /// replies come
    /// in that order.
    @Test func whatIsPreparedInTheMiddleOfASegmentIsSentInTheMiddle() {
        let client = told()
        let unreadable = Wire.parse("selec nothing") + Wire.bind() + Wire.execute() + Wire.sync
        let told = client.sends(unreadable)
        #expect(told.suffix(3) == ["forward P", "inject P forward BE", "forward S"], "\(told)")
        client.hears(Wire.error("42601") + Wire.ready())
        #expect(client.takeReceived() == "EZ")
        #expect(client.session.isQuiet)
    }

    /// The origin drops the second Parse of a text although it has answered the first: what the name stands
    /// for there is
    /// what failed in between, and must never be executed in its place.
    @Test func aParseThatAnErrorDroppedIsNotTakenForAnEarlierOneOfTheSameText() {
        let client = told()
        let first = Wire.parse(select) + Wire.bind() + Wire.execute()
        let failing = Wire.parse("insert into items values (1)") + Wire.bind() + Wire.execute()
        client.sends(failing + first + Wire.sync)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.error("23505") + Wire.ready())
        _ = client.takeReceived()
        client.sends(first + failing + first + Wire.sync)
        let failed: [UInt8] = Wire.parseComplete + Wire.bindComplete + Wire.error("23505")
        client.hears(Wire.parseComplete + answer + failed + Wire.ready())
        #expect(client.takeReceived() == "12TDC12EZ")
        #expect(client.session.isQuiet)
        // Parse must go to the origin, or be prepared there before Bind.
        let described: [UInt8] = Wire.parse(select) + Wire.describe("S")
        let told = client.sends(described + Wire.bind() + Wire.execute() + Wire.sync)
        #expect(told.contains { $0.contains("P") }, "\(told)")
    }

    @Test func aReplyToOurParseIsKeptFromTheClientOfASessionThatBecomesOpaque() {
        let client = told()
        #expect(
            client.sends(execution + Wire.query("select 1"))
                == ["inject P forward BE", "inject H forward ", "park"])
        #expect(client.hears(Wire.parseComplete + answer) == ["swallow 1", "relay 2TDC"])
        #expect(client.session.state == .ready)
        #expect(client.decides() == ["forward Q"])
        #expect(client.session.state == .opaque)
    }

    @Test func theOriginKnowsAllStatementsBeforeASessionBecomesOpaque() {
        let client = told()
        #expect(
            client.sends(Wire.parse("select 1", name: "t") + Wire.query("select 2"))
                == ["forward P", "inject PH forward ", "park"])
        #expect(client.hears(Wire.parseComplete + Wire.parseComplete) == ["relay 1", "swallow 1"])
        #expect(client.decides() == ["forward Q"])
        #expect(client.session.state == .opaque)
    }

    /// [S4] What a statement returns must be known before its Parse is answered here. A driver that never asks for
    /// that gets hits as well: the origin is asked once. What came before may have been something else.
    @Test func whatNobodyHasDescribedIsDescribedForUs() {
        let client = origin.client()
        let undescribed: [UInt8] = Wire.parse(select) + Wire.bind() + Wire.execute() + Wire.sync
        let row: [UInt8] = Wire.dataRow(["1"]) + Wire.commandComplete("SELECT 1")
        let answered: [UInt8] = Wire.bindComplete + row + Wire.ready()
        client.sends(undescribed)
        client.hears(Wire.parseComplete + answered)
        origin.passes()
        endsUnnamed(client)
        #expect(client.sends(undescribed) == ["inject PD forward PBE", "forward S"])
        client.hears(Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["id"]))
        client.hears(Wire.parseComplete + answered)
        #expect(client.takeReceived() == "12DCZ")
        #expect(client.session.isQuiet)
        endsUnnamed(client)
        #expect(client.sends(undescribed) == ["forward PBE", "forward S"])
        client.hears(Wire.parseComplete + answered)
        origin.passes()
        for session in [client, origin.client()] {
            endsUnnamed(session)
            #expect(session.sends(undescribed) == ["hit"])
        }
    }

    /// A simple query ends the unnamed statement.
    private func endsUnnamed(_ client: Dialogue) {
        client.sends(Wire.query("select 1"))
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        _ = client.takeReceived()
    }
}
