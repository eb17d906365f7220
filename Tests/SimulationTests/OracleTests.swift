import Loop
import PGProtocol
import Testing

@testable import Simulation

@Suite struct OracleTests {
    let scene = OracleScene()

    // MARK: Rule 1, the origin's own answers

    @Test func whatTheOriginAnsweredIsRight() {
        #expect(scene.forward(Say.account(1)) == nil)
        #expect(scene.forward(Say.account(2), for: "b") == nil)
        #expect(scene.oracle.counts.forwarded == 2)
        #expect(scene.oracle.counts.hits == 0)
    }

    @Test func whatTheOriginDidNotAnswerIsWrong() {
        let statement = Statement.select(Say.account(1))
        scene.executed(statement, for: "a", scene.reply(Say.account(1), at: scene.watermark))
        let wrong = scene.reply(Say.account(2), at: scene.watermark)
        let violation = scene.oracle.check(scene.appended(wrong, to: statement, for: "a", sentAt: 0))
        #expect(violation?.rule == 1)
        #expect(violation?.text.contains("got:      SELECT 1 [(2, 100)]") == true)
        #expect(violation?.text.contains("expected: SELECT 1 [(1, 100)]") == true)
    }

    @Test func theAnswerToAnotherStatementIsWrong() {
        let reply = scene.reply(Say.account(1), at: scene.watermark)
        scene.executed(.select(Say.account(1)), for: "a", reply)
        let violation = scene.oracle.check(
            scene.appended(reply, to: .select(Say.accounts), for: "a", sentAt: 0))
        #expect(violation?.rule == 1)
        #expect(violation?.text.contains("executed next") == true)
    }

    @Test func aWriteThatNobodyExecutedIsNotDone() {
        let exchange = scene.appended(.done(tag: "UPDATE 1"), to: Say.add(1, to: 1), for: "a", sentAt: 0)
        #expect(scene.oracle.check(exchange)?.rule == 1)
    }

    @Test func whatWasExecutedBeforeItWasSentIsForNobody() {
        let reply = scene.reply(Say.account(1), at: scene.watermark)
        scene.executed(.select(Say.account(1)), for: "a", reply)
        let exchange = scene.appended(reply, to: .select(Say.account(1)), for: "a", sentAt: scene.event)
        #expect(scene.oracle.check(exchange)?.rule == 1)
    }

    @Test func whatNobodyGotIsMissedAtTheEnd() {
        #expect(scene.forward(Say.account(1)) == nil)
        #expect(scene.oracle.finish() == nil)
        scene.executed(Say.add(1, to: 1), for: "a", .done(tag: "UPDATE 1"))
        #expect(scene.oracle.finish()?.rule == 1)
        scene.oracle.lost("a")
        #expect(scene.oracle.finish() == nil)
    }

    @Test func anErrorIsRightWhenTheOriginHasGivenIt() {
        let sentAt = scene.event
        scene.tick()
        let failed = scene.appended(.error(state: "26000", rows: []), to: .ping, for: "a", sentAt: sentAt)
        #expect(scene.oracle.check(failed)?.rule == 1)
        scene.executions.note(Failure(event: scene.event, state: "26000"), for: "a")
        #expect(scene.oracle.check(failed) == nil)
        #expect(scene.oracle.counts.errors == 1)
    }

    @Test func theOriginMayBeAheadOfAnErrorThatNothingWasExecutedFor() {
        let sentAt = scene.event
        scene.tick()
        scene.executions.note(Failure(event: scene.event, state: "42601"), for: "a")
        let right = scene.reply(Say.account(1), at: scene.watermark)
        scene.executed(.select(Say.account(1)), for: "a", right)
        let failed = scene.appended(.error(state: "42601", rows: []), to: .nonsense, for: "a", sentAt: sentAt)
        let answered = scene.appended(right, to: .select(Say.account(1)), for: "a", sentAt: sentAt)
        #expect(scene.oracle.check(failed) == nil)
        #expect(scene.oracle.check(answered) == nil)
        #expect(scene.oracle.counts.forwarded == 2)
    }

