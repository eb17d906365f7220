import CDC
import Cache
import Loop
import PGProtocol
import Testing

@testable import Simulation

/// The links themselves: one question at a time, lives that do not mix, and the answers of the catalog.
@Suite struct OriginLinkTests {
    private func connected(_ role: OriginLink.Role) -> LinkFixture {
        let world = LinkFixture()
        world.link(role).connect([])
        world.pass(milliseconds: 100)
        #expect(world.events(role) == [.connected])
        #expect(world.link(role).isIdle)
        return world
    }

    @Test func aBeatTellsViewAndPosition() throws {
        let world = connected(.control)
        world.link(.control).query(LinkFixture.beat, [])
        #expect(!world.link(.control).isIdle)
        world.pass(milliseconds: 100)
        guard case .answered(let rows) = world.events(.control).last else {
            Issue.record("no answer")
            return
        }
        let position = world.database.insertLSN.description
        #expect(rows == [[world.database.currentView().text, position, position]], "and all of it is flushed")
        #expect(world.link(.control).isIdle)
    }

    @Test func anOriginThatIsDownRefuses() {
        let world = LinkFixture()
        world.isReachable = false
        world.link(.catalog).connect([])
        world.pass(milliseconds: 100)
        #expect(world.events(.catalog) == [.lost(state: "", message: "connection refused")])
        world.isReachable = true
        world.link(.catalog).connect([])
        world.pass(milliseconds: 100)
        #expect(world.events(.catalog).last == .connected)
    }

    @Test func nothingOfAnEarlierLifeIsDelivered() {
        for seed in 0..<200 as Range<UInt64> {
            let world = LinkFixture(seed: seed)
            let link = world.link(.control)
            link.connect([])
            world.pass(milliseconds: 100)
            link.query(LinkFixture.beat, [])
            // Anywhere between the question, its execution and the answer, even one that was announced.
            world.pass(milliseconds: 1) { Int(world.surroundings.scheduler.count % 7) == Int(seed % 7) }
            link.close()
            link.connect([])
            let before = world.events(.control).count
            world.pass(milliseconds: 100)
            #expect(Array(world.events(.control)[before...]) == [.connected])
        }
    }

    @Test func aBrokenConnectionIsNoticedLaterAndNothingComesBefore() {
        let world = connected(.control)
        world.link(.control).query(LinkFixture.beat, [])
        world.link(.control).fail(state: "08006", noticedAfter: 50 * millisecond)
        world.pass(milliseconds: 49)
        #expect(world.events(.control) == [.connected])
        world.pass(milliseconds: 2)
        #expect(world.events(.control).last == .lost(state: "08006", message: "the connection broke"))
        world.link(.control).connect([])
        world.pass(milliseconds: 100)
        #expect(world.events(.control).last == .connected)
    }

    @Test func aHalfOpenConnectionTellsNobody() {
        let world = connected(.control)
        world.link(.control).query(LinkFixture.beat, [])
        world.link(.control).fail(state: "", noticedAfter: nil)
        world.pass(milliseconds: 100_000)
        #expect(world.events(.control) == [.connected])
    }

    @Test func aStalledConnectionAnswersAfterwards() {
        let world = connected(.control)
        world.link(.control).query(LinkFixture.beat, [])
        world.link(.control).stall(for: 300 * millisecond)
        world.pass(milliseconds: 299)
        #expect(world.events(.control).count == 1)
        world.pass(milliseconds: 50)
        #expect(world.events(.control).count == 2)
    }

