import CDC
import PGProtocol
import Testing

@testable import Cache

/// Transaction blocks: what is answered here, what the origin is told, and where hits end [S2].
@Suite struct SessionTransactionTests {
    let origin = CannedOrigin.warm()
    let select = "select id from items where tenant = 1"
    let other = "select id from items where tenant = 2"

    /// One to whom `select` is a hit.
    private func warmClient() -> Dialogue {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        _ = client.takeSentToOrigin()
        return client
    }

    private func begin(_ client: Dialogue, _ text: String = "begin") {
        #expect(client.sends(Wire.query(text)) == ["reply CZ"])
        _ = client.takeReceived()
    }

    // MARK: - Blocks that the origin never hears of

    @Test(arguments: [
        ("begin", "BEGIN"), ("BEGIN;", "BEGIN"), ("begin work", "BEGIN"), ("start transaction", "START TRANSACTION"),
        ("begin isolation level read committed read only", "BEGIN"), ("begin read write", "BEGIN"),
        ("begin isolation level read uncommitted", "BEGIN"), ("begin not deferrable", "BEGIN"),
    ])
    func aBlockOfHitsCostsTheOriginNothing(text: String, tag: String) {
        let client = warmClient()
        client.sends(Wire.query(text))
        #expect(client.takeReceivedBytes() == Wire.commandComplete(tag) + Wire.ready("T"))
        #expect(client.sends(Wire.query(select)) == ["hit"])
        #expect(client.takeReceivedBytes() == Wire.rows([["1"]]) + Wire.ready("T"))
        #expect(client.sends(Wire.query("commit")) == ["reply CZ"])
        #expect(client.takeReceivedBytes() == Wire.commandComplete("COMMIT") + Wire.ready())
        #expect(client.sends(Wire.query(select)) == ["hit"])
        #expect(client.takeReceivedBytes() == Wire.rows([["1"]]) + Wire.ready())
    }

    @Test(arguments: [("end", "COMMIT"), ("rollback", "ROLLBACK"), ("abort", "ROLLBACK"), ("rollback;", "ROLLBACK")])
    func itsEndIsAnsweredHere(text: String, tag: String) {
        let client = warmClient()
        begin(client)
        client.sends(Wire.query(text))
        #expect(client.takeReceivedBytes() == Wire.commandComplete(tag) + Wire.ready())
    }

    @Test func aChainedBlockIsLocalToo() {
        let client = warmClient()
        begin(client)
        client.sends(Wire.query("commit and chain"))
        #expect(client.takeReceivedBytes() == Wire.commandComplete("COMMIT") + Wire.ready("T"))
        #expect(client.sends(Wire.query(select)) == ["hit"])
        #expect(client.sends(Wire.query("rollback")) == ["reply CZ"])
    }

    @Test func theExtendedProtocolBeginsABlockInFrontOfItsFirstStatement() {
        let client = warmClient()
        client.sends(Wire.execution(select) + Wire.sync)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        _ = client.takeReceived()
        let told = client.sends(Wire.execution("BEGIN") + Wire.execution(select) + Wire.sync)
        #expect(told == ["reply 12nC", "hit"])
        let answer =
            Wire.parseComplete + Wire.bindComplete + Wire.noData + Wire.commandComplete("BEGIN") + Wire.parseComplete
            + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready("T")
        #expect(client.takeReceivedBytes() == answer)
    }

    @Test func aVerbMayBePreparedDescribedAndExecutedInThreeSegments() {
        let client = warmClient()
        begin(client)
        #expect(client.sends(Wire.parse("commit") + Wire.sync) == ["reply 1", "reply Z"])
        #expect(client.sends(Wire.describe("S") + Wire.sync) == ["reply tn", "reply Z"])
        #expect(client.sends(Wire.bind() + Wire.execute() + Wire.sync) == ["reply 2CZ"])
        #expect(client.takeReceivedBytes().suffix(6) == Wire.ready()[...])
    }

    // MARK: - Blocks that it hears of late

