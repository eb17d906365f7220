import CDC
import PGProtocol
import Testing

@testable import Cache

/// [S5] A session does not see a row go back, whoever answers it.
@Suite struct SessionBoundsTests {
    let origin = CannedOrigin.warm()
    let select = "select id from orders where id = 1"
    let other = "select id from orders where id = 2"
    let elsewhere = "select id from items where id = 1"

    /// Both are in the cache, and servable.
    private func cached(_ texts: String...) {
        let filler = origin.client()
        for text in texts { filler.misses(text) }
        origin.passes()
    }

    @Test func s5AHitWaitsForWhatTheSessionHasReadAtTheOrigin() {
        cached(other)
        let client = origin.client()
        client.misses(select)
        #expect(client.sends(Wire.query(other)) == ["park"])
        #expect(origin.store.wantsBeat.isUrgent)
        let target = origin.store.watermark.value + 500
        origin.beat(target)
        origin.store.watermarkAdvanced(LSN(target - 1))
        #expect(origin.store.nextWoken() == nil)
        origin.store.watermarkAdvanced(LSN(target))
        #expect(origin.store.nextWoken() == client.session.number)
        client.session.woken()
        #expect(client.decides() == ["hit"])
        // Nothing more was read at the origin: it goes on hitting.
        #expect(client.sends(Wire.query(other)) == ["hit"])
    }

    /// Nobody is about to flush what the beat told: who would wait for that asks the origin, until it has come.
    @Test func s5WhereTheWatermarkStallsTheOriginAnswers() {
        cached(other)
        let client = origin.client()
        client.misses(select)
        #expect(client.sends(Wire.query(other)) == ["park"])
        let target = origin.store.watermark.value + 500
        origin.beat(target)
        origin.store.watermarkIsStalled()
        #expect(origin.store.nextWoken() == client.session.number)
        client.session.woken()
        #expect(client.decides() == ["forward Q"])
        client.hears(Wire.rows([["2"]]) + Wire.ready())
        #expect(client.sends(Wire.query(other)) == ["forward Q"], "nobody waits for it")
        client.hears(Wire.rows([["2"]]) + Wire.ready())
        origin.store.watermarkAdvanced(LSN(target))
        #expect(!origin.store.isStalled)
    }

    /// [S1] Who was promised to wait for its own write waits.
    @Test func s1AStalledWatermarkIsWaitedForBehindAnOwnWrite() {
        let origin = CannedOrigin.warm { $0.readYourWrites = .wait }
        origin.client().misses(other)
        origin.passes()
        let client = origin.client()
        client.sends(Wire.query("update orders set id = 3 where id = 3"))
        client.hears(Wire.commandComplete("UPDATE 1") + Wire.ready())
        #expect(client.sends(Wire.query(other)) == ["park"])
        let target = origin.store.watermark.value + 500
        origin.beat(target)
        origin.store.watermarkIsStalled()
        #expect(origin.store.nextWoken() == nil)
        origin.store.watermarkAdvanced(LSN(target))
        #expect(origin.store.nextWoken() == client.session.number)
    }

    /// What one transaction has changed in two relations, the session must not see of one alone.
    @Test func s5OtherRelationsAreBoundToo() {
        cached(elsewhere)
        let client = origin.client()
        client.misses(select)
        #expect(client.sends(Wire.query(elsewhere)) == ["park"])
        origin.passes()
        client.session.woken()
        #expect(client.decides() == ["hit"])
    }

    @Test func s5OtherSessionsAreNotBound() {
        cached(other)
        let client = origin.client()
        client.misses(select)
        #expect(origin.client().sends(Wire.query(other)) == ["hit"])
    }

    @Test func s5AStatementWithoutARelationBindsNothing() {
        cached(other)
        let client = origin.client()
        #expect(client.sends(Wire.query("select 1")) == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(client.sends(Wire.query(other)) == ["hit"])
    }

    @Test func s5AStatementThatIsNeverCachedBindsWhatItReads() {
        cached(other, elsewhere)
        let client = origin.client()
        #expect(client.sends(Wire.query("select id from orders for update")) == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.query("select id, ctid from orders")) == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(client.sends(Wire.query(other)) == ["park"])
    }

    /// Waiting must not take longer than asking.
    @Test func s5AWatermarkThatIsLateIsNotWaitedFor() {
        cached(other)
        let client = origin.client()
        client.misses(select)
        #expect(client.sends(Wire.query(other)) == ["park"])
        origin.store.watermarkIsLate(forWrites: false)
        #expect(origin.store.nextWoken() == client.session.number)
        client.session.woken()
        #expect(client.reasons { client.decides() } == [.ownRead])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(client.reasons { client.sends(Wire.query(other)) } == [.ownRead])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.query(other)) == ["hit"])
    }

    @Test func s5WhoWaitsWhenTheStreamIsLostIsForwarded() {
        cached(other)
        let client = origin.client()
        client.misses(select)
        #expect(client.sends(Wire.query(other)) == ["park"])
        origin.store.streamLost(mustEmpty: true)
        #expect(origin.store.nextWoken() == client.session.number)
        client.session.woken()
        #expect(client.reasons { client.decides() } == [.streamDown])
    }

    /// [S6] What a leader brought may be later than the watermark.
    @Test func s5AFollowerIsBoundByItsLeadersAnswer() {
        cached(other)
        let leader = origin.client()
        let follower = origin.client()
        #expect(leader.sends(Wire.query(select)) == ["forward Q"])
        #expect(follower.sends(Wire.query(select)) == ["park"])
        leader.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.nextWoken() == follower.session.number)
        follower.session.woken()
        #expect(follower.decides() == ["hit"])
        #expect(follower.sends(Wire.query(other)) == ["park"])
    }
}
