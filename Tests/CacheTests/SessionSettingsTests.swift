import CDC
import PGProtocol
import Testing

@testable import Cache

/// What a session knows of its settings, and when it has to ask [K1] [K3].
@Suite struct SessionSettingsTests {
    let origin = CannedOrigin.warm()
    /// It depends on TimeZone, DateStyle and their like, and on nothing else.
    let select = "select id, '2020-01-01'::date from items where tenant = 1"

    /// One to whom `select` is a hit.
    private func warmClient() -> Dialogue {
        let client = origin.client()
        client.misses(select)
        origin.passes()
        return client
    }

    private func runs(_ client: Dialogue, _ text: String, _ tag: String = "SET", status: Character = "I") {
        #expect(client.sends(Wire.query(text)) == ["forward Q"], "\(text)")
        client.hears(Wire.commandComplete(tag) + Wire.ready(status))
    }

    /// The next SELECT asks for the settings first, which are these.
    private func asksAndReads(
        _ client: Dialogue, _ changed: [String: String] = [:], role: String? = nil, for text: String? = nil
    ) {
        #expect(client.sends(Wire.query(text ?? select)) == ["inject Q forward ", "park"])
        client.readsProfile(changed, role: role)
    }

    /// [K3] [K1]
    @Test func k3AfterASetTheSettingsAreReadAndAreAnotherKey() {
        let client = warmClient()
        runs(client, "set timezone = 'Asia/Tokyo'")
        asksAndReads(client, ["TimeZone": "Asia/Tokyo"])
        #expect(client.decides() == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    /// [K3] A pool that resets its sessions at every checkout has them read once, ever.
    @Test(arguments: [
        "discard all", "set search_path = public", "reset all", "select set_config('TimeZone', 'UTC', false)",
    ])
    func k3WhatASetLeadsToIsLearntOnce(text: String) {
        let first = warmClient()
        runs(first, text)
        asksAndReads(first)
        #expect(first.decides() == ["hit"])
        for client in [first, origin.client(), origin.client()] {
            let reads = origin.store.counters.profileReads
            for _ in 0..<3 {
                runs(client, text)
                #expect(client.sends(Wire.query(select)) == ["hit"])
            }
            #expect(origin.store.counters.profileReads == reads)
        }
    }
    @Test func k3TheTextOfAPoolThatResetsIsLearntAsAWhole() {
        let text = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"
        let client = warmClient()
        runs(client, text, "RESET")
        origin.passes()
        asksAndReads(client)
        client.decides()
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        let reads = origin.store.counters.profileReads
        runs(client, text, "RESET")
        origin.passes()
        client.sends(Wire.query(select))
        #expect(origin.store.counters.profileReads == reads)
    }

    /// [K3] RESET goes back to what the log-in brought, which is not the same for all.
    @Test func k3WhatAResetLeadsToDependsOnTheLogIn() {
        let client = warmClient()
        runs(client, "reset all")
        asksAndReads(client)
        client.decides()
        let odd = origin.stranger()
        odd.sends(Wire.startup([("user", "app"), ("database", "shop")]))
        odd.hears(Wire.authentication(0) + Wire.keyData + Wire.ready())
        _ = odd.session.takeInjection()
        odd.readsProfile(["TimeZone": "Asia/Tokyo"])
        runs(odd, "reset all")
        #expect(odd.sends(Wire.query(select)) == ["inject Q forward ", "park"])
    }

    /// [K3] The question behind the log-in has failed: what is read later need not be what RESET goes back to, so
    /// nothing is learnt of that.
    @Test func k3OnlyTheReadingBehindTheLogInIsWhatAResetGoesBackTo() {
        let first = origin.stranger()
        logsIn(first)
        first.hears(Wire.error("57014") + Wire.ready())
        runs(first, "set timezone = 'Asia/Tokyo'")
        asksAndReads(first, ["TimeZone": "Asia/Tokyo"])
        first.decides()
        first.hears(Wire.rows([["1"]]) + Wire.ready())
        runs(first, "reset all")
        origin.passes()
        asksAndReads(first)
        // To whom the log-in brought what the first one had set.
        let odd = origin.stranger()
        logsIn(odd)
        odd.readsProfile(["TimeZone": "Asia/Tokyo"])
        runs(odd, "reset all")
        asksAndReads(odd, ["TimeZone": "Asia/Tokyo"])
    }

    /// Up to the question for the settings.
    private func logsIn(_ client: Dialogue) {
        client.sends(Wire.startup([("user", "app"), ("database", "shop")]))
        client.hears(Wire.authentication(0) + Wire.keyData + Wire.ready())
        _ = client.session.takeInjection()
    }

    /// [K3] A statement that fails has changed nothing.
    @Test func k3AfterASetThatFailedTheSettingsAreWhatTheyWere() {
        let client = warmClient()
        client.sends(Wire.query("set timezone = 'Nowhere'"))
        client.hears(Wire.error("22023") + Wire.ready())
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    /// [K3] In a pipeline it may have been undone.
    @Test func k3ASetInAPipelineIsFollowedByAReading() {
        let client = warmClient()
        let segment = Wire.execution("set timezone = 'Asia/Tokyo'") + Wire.execution("select 1/0") + Wire.sync
        client.sends(segment)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.noData + Wire.commandComplete("SET"))
        client.hears(Wire.error("22012") + Wire.ready())
        origin.passes()
        asksAndReads(client)
        #expect(client.decides() == ["hit"])
    }

    /// [K3] SET LOCAL is undone by the end of its block.
    @Test func k3ALocalSettingEndsWithItsBlock() {
        let client = warmClient()
        client.sends(Wire.query("begin"))
        client.sends(Wire.query("set local timezone = 'Asia/Tokyo'"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        #expect(client.decides() == ["forward Q"])
        client.hears(Wire.commandComplete("SET") + Wire.ready("T"))
        // Inside, the settings are read there.
        #expect(client.sends(Wire.query(select)) == ["inject Q forward ", "park"])
        client.readsProfile(["TimeZone": "Asia/Tokyo"], status: "T")
        #expect(client.decides() == ["forward Q"])
        client.hears(Wire.rows([["1"]]) + Wire.ready("T"))
        client.sends(Wire.query("commit"))
        client.hears(Wire.commandComplete("COMMIT") + Wire.ready())
        origin.passes()
        let reads = origin.store.counters.profileReads
        #expect(client.sends(Wire.query(select)) == ["hit"])
        // And what it leads to is known the next time.
        client.sends(Wire.query("begin"))
        client.sends(Wire.query("set local timezone = 'Asia/Tokyo'"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        client.decides()
        client.hears(Wire.commandComplete("SET") + Wire.ready("T"))
        #expect(client.sends(Wire.query(select)) == ["hit"])
        #expect(origin.store.counters.profileReads == reads)
    }

    /// [K1] [K3] What a search path led to before the block, it need not lead to any more.
    @Test func k3WhatWasReadBeforeTheSchemaChangedIsNotWhatABlockGoesBackTo() {
        let client = warmClient()
        client.sends(Wire.query("begin"))
        client.sends(Wire.query("set local timezone = 'Asia/Tokyo'"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        client.decides()
        client.hears(Wire.commandComplete("SET") + Wire.ready("T"))
        origin.store.schemaChanged()
        origin.settle()
        #expect(client.sends(Wire.query(select)) == ["inject Q forward ", "park"])
        client.readsProfile(["TimeZone": "Asia/Tokyo"], status: "T")
        client.decides()
        client.hears(Wire.rows([["1"]]) + Wire.ready("T"))
        client.sends(Wire.query("rollback"))
        client.hears(Wire.commandComplete("ROLLBACK") + Wire.ready())
        origin.passes()
        asksAndReads(client)
    }

    /// [K3]
    @Test func k3ASetInABlockIsReadAgainBehindItsEnd() {
        let client = warmClient()
        client.sends(Wire.query("begin"))
        client.sends(Wire.query("set timezone = 'Asia/Tokyo'"))
        client.hears(Wire.commandComplete("BEGIN") + Wire.ready("T"))
        client.decides()
        client.hears(Wire.commandComplete("SET") + Wire.ready("T"))
        client.sends(Wire.query("rollback"))
        client.hears(Wire.commandComplete("ROLLBACK") + Wire.ready())
        asksAndReads(client)
        #expect(client.decides() == ["hit"])
    }

    /// [K3] Code that is not PostgreSQL's own may have done anything.
    @Test func k3AfterUnknownCodeTheSettingsAreRead() {
        let client = warmClient()
        runs(client, "select effect()", "SELECT 1")
        origin.passes()
        asksAndReads(client)
        #expect(client.decides() == ["hit"])
    }

    /// A session that only writes is never asked.
    @Test func whoNeverReadsIsNotAsked() {
        let client = warmClient()
        let reads = origin.store.counters.profileReads
        for _ in 0..<5 {
            runs(client, "set timezone = 'Asia/Tokyo'")
            runs(client, "insert into items values (1)", "INSERT 0 1")
            runs(client, "select effect()", "SELECT 1")
        }
        #expect(origin.store.counters.profileReads == reads)
    }

    /// [K3] The server reports a setting that nobody has set: the configuration was loaded again.
    @Test func k3AReportedSettingThatChangesIsReadAgain() {
        let client = warmClient()
        client.hears(Wire.parameterStatus("application_name", "other"))
        #expect(client.sends(Wire.query(select)) == ["hit"])
        client.hears(Wire.parameterStatus("TimeZone", "Asia/Tokyo"))
        asksAndReads(client, ["TimeZone": "Asia/Tokyo"])
        #expect(client.decides() == ["forward Q"])
    }

    /// [K3] What was learnt is not believed against what the server reports.
    @Test func k3WhatWasLearntMustAgreeWithWhatIsReported() {
        let client = warmClient()
        runs(client, "discard all")
        asksAndReads(client)
        client.decides()
        client.sends(Wire.query("discard all"))
        client.hears(
            Wire.commandComplete("DISCARD ALL") + Wire.parameterStatus("TimeZone", "Asia/Tokyo") + Wire.ready())
        asksAndReads(client, ["TimeZone": "Asia/Tokyo"])
    }

    /// A server that says one thing and reports another is not asked for ever.
    @Test func aReadingThatNeverAgreesIsGivenUp() {
        let client = warmClient()
        client.hears(Wire.parameterStatus("TimeZone", "Asia/Tokyo"))
        asksAndReads(client)
        #expect(client.decides() == ["inject Q forward ", "park"])
        client.readsProfile()
        #expect(client.decides() == ["forward Q"])
        #expect(client.session.standing == .refused(.sessionState))
    }

    /// [P1] The rights of a role are its own.
    @Test func p1AfterSetRoleTheRightsAreTheNewRoles() {
        origin.deniedRoles = ["guest"]
        let client = warmClient()
        runs(client, "set role guest")
        asksAndReads(client, role: "guest")
        #expect(client.decides() == ["forward Q"])
        origin.settle()
        client.hears(Wire.error("42501") + Wire.ready())
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.rights])
    }

    /// [K1] A statement means what it meant when it was analyzed, or what it means now; nobody knows which.
    @Test func k1AStatementOfOtherSettingsIsForwarded() {
        let client = warmClient()
        // A constant is read when the statement is analyzed.
        client.sends(Wire.parse(select, name: "s") + Wire.bind("s") + Wire.execute() + Wire.sync)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.dataRow(["1"]))
        client.hears(Wire.commandComplete("SELECT 1") + Wire.ready())
        runs(client, "set timezone = 'Asia/Tokyo'")
        asksAndReads(client, ["TimeZone": "Asia/Tokyo"], for: select)
        client.decides()
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        let executed = Wire.bind("s") + Wire.execute() + Wire.sync
        #expect(client.sends(executed) == ["forward BE", "forward S"])
        client.hears(Wire.bindComplete + Wire.dataRow(["1"]) + Wire.commandComplete("SELECT 1") + Wire.ready())
        // Back under its own settings it may still be what it was made into meanwhile.
        runs(client, "set timezone = 'default'")
        asksAndReads(client, for: select)
        client.decides()
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.reasons { client.sends(executed) } == [.sessionState])
    }

    /// [K1] What no setting matters to is the same for all, and stays what it was when it was analyzed.
    @Test func k1WhatNoSettingMattersToIsShared() {
        let select = "select id from items where tenant = 1"
        let client = origin.client()
        client.misses(select)
        origin.passes()
        client.sends(Wire.parse(select, name: "s") + Wire.bind("s") + Wire.execute() + Wire.sync)
        client.hears(Wire.parseComplete + Wire.bindComplete + Wire.dataRow(["1"]))
        client.hears(Wire.commandComplete("SELECT 1") + Wire.ready())
        origin.passes()
        runs(client, "set timezone = 'Asia/Tokyo'")
        asksAndReads(client, ["TimeZone": "Asia/Tokyo"], for: select)
        #expect(client.decides() == ["hit"])
        #expect(client.sends(Wire.bind("s") + Wire.execute() + Wire.sync) == ["hit"])
    }
}
