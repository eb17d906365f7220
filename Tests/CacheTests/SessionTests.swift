import CDC
import PGProtocol
import Testing

@testable import Cache

/// What a session makes of its client's messages: hits, misses, and why.
@Suite struct SessionTests {
    let origin = CannedOrigin.warm()
    let select = "select id from items where tenant = 1"

    // MARK: - The life of an answer

    @Test func aMissIsCapturedAndTheNextExecutionHits() {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
        #expect(client.takeReceivedBytes() == Wire.rows([["1"]]) + Wire.ready())
    }

    @Test func anExtendedExecutionIsAnsweredWithItsWholeEnvelope() {
        let client = origin.client()
        let unit = Wire.execution(select) + Wire.sync
        #expect(client.sends(unit) == ["forward PBDE", "forward S"])
        let answer = Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"], ["2"]]) + Wire.ready()
        client.hears(answer)
        #expect(client.takeReceivedBytes() == answer)
        origin.passes()
        #expect(client.sends(unit) == ["hit"])
        #expect(client.takeReceivedBytes() == answer)
    }

    @Test func parametersAreAPartOfTheKey() {
        let client = origin.client()
        let sql = "select id from items where tenant = $1"
        let one = Wire.execution(sql, ["1"]) + Wire.sync
        let two = Wire.execution(sql, ["2"]) + Wire.sync
        client.sends(one)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(two) == ["forward PBDE", "forward S"])
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["2"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(one) == ["hit"])
    }

    /// [T4] What was captured may be newer than the watermark: it waits for it.
    @Test func t4AnAnswerIsServedOnlyWhenTheWatermarkHasPassedABeatBehindIt() {
        origin.client().misses(select)
        #expect(reasonOfANewClient() == [.notYetServable])
        // The beat says where the origin is; the watermark is not there yet.
        origin.beat(5000)
        origin.store.watermarkAdvanced(LSN(4999))
        #expect(reasonOfANewClient() == [.notYetServable])
        origin.store.watermarkAdvanced(LSN(5000))
        #expect(origin.client().sends(Wire.query(select)) == ["hit"])
    }

    private func reasonOfANewClient() -> [ForwardReason] {
        let client = origin.client()
        return client.reasons { client.sends(Wire.query(select)) }
    }

    /// [T4] [T8] A beat that was under way when the answer came is too old for it.
    @Test func t8ABeatServesOnlyWhoWaitedBeforeItBegan() {
        origin.store.beatBegan()
        origin.client().misses(select)
        origin.beatEnds(200)
        origin.store.watermarkAdvanced(LSN(300))
        #expect(origin.client().sends(Wire.query(select)) == ["forward Q"])
        #expect(origin.store.wantsBeat.isUrgent)
        origin.beat(300)
        #expect(origin.client().sends(Wire.query(select)) == ["hit"])
    }

    // MARK: - Changes

    /// [T1] The change came while the origin was answering; which side of it the answer is on, nobody knows.
    @Test func t1AChangeDuringTheCaptureMakesItUnfit() {
        let client = origin.client()
        client.sends(Wire.query(select))
        origin.inserts(CannedOrigin.items, ["7", "1", "0"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    @Test func t1AChangeBetweenTwoPartsOfTheAnswerMakesItUnfit() {
        let client = origin.client()
        client.sends(Wire.query(select))
        let answer = Wire.rows([["1"], ["2"]]) + Wire.ready()
        client.hears(Array(answer.prefix(40)))
        origin.inserts(CannedOrigin.items, ["7", "1", "0"])
        client.hears(Array(answer.dropFirst(40)))
        #expect(client.takeReceivedBytes() == answer)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    /// [T2] The stream told of a commit that new snapshots may not see yet.
    @Test func t2NothingIsCapturedThatAReceivedChangeTouchesBeforeItIsSeenVisible() {
        let client = origin.client()
        origin.inserts(CannedOrigin.items, ["7", "1", "0"], transaction: 950)
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        // Still running at the origin.
        origin.beat(6000, snapshot: "950:960:950")
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.beat(70_000, snapshot: "960:960:")
        client.misses(select)
        origin.store.watermarkAdvanced(LSN(70_000))
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    /// [T2] A transaction that had committed before the stream began is not visible yet, and will never be received.
    @Test func t2NothingIsCapturedBeforeEveryoneBelowTheStreamsFenceHasFinished() {
        origin.store.streamFenced(below: TransactionID(950))
        let client = origin.client()
        client.misses(select)
        origin.beat(6000, snapshot: "940:950:940")
        client.misses(select)
        #expect(origin.store.figures.entries == 0)
        origin.beat(7000, snapshot: "950:950:")
        // What such a transaction did to the schema shows from here on: everything is asked for again [D1].
        for _ in 0..<3 {
            client.sends(Wire.query(select))
            client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
            origin.settle()
        }
        #expect(origin.store.figures.entries == 1)
    }

    @Test func t2WhatTheChangeDoesNotTouchIsCaptured() {
        let client = origin.client()
        origin.inserts(CannedOrigin.items, ["7", "2", "0"], transaction: 950)
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    /// [I1] Only a row that the constraints let through alters the answer.
    @Test func i1AChangeInvalidatesWhatItCanAlterAndNothingElse() {
        let client = origin.client()
        let other = "select id from items where tenant = 2"
        client.misses(select)
        client.misses(other)
        client.misses("select id from orders")
        origin.passes()
        origin.inserts(CannedOrigin.items, ["7", "1", "0"])
        #expect(client.sends(Wire.query(other)) == ["hit"])
        #expect(client.sends(Wire.query("select id from orders")) == ["hit"])
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    @Test func aTruncationInvalidatesAllOfItsTable() {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.receives([.init(relation: CannedOrigin.items, kind: .truncate)])
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    // MARK: - Transactions and own writes

    /// [S1]
    @Test func s1AfterAWriteHitsWaitForTheWatermarkBehindIt() {
        let client = origin.client()
        let reader = origin.client()
        client.misses(select)
        origin.passes()
        client.sends(Wire.query("insert into orders values (1)"))
        client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready())
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.ownWrite])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        // Who did not write hits.
        #expect(reader.sends(Wire.query(select)) == ["hit"])

        origin.beat(9000)
        origin.store.watermarkAdvanced(LSN(8999))
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.ownWrite])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.store.watermarkAdvanced(LSN(9000))
        // What it has read meanwhile bounds it as well [S5].
        #expect(client.sends(Wire.query(select)) == ["park"])
        origin.passes()
        client.session.woken()
        #expect(client.decides() == ["hit"])
    }

    /// [S1] A beat that was under way when the write was answered says nothing of it.
    @Test func s1ABeatThatBeganBeforeTheWriteDoesNotTellItsBound() {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        client.sends(Wire.query("insert into orders values (1)"))
        origin.store.beatBegan()
        client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready())
        origin.beatEnds(1)
        #expect(client.session.bounds.written > origin.store.reachedBeat)
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.ownWrite])
    }

    /// [S1] [K3] Until its names are resolved, a SELECT may call a function that writes.
    @Test func s1AStatementThatIsNotResolvedYetCountsAsAWrite() {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query("select effect() from unheard_of")) == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(client.sends(Wire.query(select)) == ["inject Q forward ", "park"])
        client.readsProfile()
        #expect(client.reasons { client.decides() } == [.ownWrite])
    }

    /// [C4]
    @Test func c4NothingIsCapturedInATransaction() {
        let client = origin.client()
        client.sends(Wire.query("begin isolation level repeatable read"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        client.sends(Wire.query(select))
        client.hears(Wire.rows([["1"]]) + Wire.ready("T"))
        client.sends(Wire.query("commit"))
        client.hears(Wire.commandComplete("COMMIT") + Wire.ready())
        #expect(origin.store.figures.entries == 0)
    }

    /// [C4] The writes of a pipeline are visible to what follows them, and not yet committed.
    @Test func c4NothingIsCapturedBehindAWriteInThePipeline() {
        let client = origin.client()
        let before = origin.store.figures.captures
        client.sends(Wire.execution("insert into items values (1)"))
        client.sends(Wire.execution(select) + Wire.sync)
        client.hears(
            Wire.parseComplete + Wire.bindComplete + Wire.noData + Wire.commandComplete("INSERT 0 1"))
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.figures.captures == before)
    }

    /// [C4] BEGIN was answered, but no ReadyForQuery has told so.
    @Test func c4NothingIsCapturedBehindABeginThatWasFlushed() {
        let client = origin.client()
        let before = origin.store.figures.captures
        client.sends(Wire.execution("begin") + Wire.flush)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.noData + Wire.commandComplete("BEGIN"))
        client.sends(Wire.execution(select) + Wire.sync)
        #expect(origin.store.figures.captures == before)
    }

    /// [C4] [S1] A function whose body nobody knows has run before in the same pipeline.
    @Test func c4NothingIsCapturedBehindAStatementThatIsNotResolvedYet() {
        let client = origin.client()
        let before = origin.store.figures.captures
        client.sends(Wire.execution("select effect() from unheard_of") + Wire.flush)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]))
        client.sends(Wire.execution(select) + Wire.sync)
        #expect(origin.store.figures.captures == before)
    }

    @Test func readsInAPipelineAreCaptured() {
        let client = origin.client()
        client.sends(Wire.execution(select) + Wire.execution("select id from orders") + Wire.sync)
        let one = Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]])
        client.hears(one + one + Wire.ready())
        #expect(origin.store.figures.entries == 2)
        origin.passes()
        _ = client.takeReceived()
        #expect(
            client.sends(Wire.execution(select) + Wire.execution("select id from orders") + Wire.sync)
                == ["hit", "hit"])
        #expect(client.takeReceivedBytes() == one + one + Wire.ready())
    }

    // MARK: - Order

    /// [S3] The cached answer is there, but it is not its turn.
    @Test func s3AHitWaitsUntilTheOriginOwesNothing() {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        #expect(
            client.sends(Wire.query("select id from orders") + Wire.query(select)) == ["forward Q", "park"])
        #expect(client.takeReceived() == "")
        client.hears(Wire.rows([["x"]]))
        #expect(client.decides() == ["park"])
        client.hears(Wire.ready())
        #expect(client.takeReceived() == "TDCZ")
    }

    @Test func s3AHitWaitsWhileAMessageIsHalfRelayed() {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        let notice = Wire.notice()
        client.hears(Array(notice.prefix(9)))
        #expect(client.sends(Wire.query(select)) == ["park"])
        client.hears(Array(notice.dropFirst(9)))
        #expect(client.decides() == ["hit"])
        #expect(client.takeReceived() == "NTDCZ")
    }

    /// [S3] Once the origin has a part of a segment, it gets all of it: an error skips to the Sync there.
    @Test func s3TheRestOfAForwardedSegmentIsForwarded() {
        let client = origin.client()
        client.misses(select)
        client.sends(Wire.execution(select) + Wire.sync)
        let one = Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]])
        client.hears(one + Wire.ready())
        origin.passes()
        #expect(
            client.sends(Wire.execution("select 1/0") + Wire.execution(select) + Wire.sync)
                == ["forward PBDE", "forward PBDE", "forward S"])
        _ = client.takeReceived()
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.error("22012") + Wire.ready())
        #expect(client.takeReceived() == "12EZ")
        #expect(client.session.isQuiet)
        origin.passes()
        #expect(client.sends(Wire.execution(select) + Wire.sync) == ["hit"])
    }

    /// [S3] What is sent behind an error, before its Sync, is dropped by the origin.
    @Test func s3WhatFollowsAFlushedErrorIsOwedNoReply() {
        let client = origin.client()
        client.sends(Wire.execution("select 1/0") + Wire.flush)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.error("22012"))
        client.sends(Wire.parse(select, name: "s") + Wire.bind("s") + Wire.execute() + Wire.sync)
        client.hears(Wire.ready())
        #expect(client.session.isQuiet)
        // The origin does not know `s`, and nothing waits for its answer.
        #expect(withView(Array("s".utf8)) { client.session.prepared.find($0) } == nil)
        #expect(origin.store.figures.entries == 0)
    }

    // MARK: - Coalescing

    /// [S6]
    @Test func s6AFollowerGetsTheLeadersAnswer() {
        let leader = origin.client()
        let follower = origin.client()
        leader.sends(Wire.query(select))
        #expect(follower.sends(Wire.query(select)) == ["park"])
        leader.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.nextWoken() == follower.session.number)
        follower.session.woken()
        #expect(follower.decides() == ["hit"])
        #expect(origin.store.counters.coalesced == 1)
    }

    /// [S6] A change since the leader was sent: the follower must not get what was before.
    @Test func s6AChangeReleasesTheFollowersToTheOrigin() {
        let leader = origin.client()
        let follower = origin.client()
        leader.sends(Wire.query(select))
        follower.sends(Wire.query(select))
        origin.inserts(CannedOrigin.items, ["7", "1", "0"])
        #expect(origin.store.nextWoken() == follower.session.number)
        follower.session.followerReleased()
        #expect(follower.decides() == ["forward Q"])
    }

    /// [S6] Its own bound keeps a session from joining.
    @Test func s6AWriterDoesNotFollow() {
        let leader = origin.client()
        let writer = origin.client()
        writer.sends(Wire.query("insert into items values (1)"))
        writer.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready())
        leader.sends(Wire.query(select))
        #expect(writer.reasons { writer.sends(Wire.query(select)) } == [.ownWrite])
    }

    @Test func s6AFailedLeaderReleasesItsFollowers() {
        let leader = origin.client()
        let follower = origin.client()
        leader.sends(Wire.query(select))
        follower.sends(Wire.query(select))
        leader.hears(Wire.error("57014") + Wire.ready())
        #expect(origin.store.nextWoken() == follower.session.number)
        follower.session.followerReleased()
        #expect(follower.decides() == ["forward Q"])
    }

    @Test func s6ALeaderThatGoesAwayReleasesItsFollowers() {
        let leader = origin.client()
        let follower = origin.client()
        leader.sends(Wire.query(select))
        follower.sends(Wire.query(select))
        leader.session.ended(origin.store)
        #expect(origin.store.nextWoken() == follower.session.number)
    }

    @Test func aFollowerThatSaysMoreMeanwhileWaitsOnce() {
        let leader = origin.client()
        let follower = origin.client()
        leader.sends(Wire.query(select))
        for _ in 0..<5 { #expect(follower.sends(Wire.query(select)) == ["park"]) }
        #expect(origin.store.figures.followers == 1)
    }

    // MARK: - Settings

    /// [K1] What a session under other settings hears of a statement is not for the others.
    @Test func k1ADescriptionIsNotLearntFromASessionWhoseSettingsChanged() {
        let odd = origin.client()
        let client = origin.client()
        proveRight(client, select)
        odd.sends(Wire.query("set search_path = elsewhere"))
        odd.hears(Wire.commandComplete("SET") + Wire.ready())
        let preparation = Wire.parse(select, name: "s") + Wire.describe("S", "s")
        odd.sends(preparation + Wire.sync)
        odd.hears(
            Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["x", "y"])
                + Wire.ready())
        #expect(client.sends(preparation + Wire.sync) == ["forward PD", "forward S"])
    }

    /// [D1] The same of a session that sees a schema of its own, in the transaction that changed it.
    @Test func k1ADescriptionIsNotLearntInsideATransaction() {
        let odd = origin.client()
        let client = origin.client()
        proveRight(client, "select * from items")
        odd.sends(Wire.query("begin"))
        odd.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        odd.sends(Wire.query("alter table items add extra int"))
        odd.hears(Wire.commandComplete("ALTER TABLE") + Wire.ready("T"))
        let preparation = Wire.parse("select * from items", name: "s") + Wire.describe("S", "s")
        odd.sends(preparation + Wire.sync)
        odd.hears(
            Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["x", "y"])
                + Wire.ready("T"))
        #expect(client.sends(preparation + Wire.sync) == ["forward PD", "forward S"])
    }

    // MARK: - Prepared statements

    /// The right to a statement is asked for when it is executed; no answer of it is kept here.
    private func proveRight(_ client: Dialogue, _ sql: String, notice: Bool = false) {
        client.sends(Wire.execution(sql) + Wire.sync)
        client.hears(
            (notice ? Wire.notice() : []) + Wire.parseComplete + Wire.bindComplete + Wire.rows([])
                + Wire.ready())
        origin.settle()
        origin.store.empty(.schema)
        _ = client.takeReceived()
    }

    @Test func aKnownPreparationIsAnsweredHereAndMadeUpForWhenTheOriginNeedsIt() {
        let first = origin.client()
        let second = origin.client()
        proveRight(first, select)
        let preparation = Wire.parse(select, name: "s") + Wire.describe("S", "s")
        let described =
            Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["id"])
        first.sends(preparation + Wire.sync)
        first.hears(described + Wire.ready())
        #expect(second.sends(preparation + Wire.sync) == ["reply 1tT", "reply Z"])
        #expect(second.takeReceivedBytes() == described + Wire.ready())
        // Its execution is a miss: the origin hears the Parse first, the client does not.
        #expect(
            second.sends(Wire.bind("s") + Wire.describe("P") + Wire.execute() + Wire.sync)
                == ["inject P forward BDE", "forward S"])
        #expect(
            second.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
                == ["swallow 1", "relay 2TDCZ"])
        origin.passes()
        #expect(second.sends(Wire.bind("s") + Wire.describe("P") + Wire.execute() + Wire.sync) == ["hit"])
    }

    /// [C3] The warning is a part of the answer.
    @Test func aPreparationThatRaisedANoticeIsAlwaysTheOrigins() {
        let first = origin.client()
        let second = origin.client()
        proveRight(first, select, notice: true)
        let preparation = Wire.parse(select, name: "s")
        first.sends(preparation + Wire.sync)
        first.hears(Wire.notice() + Wire.parseComplete + Wire.ready())
        #expect(second.sends(preparation + Wire.sync) == ["forward P", "forward S"])
    }

    @Test func aFailedParseOfOursIsToldToTheClientThatNeedsIt() {
        let first = origin.client()
        let second = origin.client()
        proveRight(first, select)
        first.sends(Wire.parse(select, name: "s") + Wire.sync)
        first.hears(Wire.parseComplete + Wire.ready())
        #expect(second.sends(Wire.parse(select, name: "s") + Wire.sync) == ["reply 1", "reply Z"])
        _ = second.takeReceived()
        second.sends(Wire.bind("s") + Wire.execute() + Wire.sync)
        second.hears(Wire.error("42P01") + Wire.ready())
        #expect(second.takeReceived() == "EZ")
        #expect(second.session.isQuiet)
    }

    /// A Query of the client's that names prepared statements is preceded by a segment of ours.
    @Test func aFailureInASegmentOfOursIsNotTheClients() {
        let first = origin.client()
        let second = origin.client()
        proveRight(first, select)
        first.sends(Wire.parse(select, name: "s") + Wire.sync)
        first.hears(Wire.parseComplete + Wire.ready())
        second.sends(Wire.parse(select, name: "s") + Wire.sync)
        #expect(second.sends(Wire.query("execute s")) == ["inject PS forward Q"])
        _ = second.takeReceived()
        second.hears(Wire.error("42P01") + Wire.ready() + Wire.error("26000") + Wire.ready())
        #expect(second.takeReceived() == "EZ")
    }

    /// The origin has not heard of it, and would perhaps not take it any more.
    @Test func deallocateOfAStatementThatWeAnsweredForIsAnsweredToo() {
        let first = origin.client()
        let second = origin.client()
        proveRight(first, select)
        first.sends(Wire.parse(select, name: "s") + Wire.sync)
        first.hears(Wire.parseComplete + Wire.ready())
        second.sends(Wire.parse(select, name: "s") + Wire.sync)
        _ = second.takeReceived()
        #expect(second.sends(Wire.query("deallocate s")) == ["reply CZ"])
        #expect(second.takeReceivedBytes() == Wire.commandComplete("DEALLOCATE") + Wire.ready())
        #expect(withView(Array("s".utf8)) { second.session.prepared.find($0) == nil })
    }

    /// A Close that the origin drops behind an error has closed nothing.
    @Test func aCloseBehindAnErrorIsNotDone() {
        let client = origin.client()
        client.sends(Wire.parse(select, name: "s") + Wire.sync)
        client.hears(Wire.parseComplete + Wire.ready())
        client.sends(Wire.parse("selec") + Wire.close("S", "s") + Wire.sync)
        client.hears(Wire.error("42601") + Wire.ready())
        #expect(withView(Array("s".utf8)) { client.session.prepared.find($0)?.place } == .atOrigin)
        client.sends(Wire.close("S", "s") + Wire.sync)
        client.hears(Wire.closeComplete + Wire.ready())
        #expect(withView(Array("s".utf8)) { client.session.prepared.find($0) == nil })
    }

    // MARK: - Prepared statements whose schema changed

    /// A session that has been told of `s` by us, while the schema was another.
    private func promised() -> Dialogue {
        let first = origin.client()
        let second = origin.client()
        proveRight(first, select)
        let preparation = Wire.parse(select, name: "s") + Wire.describe("S", "s") + Wire.sync
        first.sends(preparation)
        first.hears(
            Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["id"]) + Wire.ready())
        #expect(second.sends(preparation) == ["reply 1tT", "reply Z"])
        origin.store.schemaChanged()
        origin.settle()
        #expect(second.sends(Wire.bind("s") + Wire.execute() + Wire.sync) == ["inject Q forward ", "park"])
        second.readsProfile()
        _ = second.takeReceived()
        #expect(second.decides() == ["inject PD forward BE", "forward S"])
        return second
    }

    /// [S4]
    @Test func s4WhatReturnsTheSameAsBeforeIsExecuted() {
        let client = promised()
        client.hears(
            Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["id"])
                + Wire.bindComplete + Wire.dataRow(["1"]) + Wire.commandComplete("SELECT 1") + Wire.ready())
        #expect(client.takeReceived() == "2DCZ")
        #expect(client.session.isQuiet && client.session.state == .ready)
    }

    /// [S4] The client would take the columns for what they were.
    @Test func s4WhatReturnsSomethingElseIsTheErrorOfPostgreSQL() {
        let client = promised()
        let answer =
            Wire.parseComplete + Wire.parameterDescription([])
            + Wire.rowDescription(["id", "extra"])
            + Wire.bindComplete + Wire.notice() + Wire.dataRow(["1", "2"])
            + Wire.commandComplete("SELECT 1") + Wire.ready()
        for byte in answer { client.hears([byte]) }
        #expect(client.takeReceived() == "ENZ")
        #expect(client.session.isQuiet && client.session.state == .ready)
        #expect(origin.store.figures.entries == 0)
        // And so is every other use of it.
        #expect(client.sends(Wire.bind("s") + Wire.execute() + Wire.sync) == ["inject Q forward ", "park"])
        client.readsProfile()
        #expect(client.decides() == ["inject CPD forward BE", "forward S"])
    }

    /// [S4] The Parse fails: what was to be compared behind it is not.
    @Test func s4AFailedParseLeavesNothingToCompare() {
        let client = promised()
        client.hears(Wire.error("42P01") + Wire.ready())
        #expect(client.takeReceived() == "EZ")
        #expect(client.session.promised.isEmpty)
        #expect(client.session.isQuiet)
    }

    // MARK: - Execution limits and portals

    @Test func aRowLimitIsAPartOfTheKeyWhenASyncEndsThePortal() {
        let client = origin.client()
        let limited = Wire.parse(select) + Wire.bind() + Wire.execute(limit: 1) + Wire.sync
        client.sends(limited)
        let answer =
            Wire.parseComplete + Wire.bindComplete + Wire.dataRow(["1"]) + Wire.portalSuspended
            + Wire.ready()
        client.hears(answer)
        origin.passes()
        _ = client.takeReceived()
        #expect(client.sends(limited) == ["hit"])
        #expect(client.takeReceivedBytes() == answer)
        // All rows are another answer.
        #expect(
            client.sends(Wire.parse(select) + Wire.bind() + Wire.execute() + Wire.sync)
                == ["forward PBE", "forward S"])
    }

    @Test func aPortalThatCouldBeReadOnIsForwarded() {
        let client = origin.client()
        let told = client.sends(Wire.parse(select) + Wire.bind() + Wire.execute(limit: 1) + Wire.flush)
        #expect(told == ["forward PBE", "forward H"])
        #expect(origin.store.figures.entries == 0)
    }

    @Test func aNamedPortalIsForwarded() {
        let client = origin.client()
        let told = client.sends(
            Wire.parse(select) + Wire.bind(portal: "p") + Wire.execute(portal: "p") + Wire.sync)
        #expect(told == ["forward PBE", "forward S"])
        #expect(origin.store.figures.entries == 0)
    }

    @Test func anExecutionThatWasNotDescribedDoesNotServeOneThatIs() {
        let client = origin.client()
        client.sends(Wire.parse(select) + Wire.bind() + Wire.execute() + Wire.sync)
        client.hears(
            Wire.parseComplete + Wire.bindComplete + Wire.dataRow(["1"])
                + Wire.commandComplete("SELECT 1") + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.execution(select) + Wire.sync) == ["forward PBDE", "forward S"])
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        _ = client.takeReceived()
        #expect(client.sends(Wire.parse(select) + Wire.bind() + Wire.execute() + Wire.sync) == ["hit"])
        #expect(client.takeReceived() == "12DCZ")
    }

    // MARK: - The beginning and the end

    @Test func encryptionIsRefusedAndAskedAgainInPlain() {
        let client = origin.stranger()
        #expect(client.sends([0, 0, 0, 8, 4, 210, 22, 47]) == ["refuse"])
        #expect(client.sends(Wire.startup([("user", "app"), ("database", "shop")])) == ["open"])
    }

    @Test func aStartupPacketOfNoSizeIsAnError() {
        let client = origin.stranger()
        #expect(client.sends([0, 0, 0, 4]) == ["fail 08P01"])
    }

    @Test func whatComesBeforeLogInIsOverWaits() {
        let client = origin.stranger()
        client.sends(Wire.startup([("user", "app"), ("database", "shop")]))
        #expect(client.sends(Wire.query(select)) == ["park"])
    }

    @Test func aReplicationConnectionIsRelayed() {
        let client = origin.stranger()
        client.sends(
            Wire.startup([("user", "app"), ("database", "shop"), ("replication", "database")]))
        client.hears(Wire.authentication(0) + Wire.ready())
        #expect(!client.session.hasInjection)
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
        #expect(client.session.state == .opaque)
    }

    @Test func aSessionOfAnotherDatabaseForwards() {
        let client = origin.stranger()
        client.logIn(database: "else")
        #expect(!client.session.hasInjection)
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    @Test func messagesMayComeByteByByte() {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        let bytes = Wire.query(select)
        for byte in bytes.dropLast() { #expect(client.sends([byte]) == ["more"]) }
        #expect(client.sends([bytes[bytes.count - 1]]) == ["hit"])
    }
}
