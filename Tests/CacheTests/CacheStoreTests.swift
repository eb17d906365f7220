import CDC
import PGProtocol
import Testing

@testable import Cache

/// What the stream, the beat and the catalog make of what is cached.
@Suite struct CacheStoreTests {
    let select = "select id from items where tenant = 1"

    // MARK: - The stream

    /// [T7] Without the stream nobody knows what has changed.
    @Test func t7WhileTheStreamIsDownEverythingIsForwarded() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.streamLost(mustEmpty: false)
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.streamDown])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        // A slot that goes on where it was has missed nothing.
        origin.store.streamBecameLive(origin.store.watermark)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    /// [T7] A lost slot: whatever was cached may be wrong.
    @Test func t7AfterALostSlotEveryTierIsEmpty() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.streamLost(mustEmpty: true)
        origin.store.streamBecameLive(LSN(50_000))
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    /// [T7] A capture that was under way when the slot was lost has missed changes.
    @Test func t7ACaptureDoesNotOutliveTheSlot() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.sends(Wire.query(select))
        origin.store.streamLost(mustEmpty: true)
        origin.store.streamBecameLive(LSN(50_000))
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    @Test func t7NothingIsCapturedWhileTheStreamIsDown() {
        let origin = CannedOrigin.warm()
        origin.store.streamLost(mustEmpty: true)
        let client = origin.client()
        client.sends(Wire.query(select))
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.figures.entries == 0)
    }

    // MARK: - Following

    /// [T3] A relation is read from the cache only once its changes are sure to come.
    @Test func t3NothingIsCapturedBeforeItsRelationIsFollowed() {
        let origin = CannedOrigin()
        origin.follows = false
        let client = origin.client()
        for _ in 0..<3 {
            client.sends(Wire.query(select))
            client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
            origin.settle()
            origin.beat(100)
        }
        #expect(origin.store.figures.captures == 0)
        let wanted = origin.store.nextFollow()
        #expect(wanted?.oid == CannedOrigin.items && wanted?.schema == "public" && wanted?.name == "items")
        #expect(origin.store.nextFollow() == nil)
        origin.store.relationsFollowed([CannedOrigin.items])
        client.sends(Wire.query(select))
        client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.figures.captures == 1)
    }

    /// [T3] Somebody took the relation out of the publication.
    @Test func t3WhatIsNoLongerFollowedIsDropped() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.follows = false
        origin.store.relationsUnfollowed([CannedOrigin.items])
        origin.settle()
        client.sends(Wire.query(select))
        client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.figures.entries == 0)
    }

    /// [C2] A relation whose changes do not reach us.
    @Test func c2ARefusedRelationIsForwarded() {
        let origin = CannedOrigin()
        origin.follows = false
        let client = origin.client()
        client.sends(Wire.query(select))
        client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
        origin.settle()
        _ = origin.store.nextFollow()
        origin.store.relationRefused(CannedOrigin.items)
        client.sends(Wire.query(select))
        client.readsProfile()
        #expect(client.reasons { client.decides() } == [.notFollowed])
        #expect(origin.store.figures.captures == 0)
    }

    // MARK: - Rights

    /// [P1] The answer is there; who may have it is asked for each role.
    @Test func p1ARoleWithoutTheRightIsForwarded() {
        let origin = CannedOrigin.warm()
        origin.deniedRoles = ["guest"]
        let client = origin.client()
        let guest = origin.client(role: "guest")
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
        #expect(guest.reasons { guest.sends(Wire.query(select)) } == [.pendingRights])
        guest.hears(Wire.error("42501") + Wire.ready())
        origin.settle()
        #expect(guest.reasons { guest.sends(Wire.query(select)) } == [.rights])
    }

    @Test func p1ProofsEndWhenTheSchemaChanges() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.deniedRoles = ["app"]
        origin.store.schemaChanged()
        origin.settle()
        for _ in 0..<3 {
            client.sends(Wire.query(select))
            client.hearsAll(Wire.error("42501") + Wire.ready())
            origin.settle()
            origin.beat(100)
        }
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.rights])
    }

    // MARK: - Schema

    /// [D1] Captures in flight included.
    @Test func d1AChangeOfTheSchemaDropsWhatIsCachedAndWhatIsBeingCaptured() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        let other = origin.client()
        client.misses("select id from orders")
        origin.passes()
        client.sends(Wire.query(select))
        // The poll tells of it.
        origin.store.pollDue()
        origin.settle()
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.figures.entries == 0)
        // Names may lead elsewhere: the settings are read again first.
        #expect(other.sends(Wire.query("select id from orders")) == ["inject Q forward ", "park"])
    }

    @Test func d1TheStreamDescribesARelationAnew() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        let shape = RelationShape(
            oid: CannedOrigin.items, schema: "public", name: "items", replicaIdentity: UInt8(ascii: "d"),
            columns: [.init(name: "id", type: OID(20), typeModifier: -1, isKey: true)])
        origin.store.relationDescribed(shape)
        #expect(origin.store.figures.entries == 0)
        let changes = origin.store.counters.schemaChanges
        origin.store.relationDescribed(shape)
        #expect(origin.store.counters.schemaChanges == changes)
    }

    @Test func d1AStatementThatPassesChangesTheSchema() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        let other = origin.client()
        other.misses(select)
        origin.passes()
        client.sends(Wire.query("alter table items add extra int"))
        #expect(origin.store.figures.entries == 1)
        client.hears(Wire.commandComplete("ALTER TABLE") + Wire.ready())
        #expect(origin.store.figures.entries == 0)
    }

    /// [D1] PostgreSQL's own functions are asked for again on a new connection: it may be another origin.
    @Test func aNewCatalogConnectionAsksForEverything() {
        let origin = CannedOrigin.warm()
        origin.asked = []
        origin.store.catalogConnected()
        origin.settle()
        #expect(origin.asked.contains(OriginQuery(CatalogQueries.functions(builtIn: true))))
        #expect(origin.asked.contains(OriginQuery(CatalogQueries.originFacts)))
    }

    @Test func withoutTheCatalogEverythingIsForwarded() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.catalogLost()
        origin.settle()
        client.sends(Wire.query(select))
        client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.figures.entries == 0)
    }

    // MARK: - Changes

    /// [I1] [T2] All changes of a transaction take effect at once.
    @Test func aTransactionInvalidatesInAllItsTables() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        client.misses("select id from orders where tenant = 1")
        origin.passes()
        let row: RowImage = ["9", "1", "1"].map { .text(Array($0.utf8)) }
        origin.receives([
            RowChange(relation: CannedOrigin.items, kind: .insert(new: row)),
            RowChange(relation: CannedOrigin.orders, kind: .insert(new: row)),
        ])
        #expect(origin.store.figures.entries == 0)
        #expect(origin.store.counters.invalidations == 2)
    }

    /// [I2] The old image is not there: the entry is found by the keys that it holds.
    @Test func i2AnUpdateFindsTheEntryThatTheRowLeaves() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses("select id, tenant from items where tenant = 1", [["5", "1"]])
        origin.passes()
        let row: RowImage = ["5", "2", "0"].map { .text(Array($0.utf8)) }
        origin.receives([RowChange(relation: CannedOrigin.items, kind: .update(old: .absent, new: row))])
        #expect(client.sends(Wire.query("select id, tenant from items where tenant = 1")) == ["forward Q"])
    }

    /// [I2] An entry knows the keys of its rows: a row that it does not hold did not leave it.
    @Test func i2AnUpdateOfARowThatTheEntryDoesNotHoldLeavesItAlone() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses("select id, tenant from items where tenant = 1", [["5", "1"]])
        origin.passes()
        let row: RowImage = ["6", "2", "0"].map { .text(Array($0.utf8)) }
        origin.receives([RowChange(relation: CannedOrigin.items, kind: .update(old: .absent, new: row))])
        #expect(client.sends(Wire.query("select id, tenant from items where tenant = 1")) == ["hit"])
    }

    /// [I3] What the catalog and the stream do not agree about may be anything.
    @Test func i3AChangeOfARelationNobodyDescribedInvalidatesAllOfIt() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.shapes[CannedOrigin.items] = nil
        origin.store.mappings[CannedOrigin.items] = nil
        origin.inserts(CannedOrigin.items, ["7", "2", "0"])
        #expect(client.sends(Wire.query(select)) == ["forward Q"])
    }

    /// A comparison that finds nothing wrong must be able to.
    @Test func changesThatAreIgnoredInvalidateNothing() {
        let origin = CannedOrigin.warm { $0.ignoresChanges = true }
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.inserts(CannedOrigin.items, ["7", "1", "0"])
        #expect(client.sends(Wire.query(select)) == ["hit"])
    }

    @Test func onlyAllowedTablesAreCached() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.setAllowedTables(["public.orders"])
        origin.settle()
        for _ in 0..<2 {
            client.sends(Wire.query(select))
            client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
            origin.settle()
        }
        #expect(origin.store.figures.entries == 0)
    }
}