    @Test func aConnectionAttemptDoesNotLastForEver() {
        let world = LinkFixture()
        world.link(.catalog).connect([])
        world.link(.catalog).stall(for: 60 * second)
        world.pass(milliseconds: 11_000)
        #expect(
            world.events(.catalog)
                == [.lost(state: "", message: "the connection attempt took too long")])
    }

    @Test func aRestartEndsEveryConnection() {
        let world = connected(.control)
        world.link(.catalog).connect([])
        world.pass(milliseconds: 100)
        world.publications.restarted()
        world.pass(milliseconds: 100)
        for role in [OriginLink.Role.control, .catalog] {
            guard case .lost = world.events(role).last else {
                Issue.record("\(role) lives on")
                continue
            }
        }
    }

    @Test func aLinkOfTheScriptedReactorFollowsTheOriginsLife() {
        let surroundings = Surroundings(parameters: Parameters(seed: 3))
        let origin = Origin(surroundings)
        let reactor = ScriptedReactor(surroundings)
        let link = OriginLink(.catalog, origin, reactor, tag: 9)
        func next() -> LinkEvent? {
            while true {
                if let event = link.nextEvent() { return event }
                reactor.wait()
                while let completion = reactor.next() {
                    #expect(completion.tag == 9)
                    link.advance(completion)
                }
            }
        }
        link.connect([])
        let first = next()
        #expect(first == .connected)
        origin.restart(downFor: second)
        guard case .lost = next() else {
            Issue.record("the connection outlives a restart")
            return
        }
        var refusals: Set<String> = []
        while true {
            link.connect([])
            guard case .lost(let state, _) = next() else { break }
            refusals.insert(state)
        }
        #expect(refusals == ["", "57P03"])
        #expect(link.isIdle)
        #expect(origin.publications.catalogVersion == 1)
    }

    // MARK: The catalog

    private func ask(_ query: OriginQuery, _ world: LinkFixture) -> [[String?]] {
        world.link(.catalog).query(query.sql, query.parameters)
        world.pass(milliseconds: 100) { world.link(.catalog).isIdle }
        if case .answered(let rows) = world.events(.catalog).last { return rows }
        Issue.record("no answer to \(query.sql)")
        return []
    }

    @Test func theCatalogLoads() throws {
        let world = connected(.catalog)
        var catalog = Catalog()
        for request in catalog.bootstrapRequests() {
            #expect(catalog.absorb(ask(request.query, world), answering: request) == .used)
        }
        #expect(catalog.isReady)
        #expect(catalog.doubt == nil)
        let names = ["branch", "account", "absent"].map { RelationName(schema: nil, name: $0) }
        let asked = catalog.request(names, searchPath: ["pg_catalog", "public"])
        let request = try #require(asked)
        #expect(catalog.absorb(ask(request.query, world), answering: request) == .used)
        let view = try #require(catalog.view(searchPath: ["pg_catalog", "public"]))
        guard case .found(let account) = view.relation(names[1]), case .found(let branch) = view.relation(names[0])
        else {
            Issue.record("relations are missing")
            return
        }
        #expect(account.oid == Table.all[Table.account].oid)
        #expect(account.columns.map(\.name) == ["id", "branch", "balance", "note"])
        #expect(account.primaryKey == [0])
        #expect(account.identityColumns == [0])
        #expect(branch.identityColumns == [0, 1, 2])
        #expect(account.hasOnlyKnownTypes)
        if case .absent = view.relation(names[2]) {} else { Issue.record("there is no such relation") }
    }

    @Test func thePollChangesWithARestartAlone() {
        let world = connected(.catalog)
        var poll = CatalogPoll()
        #expect(poll.absorb(ask(CatalogPoll.query(), world)) == .everything)
        #expect(poll.absorb(ask(CatalogPoll.query(), world)) == [])
        world.publications.restarted()
        world.pass(milliseconds: 100)
        world.link(.catalog).connect([])
        world.pass(milliseconds: 100)
        #expect(poll.absorb(ask(CatalogPoll.query(), world)) == .sessions)
    }

    @Test func rightsAndBlockersAreAnswered() {
        let world = connected(.catalog)
        let role = OriginRole.allCases[0].rawValue
        let rights = Rights.query(
            role: role, needs: [RightsNeed(role: nil, relations: [OID(16401)], columns: [])], reads: [OID(16401)],
            functions: [OID(2803)])
        #expect(Rights.judge(ask(rights, world)))
        #expect(ask(OriginQuery(ReplicationFeed.blockerQuery), world).isEmpty)
        let open = world.database.begin(.readCommitted)
        world.run(.deposit(1), in: open)
        #expect(ask(OriginQuery(ReplicationFeed.blockerQuery), world).first?.count == 6)
        #expect(ask(OriginQuery(world.feed.retentionQuery), world).isEmpty, "no slot of that name")
    }
}
