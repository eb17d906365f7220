import Loop
import Testing

@testable import Shell

/// A real PostgreSQL, started and removed; the demo's data and load on it, without a proxy between.
struct ThrowAwayOriginTests {
    @Test func itStartsHoldsTheShopCarriesTheLoadAndLeavesNothing() throws {
        let links = try BlockingLinks()
        let origin = try ThrowAwayOrigin(links)
        #expect(Syscalls.isFolder(origin.folder))
        do {
            defer { origin.remove(links) }
            try origin.start(links)
            let first = try links.connect(
                origin.endpoint(user: "postgres", database: "postgres"), name: "test")
            #expect(try links.ask(first, "show wal_level") == [["logical"]])
            for sql in DemoShop.rolesSQL { try links.ask(first, sql) }
            links.close(first)
            let link = try links.connect(
                origin.endpoint(user: "postgres", database: DemoShop.database), name: "test")
            for sql in DemoShop.schemaSQL { try links.ask(link, sql) }
            for read in DemoShop.Read.allCases {
                #expect(try links.ask(link, read.sql(1)).isEmpty == false)
                #expect(try links.ask(link, read.sql(read.keys)).isEmpty == false)
            }
            var load = DemoLoad(
                DemoLoad.Plan(
                    throughCache: origin.endpoint(user: DemoShop.roleThroughCache, database: DemoShop.database),
                    direct: origin.endpoint(user: DemoShop.roleDirect, database: DemoShop.database),
                    milliseconds: 300, calmMilliseconds: 100, readsMin: 0), links)
            let result = try load.run()
            #expect(result.failures == 0)
            #expect(result.reads > 50)
            #expect(result.readsDirect > 0)
            #expect(result.writes * 100 >= 5 * (result.reads + result.writes))
            #expect(result.probes > 0)
            #expect(result.neverSeen == 0)
            #expect(throws: LinkFailure.refused(state: "42P01", message: "")) {
                do throws(LinkFailure) { try links.ask(link, "select * from nothing") } catch {
                    guard case .refused(let state, _) = error else { throw error }
                    throw LinkFailure.refused(state: state, message: "")
                }
            }
        }
        #expect(!Syscalls.exists(origin.folder))
        origin.remove(links)
    }

    @Test func aPortWhereNobodyListensIsAFailure() throws {
        let links = try BlockingLinks()
        var endpoint = Settings.Endpoint()
        endpoint.host = "127.0.0.1"
        endpoint.port = try Syscalls.freePort()
        endpoint.user = "u"
        endpoint.database = "d"
        #expect(throws: LinkFailure.self) { try links.connect(endpoint, name: "test") }
        #expect(try HTTPProbe.get("/", port: endpoint.port, links) == nil)
    }
}
