import Testing

@testable import Cache

/// What the origin says a statement returns, and answers from before that is known [S4].
@Suite struct SessionDescriptionTests {
    let origin = CannedOrigin.warm()
    let select = "select id from items where id = 1"

    /// [S4] Its rows may be from before a change that nobody has noticed: the origin tells what comes now.
    @Test func s4WhatCameWithoutADescriptionEndsWithTheFirstDescription() {
        let first = origin.client()
        first.sends(Wire.parse(select) + Wire.bind() + Wire.execute() + Wire.sync)
        first.hears(
            Wire.parseComplete + Wire.bindComplete + Wire.dataRow(["1"]) + Wire.commandComplete("SELECT 1")
                + Wire.ready())
        origin.passes()
        #expect(origin.store.figures.entries == 1)
        let second = origin.client()
        second.sends(Wire.parse(select) + Wire.describe("S") + Wire.sync)
        second.hears(
            Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["id", "extra"]) + Wire.ready())
        #expect(origin.store.figures.entries == 0)
        #expect(second.sends(Wire.bind() + Wire.execute() + Wire.sync) == ["forward BE", "forward S"])
    }

    /// [S4, D1] Whoever is told first that a statement returns something else tells everybody.
    @Test(arguments: [true, false]) func s4AnotherDescriptionIsAChangeOfTheSchema(isOfAStatement: Bool) {
        let first = origin.client()
        let execution = Wire.execution(select) + Wire.sync
        first.sends(execution)
        first.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        let changes = origin.store.counters.schemaChanges
        let second = origin.client()
        if isOfAStatement {
            second.sends(Wire.parse(select) + Wire.describe("S") + Wire.sync)
            second.hears(
                Wire.parseComplete + Wire.parameterDescription([]) + Wire.rowDescription(["extra"]) + Wire.ready())
        } else {
            origin.store.memo.removeAll(nil)
            #expect(second.sends(execution) == ["forward PBDE", "forward S"])
            second.hears(
                Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]], columns: ["extra"]) + Wire.ready())
        }
        #expect(origin.store.counters.schemaChanges == changes + 1)
        #expect(origin.store.figures.entries == 0)
        #expect(second.session.isQuiet && second.session.state == .ready)
    }
}