    @Test func aMissTakesTheBeginAlong() {
        let client = warmClient()
        begin(client)
        #expect(client.sends(Wire.query(other)) == ["inject Q forward Q"])
        #expect(client.takeSentToOrigin() == Wire.query("begin") + Wire.query(other))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        client.hears(Wire.rows([["2"]]) + Wire.ready("T"))
        #expect(client.takeReceivedBytes() == Wire.rows([["2"]]) + Wire.ready("T"))
        // What was captured inside serves others, and this block goes on with hits.
        origin.passes()
        #expect(origin.client().sends(Wire.query(other)) == ["hit"])
        #expect(client.sends(Wire.query(select)) == ["hit"])
        #expect(client.takeReceivedBytes() == Wire.rows([["1"]]) + Wire.ready("T"))
        #expect(client.sends(Wire.query("commit")) == ["forward Q"])
    }

    /// What could do harm outside of the block is sent when the origin has begun it.
    @Test func aWriteWaitsForTheBegin() {
        let client = warmClient()
        begin(client, "begin read write")
        #expect(client.sends(Wire.query("insert into items values (1)")) == ["inject Q forward ", "park"])
        #expect(client.takeSentToOrigin() == Wire.query("begin read write"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        #expect(client.takeReceived() == "")
        #expect(client.decides() == ["forward Q"])
        client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready("T"))
        #expect(client.takeReceived() == "CZ")
    }

    /// A cancel that comes late may hit our BEGIN: it is sent again.
    @Test func aBeginThatWasCancelledIsSentAgain() {
        let client = warmClient()
        begin(client)
        #expect(client.sends(Wire.query(other)) == ["inject Q forward Q"])
        client.hears(Wire.error("57014") + Wire.ready() + Wire.rows([["2"]]) + Wire.ready())
        // The read was none the worse for it, and the client is in its block.
        #expect(client.takeReceivedBytes() == Wire.rows([["2"]]) + Wire.ready("T"))
        #expect(client.sends(Wire.query("insert into items values (1)")) == ["inject Q forward ", "park"])
        for _ in 0..<Session.beginFailuresMax {
            client.hears(Wire.error("57014") + Wire.ready())
            #expect(client.takeReceived() == "")
            if client.session.beginFailures <= Session.beginFailuresMax {
                #expect(client.decides() == ["inject Q forward ", "park"])
            }
        }
        client.session.signals = []
        let answer = Wire.commandComplete("BEGIN") + Wire.ready("T")
        if client.session.isBeginning { client.hears(answer) }
    }

    @Test func aBlockWhoseBeginWasCancelledEndsBehindWhatWentAlong() {
        let client = warmClient()
        begin(client)
        #expect(client.sends(Wire.query(other)) == ["inject Q forward Q"])
        client.hears(Wire.error("57014") + Wire.ready())
        #expect(client.sends(Wire.query("commit")) == ["park"])
        client.hears(Wire.rows([["2"]]) + Wire.ready())
        #expect(client.takeReceivedBytes() == Wire.rows([["2"]]) + Wire.ready("T"))
        #expect(client.decides() == ["reply CZ"])
        #expect(client.takeReceivedBytes() == Wire.commandComplete("COMMIT") + Wire.ready())
    }

    /// The state that the origin tells of is that of no block, and the client's is.
    @Test func aBeginIsNotSentAgainBeforeWhatWentAlongIsAnswered() {
        let client = warmClient()
        begin(client)
        #expect(client.sends(Wire.query(other)) == ["inject Q forward Q"])
        client.hears(Wire.error("57014") + Wire.ready())
        #expect(client.sends(Wire.query("insert into items values (1)")) == ["park"])
        client.hears(Wire.rows([["2"]]) + Wire.ready())
        #expect(client.takeReceivedBytes() == Wire.rows([["2"]]) + Wire.ready("T"))
        #expect(client.decides() == ["inject Q forward ", "park"])
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        #expect(client.decides() == ["forward Q"])
    }

    @Test func aBeginThatIsNeverDoneEndsTheConnection() {
        let client = warmClient()
        begin(client)
        client.sends(Wire.query("insert into items values (1)"))
        var isRefused = false
        for _ in 0...Session.beginFailuresMax {
            _ = withView(Wire.error("25006")) { client.session.originSent($0, client.store) }
            _ = withView(Wire.ready()) { client.session.originSent($0, client.store) }
            isRefused = client.session.signals.contains(.blockWasRefused)
            client.decides()
        }
        #expect(isRefused)
    }

    /// [S4] An error of ours makes the origin's block fail as well.
    @Test func s4ARefusedStatementFailsTheOriginsBlock() {
        let first = origin.client()
        let client = origin.client()
        let preparation = Wire.parse(select, name: "s") + Wire.describe("S", "s") + Wire.sync
        first.sends(Wire.execution(select) + Wire.sync)
        first.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([]) + Wire.ready())
        origin.settle()
        origin.store.empty(.schema)
        first.sends(preparation)
        first.hears(Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["id"]) + Wire.ready())
        client.sends(preparation)
        origin.store.schemaChanged()
        origin.settle()
        _ = client.takeReceived()
        begin(client)
        client.sends(Wire.query("select 1"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T") + Wire.rows([["1"]]) + Wire.ready("T"))
        client.sends(Wire.bind("s") + Wire.execute() + Wire.sync)
        if client.session.settings.isAsked {
            client.readsProfile(status: "T")
            client.decides()
        }
        _ = client.takeReceived()
        _ = client.takeSentToOrigin()
        client.hears(
            Wire.parseComplete + Wire.parameterDescription([])
                + Wire.rowDescription(["id", "extra"]) + Wire.bindComplete + Wire.dataRow(["1", "2"])
                + Wire.commandComplete("SELECT 1") + Wire.ready("T"))
        #expect(client.takeReceived() == "E")
        #expect(Wire.types(client.takeSentToOrigin()) == "Q")
        client.hears(Wire.error("3B001") + Wire.ready("E"))
        #expect(client.takeReceivedBytes() == Wire.ready("E"))
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    /// [S2] Whatever may write, lock, or change what the block is.
    @Test(arguments: [
        "insert into items values (1)", "select id from items for update", "lock table items",
        "select pg_advisory_lock(1)", "select effect()", "set transaction isolation level serializable",
        "update items set tenant = 2", "create table t (i int)", "prepare transaction 'p'", "begin",
    ])
    func s2HitsEndWithTheFirstStatementThatIsMoreThanARead(text: String) {
        let client = warmClient()
        begin(client)
        client.sends(Wire.query(text))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        client.decides()
        client.hears(Wire.commandComplete("DONE") + Wire.ready("T"))
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.inTransaction])
        client.hears(Wire.rows([["1"]]) + Wire.ready("T"))
        #expect(client.sends(Wire.query("rollback")) == ["forward Q"])
        #expect(origin.store.figures.entries <= 1)
    }

    /// [S2] 25P02, whatever is cached.
    @Test func s2AFailedBlockIsTheOriginsAffair() {
        let client = warmClient()
        begin(client)
        client.sends(Wire.query("select nonsense from items"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T") + Wire.error("42703") + Wire.ready("E"))
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
        client.hears(Wire.error("25P02") + Wire.ready("E"))
        #expect(client.sends(Wire.query("rollback")) == ["forward Q"])
        client.hears(Wire.commandComplete("ROLLBACK") + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    /// [S2]
    @Test(arguments: [
        "begin isolation level repeatable read", "begin isolation level serializable", "begin; select 1",
        "start transaction isolation level repeatable read, read only",
    ])
    func s2OtherBlocksAreForwarded(text: String) {
        let client = warmClient()
        #expect(client.sends(Wire.query(text)) == ["forward Q"])
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.inTransaction])
        client.hears(Wire.rows([["1"]]) + Wire.ready("T"))
        client.sends(Wire.query("commit"))
        client.hears(Wire.commandComplete("COMMIT") + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    /// [S2] PostgreSQL refuses SET TRANSACTION behind a read, so the origin has to have read something as well.
    @Test func s2WhatDependsOnTheSnapshotFindsOne() {
        let client = warmClient()
        begin(client, "begin -- now")
        #expect(client.sends(Wire.query(select)) == ["hit"])
        client.sends(Wire.query("set transaction isolation level repeatable read"))
        #expect(client.takeSentToOrigin() == Wire.query("begin -- now\n;SELECT 1"))
        client.hears(
            Wire.commandComplete("BEGIN") + Wire.rows([["1"]]) + Wire.ready("T"))
        _ = client.takeReceived()
        #expect(client.decides() == ["forward Q"])
        client.hears(Wire.error("25001") + Wire.ready("E"))
        #expect(client.takeReceived() == "EZ")
    }

    @Test func savepointsLeaveTheBlockAsItIs() {
        let client = warmClient()
        begin(client)
        client.sends(Wire.query("savepoint s"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        #expect(client.decides() == ["forward Q"])
        client.hears(Wire.commandComplete("SAVEPOINT") + Wire.ready("T"))
        #expect(client.sends(Wire.query(select)) == ["hit"])
        for text in ["rollback to s", "release s"] {
            client.sends(Wire.query(text))
            client.hears(Wire.commandComplete("DONE") + Wire.ready("T"))
            origin.passes()
            #expect(client.sends(Wire.query(select)) == ["hit"])
        }
        client.sends(Wire.query("insert into items values (1)"))
        client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready("T"))
        client.sends(Wire.query("rollback to s"))
        client.hears(Wire.commandComplete("ROLLBACK") + Wire.ready("T"))
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.inTransaction])
    }

    /// [S1] The write is over with the block: the bound begins there.
    @Test func s1AfterAWritingBlockReadsWaitForTheWatermark() {
        let client = warmClient()
        begin(client)
        client.sends(Wire.query("insert into items values (1)"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        client.decides()
        client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready("T"))
        client.sends(Wire.query("commit"))
        client.hears(Wire.commandComplete("COMMIT") + Wire.ready())
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.ownWrite])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    @Test func transactionsCanBeLeftToTheOrigin() {
        let origin = CannedOrigin.warm { $0.cachesInTransactions = false }
        let client = origin.client()
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query("begin")) == ["forward Q"])
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.inTransaction])
    }

    /// A COMMIT that nobody has to answer but the origin.
    @Test func outsideOfABlockItsEndIsForwarded() {
        let client = warmClient()
        #expect(client.sends(Wire.query("commit")) == ["forward Q"])
        client.hears(Wire.notice() + Wire.commandComplete("COMMIT") + Wire.ready())
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    // MARK: - Own writes

    @Test func waitingReadsAreAnsweredBehindTheWatermark() {
        let origin = CannedOrigin.warm { $0.readYourWrites = .wait }
        let client = origin.client()
        client.misses(select)
        origin.passes()
        client.sends(Wire.query("insert into orders values (1)"))
        client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready())
        #expect(client.sends(Wire.query(select)) == ["park"])
        origin.passes()
        client.session.woken()
        #expect(client.decides() == ["hit"])
    }

    @Test func aCommitIsAnsweredBehindTheWatermark() {
        let origin = CannedOrigin.warm { $0.readYourWrites = .commit }
        let client = origin.client()
        client.misses(select)
        origin.passes()
        client.sends(Wire.query("insert into orders values (1)"))
        #expect(client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready()) == ["relay C", "hold"])
        origin.passes()
        #expect(origin.store.nextWoken() == client.session.number)
        client.session.woken()
        #expect(client.hears([]) == ["relay Z"])
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    @Test func aCommitDoesNotWaitForAWatermarkThatIsLate() {
        let origin = CannedOrigin.warm { $0.readYourWrites = .commit }
        let client = origin.client()
        client.misses(select)
        origin.passes()
        client.sends(Wire.query("insert into orders values (1)"))
        #expect(client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready()) == ["relay C", "hold"])
        origin.store.watermarkIsLate(forWrites: true)
        client.session.woken()
        #expect(client.hears([]) == ["relay Z"])
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.ownWrite])
    }

    /// Who only reads waits for a shorter time, and gives up for nobody else.
    @Test func aCommitWaitsForAWatermarkThatIsLateForReads() {
        let origin = CannedOrigin.warm { $0.readYourWrites = .commit }
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.watermarkIsLate(forWrites: false)
        client.sends(Wire.query("insert into orders values (1)"))
        #expect(client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready()) == ["relay C", "hold"])
        origin.store.watermarkIsLate(forWrites: false)
        #expect(origin.store.nextWoken() == nil)
        origin.passes()
        #expect(origin.store.nextWoken() == client.session.number)
        client.session.woken()
        #expect(client.hears([]) == ["relay Z"])
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }
}
