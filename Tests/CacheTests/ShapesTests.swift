import PGProtocol
import Testing

@testable import Cache

/// Texts that differ from known ones in constants only are not parsed, and are what they would have been.
@Suite struct ShapesTests {
    private func parsed(_ origin: CannedOrigin, _ action: () -> Void) -> UInt64 {
        let before = origin.store.counters.statementsParsed
        action()
        return origin.store.counters.statementsParsed - before
    }

    private func byShape(_ origin: CannedOrigin, _ action: () -> Void) -> UInt64 {
        let before = origin.store.counters.statementsByShape
        action()
        return origin.store.counters.statementsByShape - before
    }

    /// The third text of a shape needs no parser: the first one could be the only one, the second is learned from.
    @Test func theThirdTextOfAShapeIsNotParsed() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        #expect(parsed(origin) { client.misses("select id from items where tenant = 1") } == 1)
        #expect(parsed(origin) { client.misses("select id from items where tenant = 2") } == 1)
        for tenant in 3..<20 {
            #expect(parsed(origin) { client.misses("select id from items where tenant = \(tenant)") } == 0)
        }
        #expect(origin.store.counters.statementsByShape == 17)
    }

    /// [K1] [I1] Entries are those of their own texts, and changes find them by their own constants.
    @Test func k1EveryTextHasItsOwnEntry() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        for tenant in 1..<8 { client.misses("select id from items where tenant = \(tenant)", [["\(tenant)0"]]) }
        origin.passes()
        origin.inserts(CannedOrigin.items, ["55", "5", "1"])
        for tenant in [1, 2, 3, 4, 6, 7] {
            #expect(client.sends(Wire.query("select id from items where tenant = \(tenant)")) == ["hit"])
            #expect(client.takeReceivedBytes() == Wire.rows([["\(tenant)0"]]) + Wire.ready())
        }
        #expect(client.sends(Wire.query("select id from items where tenant = 5")) == ["forward Q"])
    }

    /// `1`, `'1'` and `1.0` are three constants and three shapes.
    @Test func k2ConstantsOfOtherClassesHaveOtherShapes() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        for tenant in 1..<4 { client.misses("select id from items where tenant = \(tenant)") }
        for text in ["'4'", "4.0", "3000000000"] {
            #expect(byShape(origin) { client.misses("select id from items where tenant = \(text)") } == 0)
        }
    }

    @Test func writesProfitToo() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        for id in 0..<5 {
            client.sends(Wire.query("insert into items values (\(id), 1, 1)"))
            client.hears(Wire.commandComplete("INSERT 0 1") + Wire.ready())
        }
        #expect(origin.store.counters.statementsByShape == 3)
    }

    /// [S1] What a write may do is known by its shape.
    @Test func s1AWriteThatIsKnownByItsShapeIsAWrite() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses("select id from items where tenant = 1")
        origin.passes()
        for id in 0..<4 {
            client.sends(Wire.query("update items set name = \(id) where id = \(id)"))
            client.hears(Wire.commandComplete("UPDATE 1") + Wire.ready())
            let reasons = client.reasons { client.sends(Wire.query("select id from items where tenant = 1")) }
            #expect(reasons == [.ownWrite])
            client.hears(Wire.rows([["1"]]) + Wire.ready())
            origin.passes()
        }
        #expect(origin.store.counters.statementsByShape == 2)
    }

    /// [D1] What was learned of the catalog ends with the schema.
    @Test func d1AChangeOfTheSchemaEndsWhatWasLearned() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        for tenant in 1..<5 { client.misses("select id from items where tenant = \(tenant)") }
        origin.store.schemaChanged()
        origin.settle()
        #expect(origin.store.shapesSeen.count == 0)
        for tenant in 5..<8 {
            client.sends(Wire.query("select id from items where tenant = \(tenant)"))
            client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
            origin.settle()
        }
        #expect(origin.store.counters.statementsByShape == 3)
    }

    /// [P1] A right is that of all texts of a shape, and ends for all of them.
    @Test func p1RightsAreAskedOnceForAShapeAndEnd() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        for tenant in 1..<5 { client.misses("select id from items where tenant = \(tenant)") }
        origin.passes()
        let hits = origin.store.counters.hits
        origin.deniedRoles = ["app"]
        origin.store.rightsChanged()
        for tenant in 1..<8 {
            client.sends(Wire.query("select id from items where tenant = \(tenant)"))
            client.hears(Wire.error("42501") + Wire.ready())
            origin.settle()
        }
        #expect(origin.store.counters.hits == hits)
        let reasons = client.reasons { client.sends(Wire.query("select id from items where tenant = 3")) }
        #expect(reasons == [.rights])
        client.hears(Wire.error("42501") + Wire.ready())
    }

    /// [P1] Another role's right is its own.
    @Test func p1RightsOfAShapeAreThoseOfARole() {
        let origin = CannedOrigin.warm()
        origin.deniedRoles = ["guest"]
        let client = origin.client()
        let guest = origin.client(role: "guest")
        for tenant in 1..<6 { client.misses("select id from items where tenant = \(tenant)") }
        origin.passes()
        for tenant in 1..<9 {
            #expect(guest.sends(Wire.query("select id from items where tenant = \(tenant)")) == ["forward Q"])
            guest.hears(Wire.error("42501") + Wire.ready())
            origin.settle()
        }
    }

    /// What a constant names is looked at each time.
    @Test func whatAConstantNamesIsParsed() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        for name in ["a", "b", "c", "d"] {
            #expect(
                parsed(origin) {
                    client.sends(Wire.query("select set_config('app.\(name)', 'x', false)"))
                    client.hears(Wire.rows([["x"]]) + Wire.ready())
                    if client.session.settings.isAsked { client.readsProfile() }
                } > 0)
        }
        #expect(origin.store.counters.statementsByShape == 0)
    }

    /// [C1] A shape says nothing about strings that mean another moment each time.
    @Test func c1TheTimeIsNoConstant() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        let base = "select id from items where tenant = 1 and '"
        for day in 1..<5 { client.misses(base + "2024-01-0\(day)'::date is not null") }
        let text = base + "today'::date is not null"
        #expect(client.reasons { client.sends(Wire.query(text)) } == [.timeDependent])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        #expect(origin.store.counters.statementsByShape == 2)
    }

    @Test func prepareMessagesProfitWithTheirTypes() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        func asks(_ tenant: Int) -> [String] {
            let text = "select id from items where tenant = \(tenant) and name = $1"
            let told = client.sends(Wire.execution(text, ["7"]) + Wire.sync)
            if told.first != "hit" {
                client.hears(Wire.parseComplete + Wire.bindComplete + Wire.rows([["1"]]) + Wire.ready())
            }
            return told
        }
        for tenant in 1..<5 { #expect(asks(tenant) == ["forward PBDE", "forward S"]) }
        #expect(origin.store.counters.statementsByShape == 2)
        origin.passes()
        origin.inserts(CannedOrigin.items, ["55", "4", "8"])
        origin.inserts(CannedOrigin.items, ["56", "3", "7"])
        #expect([1, 2, 4, 3].map { asks($0).first == "hit" } == [true, true, true, false])
    }

    /// The table has a bound; what is asked often stays longer than what came once.
    @Test func theTableHasABound() {
        var table = ShapeTable(seed: 1)
        for number in 0..<3 * ShapeTable.countMax {
            withView(Array("select \(number)".utf8)) { key in
                let found = table.find(profile: 1, key: key)
                #expect(found?.wasThere == false)
            }
            #expect(table.count <= ShapeTable.countMax)
            withView(Array("select kept".utf8)) { key in
                guard let found = table.find(profile: 1, key: key) else { return }
                #expect(number == 0 || found.wasThere)
                found.shape.state = .unfit
            }
        }
        let old = withView(Array("select kept".utf8)) { table.find(profile: 1, key: $0) }
        #expect(withView(Array("select kept".utf8)) { table.find(profile: 2, key: $0) }?.wasThere == false)
        table.removeAll()
        #expect(table.count == 0 && table.bytes == 0 && old.map { table[$0.id] == nil } ?? false)
    }
}