    @Test func whoLeftWithEverythingAnsweredHasNothingLeft() {
        #expect(scene.forward(Say.account(1)) == nil)
        scene.oracle.lost("a", outstanding: 0)
        #expect(scene.oracle.finish() == nil)
        scene.executed(.select(Say.account(1)), for: "a", scene.reply(Say.account(1), at: scene.watermark))
        #expect(scene.oracle.finish()?.rule == 1)
    }

    @Test func anErrorIsNotPlayedAgain() {
        scene.watermark = scene.commit(Say.add(-100, to: 3))
        let failing = scene.reply(Say.quotient, at: scene.watermark)
        #expect(scene.forward(.select(Say.quotient), failing) == nil)
        #expect(scene.hit(Say.quotient, failing)?.rule == 1)
    }

    // MARK: Rule 1, hits

    @Test func aHitIsTheAnswerAtTheWatermark() {
        let old = scene.watermark
        let new = scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.hit(Say.account(1)) == nil)
        scene.watermark = new
        #expect(scene.hit(Say.account(1)) == nil)
        #expect(scene.hit(Say.accounts) == nil)
        #expect(scene.oracle.counts.hits == 3)
        #expect(old < new)
    }

    @Test func aHitWithParametersIsTheAnswerToThese() {
        var select = Say.account(1)
        select.conditions[0].test = .equals(.parameter(1))
        let right = scene.reply(select, [.int(4)], at: scene.watermark)
        let hit = scene.appended(right, to: .select(select), [.int(4)], for: "a", sentAt: 0)
        #expect(scene.oracle.check(hit) == nil)
        let wrong = scene.appended(right, to: .select(select), [.int(5)], for: "a", sentAt: 0)
        #expect(scene.oracle.check(wrong)?.rule == 1)
    }

    @Test func aHitOfAnotherTimeIsWrong() {
        let old = scene.watermark
        let new = scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        let violation = scene.hit(Say.account(1), scene.reply(Say.account(1), at: new))
        #expect(violation?.rule == 1)
        #expect(violation?.text.contains("it is the origin's answer at \(new)") == true)
        #expect(violation?.text.contains("behind W: ") == true)
        scene.watermark = new
        let stale = scene.hit(Say.account(1), scene.reply(Say.account(1), at: old), for: "b")
        #expect(stale?.rule == 1)
        #expect(stale?.text.contains("in W:     ") == true)
    }

    @Test func aHitThatStopsEarlyIsTheBeginning() {
        let whole = scene.database.answer(Say.accounts, [], at: scene.watermark)
        func rows(_ places: Range<Int>) -> Reply {
            let bytes = Wire.rows(Array(whole.rows[places]), of: Say.accounts, isBinary: false)
            return .rows(description: nil, rows: bytes, tag: Reply.suspended)
        }
        #expect(scene.hit(Say.accounts, rows(0..<3)) == nil)
        #expect(scene.hit(Say.accounts, rows(1..<4))?.rule == 1)
    }

    @Test func nothingIsHitWithoutTheStream() {
        scene.isServing = false
        #expect(scene.hit(Say.account(1))?.rule == 1)
    }


    @Test func whereTheOriginWouldFailAHitIsWrong() {
        scene.watermark = scene.commit(Say.add(-100, to: 3))
        let rows = scene.database.answer(Say.quotient, [], at: scene.watermark).rows
        var answer = Answer()
        answer.rows = rows
        #expect(scene.hit(Say.quotient, scene.reply(Say.quotient, answer))?.rule == 1)
    }

    @Test func aHitBeforeTheSameStatementIsForwardedIsAHit() {
        let right = scene.reply(Say.account(1), at: scene.watermark)
        let hit = scene.appended(right, to: .select(Say.account(1)), for: "a", sentAt: scene.event)
        let sentAt = scene.event
        scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        let fresh = scene.reply(Say.account(1), at: scene.database.insertLSN)
        scene.executed(.select(Say.account(1)), for: "a", fresh)
        let forwarded = scene.appended(fresh, to: .select(Say.account(1)), for: "a", sentAt: sentAt)
        #expect(scene.oracle.check(hit) == nil)
        #expect(scene.oracle.check(forwarded) == nil)
        #expect(scene.oracle.counts.hits == 1)
        #expect(scene.oracle.counts.forwarded == 1)
    }

    @Test func aFollowerGetsItsLeadersAnswer() {
        scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.forward(Say.account(1), for: "leader") == nil)
        // The watermark has not come so far yet.
        #expect(scene.hit(Say.account(1), scene.reply(Say.account(1), at: scene.database.insertLSN)) == nil)
        #expect(scene.oracle.counts.followed == 1)
    }

    @Test func aLeadersAnswerIsNotOlderThanTheWatermark() {
        let old = scene.reply(Say.account(1), at: scene.watermark)
        #expect(scene.forward(Say.account(1), for: "leader") == nil)
        scene.watermark = scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.hit(Say.account(1), old)?.rule == 1)
    }

    @Test func aLeadersAnswerHasWhatTheWatermarkHas() {
        let none = scene.reply(Say.account(99), at: scene.watermark)
        #expect(scene.forward(Say.account(99), for: "leader") == nil)
        scene.watermark = scene.commit(
            .insert(
                Insert(
                    table: Table.account,
                    rows: [[.constant(.int(99)), .constant(.null), .constant(.int(0)), .constant(.null)]])))
        #expect(scene.hit(Say.account(99), none)?.rule == 1)
    }

    // MARK: Rule 2

    @Test func aHitDoesNotGoBackBehindTheOrigin() {
        scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.forward(Say.account(1)) == nil)
        #expect(scene.hit(Say.account(3)) == nil)
        let violation = scene.hit(Say.account(1))
        #expect(violation?.rule == 2)
        #expect(violation?.text.contains("account 1 of") == true)
        #expect(scene.hit(Say.account(1), for: "b") == nil)
    }

    @Test func aStepBackCanBeCountedOnly() {
        scene.oracle.enforcesMonotonicReads = false
        scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.forward(Say.account(1)) == nil)
        #expect(scene.hit(Say.account(1)) == nil)
        #expect(scene.oracle.counts.stepsBack == 1)
    }

    @Test func whatACommitDidNotAlterDoesNotGoBack() {
        scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.forward(Say.account(1)) == nil)
        #expect(scene.hit(Say.note(1)) == nil)
        // The whole was the same then.
        #expect(scene.hit(Say.total) == nil)
        #expect(scene.oracle.counts.stepsBack == 0)
    }

    @Test func aRowThatWasGoneDoesNotComeBack() {
        scene.commit(Say.delete(4))
        #expect(scene.forward(Say.account(4)) == nil)
        #expect(scene.hit(Say.account(4))?.rule == 2)
        #expect(scene.hit(Say.account(5)) == nil)
    }

    @Test func theOriginDoesNotGoBackBehindAHit() {
        let old = scene.database.answer(Say.account(1), [], at: scene.watermark)
        scene.watermark = scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.hit(Say.account(1)) == nil)
        let reply = scene.reply(Say.account(1), old)
        #expect(scene.forward(.select(Say.account(1)), reply, shown: old.shown)?.rule == 2)
    }

    @Test func aHitThatShowsNothingNewProvesNoNewerVersion() {
        let old = scene.database.answer(Say.account(1), [], at: scene.watermark)
        scene.watermark = scene.commit(Say.write("x", to: 1))
        #expect(scene.hit(Say.account(1)) == nil)
        let reply = scene.reply(Say.account(1), old)
        #expect(scene.forward(.select(Say.account(1)), reply, shown: old.shown) == nil)
    }

    @Test func hitsDoNotGoBackAmongThemselves() {
        let old = scene.watermark
        scene.watermark = scene.commit(Say.add(5, to: 1), Say.add(-5, to: 2))
        #expect(scene.hit(Say.account(3)) == nil)
        scene.watermark = old
        let violation = scene.hit(Say.account(3))
        #expect(violation != nil)
        #expect(violation?.text.contains("back to \(old)") == true)
    }

    // MARK: Rule 3

    @Test func moneyIsNeitherMadeNorLost() {
        #expect(scene.forward(Say.total) == nil)
        #expect(scene.hit(Say.total) == nil)
        // A transfer that was torn: its second half comes later.
        let half = scene.commit(Say.add(5, to: 1))
        #expect(scene.forward(Say.total)?.rule == 3)
        scene.watermark = half
        #expect(scene.hit(Say.total, for: "b")?.rule == 3)
        #expect(scene.oracle.counts.checks[3] == 4)
    }

    @Test func whoeverMovesMoneySeesItOnItsWay() {
        let half = scene.commit(Say.add(5, to: 1))
        let answer = scene.database.answer(Say.total, [], at: half)
        #expect(scene.forward(.begin(.readCommitted), .done(tag: "BEGIN")) == nil)
        #expect(scene.forward(Say.add(5, to: 1), .done(tag: "UPDATE 1")) == nil)
        #expect(scene.forward(.select(Say.total), scene.reply(Say.total, answer), shown: answer.shown) == nil)
        // In a pipeline without BEGIN: what is its own is not shown as anybody's commit.
        let reply = scene.reply(Say.total, answer)
        #expect(scene.forward(.select(Say.total), reply, shown: Array(answer.shown.dropFirst()), for: "b") == nil)
    }

    // MARK: Rule 4

    @Test func aHitIsNotOlderThanAnOwnWrite() {
        let end = scene.commit(Say.write("x", to: 1))
        #expect(scene.forward(Say.write("x", to: 1), .done(tag: "UPDATE 1"), committed: end) == nil)
        let violation = scene.hit(Say.note(2))
        #expect(violation?.rule == 4)
        #expect(violation?.text.contains("the write: a #1 update account") == true)
        #expect(scene.hit(Say.note(2), for: "b") == nil)
        scene.watermark = end
        #expect(scene.hit(Say.note(2), for: "a") == nil)
    }

    @Test func aBlockIsWrittenWithItsCommit() {
        #expect(scene.forward(.begin(.readCommitted), .done(tag: "BEGIN")) == nil)
        #expect(scene.forward(Say.write("x", to: 1), .done(tag: "UPDATE 1")) == nil)
        let end = scene.commit(Say.write("x", to: 1))
        #expect(scene.forward(.commit, .done(tag: "COMMIT"), committed: end) == nil)
        #expect(scene.hit(Say.note(2))?.rule == 4)
    }

    @Test func aPipelineIsWrittenWithItsSync() {
        #expect(scene.forward(Say.write("x", to: 1), .done(tag: "UPDATE 1")) == nil)
        // Behind the write, before the Sync: nobody knows yet where it will commit.
        #expect(scene.hit(Say.note(2)) == nil)
        let end = scene.commit(Say.write("x", to: 1))
        scene.executions.amend("a") { $0.committedLSN = end }
        scene.watermark = end
        #expect(scene.hit(Say.note(2))?.rule == 4)
    }

    @Test func aWriteThatChangedNothingHoldsNothingUp() {
        for _ in 0..<40 {
            #expect(scene.forward(Say.write("x", to: 999), .done(tag: "UPDATE 0")) == nil)
            #expect(scene.hit(Say.note(2)) == nil)
        }
    }

    // MARK: The digest

    @Test func theSameRunHasTheSameDigest() {
        let other = OracleScene()
        let third = OracleScene()
        for scene in [scene, other, third] {
            #expect(scene.forward(Say.account(1)) == nil)
            #expect(scene.hit(Say.account(2)) == nil)
        }
        #expect(scene.oracle.digest == other.oracle.digest)
        #expect(third.hit(Say.account(2)) == nil)
        #expect(scene.oracle.digest != third.oracle.digest)
        #expect(scene.oracle.digest != OracleScene().oracle.digest)
    }
}
