import PGProtocol
import Testing

@testable import CDC

/// Dialogues: what the origin says, and what the publication then wants done.
@Suite struct PublicationTests {
    private static let name = "pgcache_pub_ab12"
    private static let present: [String?] = ["publication", "true", "5"]
    private static func fence(_ xid: Int) -> [[String?]] { [["fence", "\(xid)"]] }

    private func member(_ relation: Int, _ identity: String = "9:1") -> [String?] {
        ["member", "\(relation)", identity]
    }
    private func snapshot(_ text: String) throws -> Snapshot { try #require(Snapshot(text)) }

    /// Queries among the actions, which differ only in their wake otherwise.
    private func queries(_ actions: [PublicationAction]) -> [String] {
        actions.compactMap { if case .query(let sql) = $0 { sql } else { nil } }
    }

    /// A publication of ours that was made just now.
    private func opened() -> Publication {
        var publication = Publication(configuration: .own(Self.name))
        _ = publication.started(now: .ms(0))
        _ = publication.linkConnected(serverVersion: 150_000, now: .ms(1))
        _ = publication.linkAnswered(rows: [["t"]], now: .ms(2))
        _ = publication.linkAnswered(rows: [], now: .ms(3))
        _ = publication.linkAnswered(rows: [], now: .ms(4))
        _ = publication.linkAnswered(rows: [], now: .ms(5))
        return publication
    }

    /// The same with relation 1 followed.
    private func following() throws -> Publication {
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "public", name: "orders", now: .ms(6))
        _ = publication.linkAnswered(rows: [], now: .ms(7))
        _ = publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(8))
        _ = publication.linkAnswered(rows: Self.fence(100), now: .ms(9))
        _ = publication.snapshotArrived(try snapshot("101:101:"), now: .ms(10))
        _ = publication.linkAnswered(rows: [], now: .ms(11))
        _ = publication.linkAnswered(rows: Self.fence(103), now: .ms(12))
        #expect(
            publication.snapshotArrived(try snapshot("104:104:"), now: .ms(13)).first
                == .followed([OID(1)]))
        #expect(publication.isFollowed(OID(1)))
        return publication
    }

    // MARK: Making it

    @Test func itLocksThenClearsOrphansThenCreates() {
        var publication = Publication(configuration: .own(Self.name))
        #expect(publication.started(now: .ms(0)) == [.connect, .wake(at: .ms(30_000))])
        #expect(
            queries(publication.linkConnected(serverVersion: 150_000, now: .ms(1)))
                == ["SELECT pg_try_advisory_lock(hashtextextended('pgcache_pub_ab12', 0))"])
        #expect(
            queries(publication.linkAnswered(rows: [["t"]], now: .ms(2)))
                == [Leftovers.instancesQuery(except: Self.name)])
        let found = publication.linkAnswered(
            rows: [["pgcache_pub_0", "f"], ["pgcache_pub_1", "t"], ["pgcache_pub_2", "t"]],
            now: .ms(3))
        #expect(
            queries(found) == [Leftovers.remove("pgcache_pub_1")],
            "another instance that lives is left alone")
        let dropped = publication.linkAnswered(rows: [], now: .ms(4))
        #expect(dropped.first == .orphanDropped("pgcache_pub_1"))
        #expect(queries(dropped) == [Leftovers.unlock("pgcache_pub_1")])
        _ = publication.linkAnswered(rows: [["t"]], now: .ms(5))
        let kept = publication.linkFailed(state: "42501", message: "not owner", now: .ms(6))
        #expect(
            kept.first == .orphanKept("pgcache_pub_2", state: "42501", message: "not owner"))
        #expect(
            queries(publication.linkAnswered(rows: [["t"]], now: .ms(7)))
                == ["SELECT oid FROM pg_catalog.pg_publication WHERE pubname = 'pgcache_pub_ab12'"])
        #expect(
            queries(publication.linkAnswered(rows: [], now: .ms(8)))
                == [PublicationSQL.create(Self.name)])
        #expect(
            publication.linkAnswered(rows: [], now: .ms(9)).first
                == .ready(publication: Self.name, isNew: true))
    }

    @Test func aHeldLockIsWaitedFor() {
        var publication = Publication(configuration: .own(Self.name))
        _ = publication.started(now: .ms(0))
        _ = publication.linkConnected(serverVersion: 150_000, now: .ms(1))
        #expect(
            publication.linkAnswered(rows: [["f"]], now: .ms(2)) == [
                .unavailable(
                    state: "55006", message: "another session holds pgcache_pub_ab12"),
                .close, .wake(at: .ms(502)),
            ])
        #expect(publication.clockReached(.ms(502)).first == .connect)
    }

    // MARK: Following [T3]

    @Test func aRelationIsFollowedOnceEveryOlderTransactionHasEnded() throws {
        var publication = opened()
        let asked = publication.relationWanted(OID(1), schema: "pub", name: "or\"d's", now: .ms(6))
        #expect(
            queries(asked)
                == [PublicationSQL.add([(OID(1), "pub", "or\"d's")], to: Self.name)])
        let added = publication.linkAnswered(rows: [], now: .ms(7))
        #expect(
            queries(added)
                == [PublicationSQL.members(of: Self.name, serverVersion: 150_000)])
        let identified = publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(8))
        #expect(queries(identified) == [PublicationSQL.fence])
        #expect(publication.linkAnswered(rows: Self.fence(100), now: .ms(9)).contains(.beatWanted))

        // 99 was running; nobody below 100 but it.
        let early = publication.snapshotArrived(try snapshot("99:101:99"), now: .ms(10))
        #expect(queries(early).isEmpty && early == [.wake(at: .ms(20))])
        #expect(publication.clockReached(.ms(20)).first == .beatWanted)

        let settled = publication.snapshotArrived(try snapshot("101:101:"), now: .ms(21))
        #expect(queries(settled) == [PublicationSQL.refresh(Self.name)])
        #expect(
            queries(publication.linkAnswered(rows: [], now: .ms(22))) == [PublicationSQL.fence])
        let fenced = publication.linkAnswered(rows: Self.fence(103), now: .ms(23))
        #expect(fenced.contains(.beatWanted))
        // Committed and decoded, but not visible yet [T2]: not before it is.
        let unseen = publication.snapshotArrived(try snapshot("101:104:101"), now: .ms(24))
        #expect(!unseen.contains(.followed([OID(1)])))
        #expect(!publication.isFollowed(OID(1)))
        let seen = publication.snapshotArrived(try snapshot("104:104:"), now: .ms(50))
        #expect(seen.first == .followed([OID(1)]))
        #expect(publication.isFollowed(OID(1)))
    }

    @Test func aRefreshThatFindsTheTablesLockedIsTriedAgain() throws {
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "public", name: "a", now: .ms(6))
        _ = publication.linkAnswered(rows: [], now: .ms(7))
        _ = publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(8))
        _ = publication.linkAnswered(rows: Self.fence(100), now: .ms(9))
        let settled = publication.snapshotArrived(try snapshot("101:101:"), now: .ms(10))
        #expect(queries(settled) == [PublicationSQL.refresh(Self.name)])

        let failed = publication.linkFailed(state: "55P03", message: "lock timeout", now: .ms(1010))
        #expect(queries(failed).isEmpty && failed.contains(.wake(at: .ms(1510))))
        #expect(queries(publication.clockReached(.ms(1510))) == [PublicationSQL.refresh(Self.name)])

        // Whoever stops meanwhile leaves nothing behind.
        _ = publication.linkFailed(state: "55P03", message: "lock timeout", now: .ms(2510))
        #expect(queries(publication.stopped(now: .ms(2511))).count == 1)
    }

    @Test func theUpperEndOfASnapshotIsNoFence() throws {
        // The writer's number 727 is above the ALTER's 726, and the highest completed is 726: the
        // snapshot "727:727:" does not list it although it runs.
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "public", name: "gap", now: .ms(6))
        _ = publication.linkAnswered(rows: [], now: .ms(7))
        _ = publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(8))
        _ = publication.linkAnswered(rows: Self.fence(728), now: .ms(9))
        let blind = publication.snapshotArrived(try snapshot("727:727:"), now: .ms(10))
        #expect(queries(blind).isEmpty)
        let running = publication.snapshotArrived(try snapshot("727:729:727"), now: .ms(11))
        #expect(queries(running).isEmpty)
        let ended = publication.snapshotArrived(try snapshot("729:729:"), now: .ms(12))
        #expect(queries(ended) == [PublicationSQL.refresh(Self.name)])
    }

    @Test func requestsThatComeMeanwhileGoTogether() {
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "s", name: "a", now: .ms(6))
        #expect(queries(publication.relationWanted(OID(3), schema: "s", name: "c", now: .ms(6))) == [])
        #expect(queries(publication.relationWanted(OID(2), schema: "s", name: "b", now: .ms(6))) == [])
        _ = publication.linkAnswered(rows: [], now: .ms(7))
        _ = publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(8))
        let next = publication.linkAnswered(rows: Self.fence(100), now: .ms(9))
        #expect(
            queries(next)
                == [PublicationSQL.add([(OID(2), "s", "b"), (OID(3), "s", "c")], to: Self.name)])
    }

    @Test func oneBadTableDoesNotBlockTheOthers() {
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "s", name: "a", now: .ms(6))
        _ = publication.relationWanted(OID(2), schema: "s", name: "b", now: .ms(6))
        _ = publication.relationWanted(OID(3), schema: "s", name: "c", now: .ms(6))
        _ = publication.linkFailed(state: "42501", message: "must be owner of a", now: .ms(7))
        // 2 and 3 went together and failed: now each alone.
        let first = publication.linkFailed(state: "42501", message: "must be owner", now: .ms(8))
        #expect(queries(first) == [PublicationSQL.add([(OID(2), "s", "b")], to: Self.name)])
        let second = publication.linkFailed(state: "42501", message: "must be owner of b", now: .ms(9))
        #expect(second.first == .refused(OID(2), .notOwner("must be owner of b")))
        #expect(queries(second) == [PublicationSQL.add([(OID(3), "s", "c")], to: Self.name)])
        let third = publication.linkAnswered(rows: [], now: .ms(10))
        #expect(queries(third) == [PublicationSQL.members(of: Self.name, serverVersion: 150_000)])
    }

    @Test(arguments: [
        ("PGC01", RefusalReason.renamed), ("42P01", .renamed), ("PGC02", .withoutReplicaIdentity),
        ("22023", .failed(state: "22023", message: "m")), ("42501", .notOwner("m")),
    ])
    func refusalsAreNamed(state: String, reason: RefusalReason) {
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "s", name: "a", now: .ms(6))
        #expect(
            publication.linkFailed(state: state, message: "m", now: .ms(7)).first
                == .refused(OID(1), reason))
        #expect(
            !queries(publication.relationWanted(OID(1), schema: "s", name: "a", now: .ms(8))).isEmpty,
            "it may be asked for again")
    }

    @Test func aLockedTableIsTriedSomeTimes() {
        var publication = opened()
        var now = Instant.ms(6)
        var actions = publication.relationWanted(OID(1), schema: "s", name: "a", now: now)
        for delay in [UInt64(500), 1_000, 2_000, 4_000] {
            #expect(queries(actions).count == 1)
            let failed = publication.linkFailed(state: "55P03", message: "", now: now)
            #expect(queries(failed).isEmpty)
            now = now.advanced(byMilliseconds: delay)
            actions = publication.clockReached(now)
            if queries(actions) == [PublicationSQL.members(of: Self.name, serverVersion: 150_000)] {
                Issue.record("the poll was due first")
            }
        }
        #expect(
            publication.linkFailed(state: "55P03", message: "", now: now).first
                == .refused(OID(1), .locked))
    }

    @Test func anExistingMemberIsFineButWaitsAllTheSame() {
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "s", name: "a", now: .ms(6))
        let already = publication.linkFailed(state: "42710", message: "already member", now: .ms(7))
        #expect(queries(already) == [PublicationSQL.members(of: Self.name, serverVersion: 150_000)])
        let identified = publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(8))
        #expect(queries(identified) == [PublicationSQL.fence])
    }

    // MARK: What others do to it

    @Test(arguments: [[], [["member", "1", "9:2"]]] as [[[String?]]])
    func removedOrReaddedByOthersIsNoticed(members: [[String?]]) throws {
        var publication = try following()
        #expect(
            queries(publication.clockReached(.ms(5_005)))
                == [PublicationSQL.members(of: Self.name, serverVersion: 150_000)])
        let polled = publication.linkAnswered(rows: [Self.present] + members, now: .ms(5_006))
        #expect(polled.first == .unfollowed([OID(1)]))
        #expect(!publication.isFollowed(OID(1)))
    }

    @Test func nothingChangedIsNothingDone() throws {
        var publication = try following()
        _ = publication.clockReached(.ms(5_005))
        #expect(
            publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(5_006))
                == [.wake(at: .ms(10_006))])
    }

    @Test func aDroppedPublicationIsMadeAnew() throws {
        var publication = try following()
        _ = publication.clockReached(.ms(5_005))
        let gone = publication.linkAnswered(rows: [], now: .ms(5_006))
        #expect(gone.first == .unfollowed([OID(1)]))
        #expect(queries(gone) == [PublicationSQL.create(Self.name)])
        #expect(
            publication.linkAnswered(rows: [], now: .ms(5_007)).first
                == .ready(publication: Self.name, isNew: true))
    }

    @Test func aPublicationThatWasNarrowedIsMadeAnew() throws {
        var publication = try following()
        _ = publication.clockReached(.ms(5_005))
        let narrowed = publication.linkAnswered(
            rows: [["publication", "false", "5"], member(1)], now: .ms(5_006))
        #expect(queries(narrowed) == [Leftovers.dropPublication(Self.name)])
        #expect(
            queries(publication.linkAnswered(rows: [], now: .ms(5_007)))
                == [PublicationSQL.create(Self.name)])
    }

    @Test func aLostLinkMeansNothingIsFollowed() throws {
        var publication = try following()
        #expect(
            publication.linkLost(state: "57P01", message: "shutdown", now: .ms(100)) == [
                .unfollowed([OID(1)]), .unavailable(state: "57P01", message: "shutdown"), .close,
                .wake(at: .ms(600)),
            ])
        _ = publication.clockReached(.ms(600))
        _ = publication.linkConnected(serverVersion: 150_000, now: .ms(601))
        _ = publication.linkAnswered(rows: [["t"]], now: .ms(602))
        _ = publication.linkAnswered(rows: [], now: .ms(603))
        #expect(
            publication.linkAnswered(rows: [["5"]], now: .ms(604)).first
                == .ready(publication: Self.name, isNew: false), "it outlived the link")
    }

    // MARK: The operator's own

    @Test func anAdoptedPublicationIsReadAndNeverChanged() throws {
        var publication = Publication(configuration: .adopt("ops"))
        _ = publication.started(now: .ms(0))
        let connected = publication.linkConnected(serverVersion: 150_000, now: .ms(1))
        #expect(
            queries(connected)
                == [PublicationSQL.adoptedMembers(of: "ops", serverVersion: 150_000)])
        #expect(
            publication.linkAnswered(rows: [Self.present, member(1)], now: .ms(2)).first
                == .ready(publication: "ops", isNew: false))
        #expect(
            publication.relationWanted(OID(2), schema: "s", name: "b", now: .ms(3)).first
                == .refused(OID(2), .notPublished))
        let wanted = publication.relationWanted(OID(1), schema: "s", name: "a", now: .ms(4))
        #expect(queries(wanted) == [PublicationSQL.fence])
        _ = publication.linkAnswered(rows: Self.fence(100), now: .ms(5))
        #expect(
            publication.snapshotArrived(try snapshot("101:101:"), now: .ms(6)).first
                == .followed([OID(1)]))
        _ = publication.clockReached(.ms(5_002))
        #expect(
            publication.linkAnswered(rows: [Self.present], now: .ms(5_003)).first
                == .unfollowed([OID(1)]))
        _ = publication.clockReached(.ms(10_004))
        let more = publication.linkAnswered(rows: [Self.present, member(1), member(2)], now: .ms(10_005))
        #expect(more.first == .grown, "what was refused is there")
        #expect(publication.stopped(now: .ms(10_006)) == [.close, .finished])
    }

    @Test(arguments: [[], [["publication", "false", "5"]]] as [[[String?]]])
    func anUnfitPublicationOfTheOperatorsIsUnavailable(rows: [[String?]]) {
        var publication = Publication(configuration: .adopt("ops"))
        _ = publication.started(now: .ms(0))
        _ = publication.linkConnected(serverVersion: 150_000, now: .ms(1))
        guard case .unavailable = publication.linkAnswered(rows: rows, now: .ms(2)).first else {
            Issue.record("it was taken")
            return
        }
    }

    // MARK: The event trigger

    /// One with an event trigger, up to where that is asked for.
    private func installing(_ configuration: Publication.Configuration) -> (Publication, [PublicationAction]) {
        var configuration = configuration
        configuration.installsEventTrigger = true
        var publication = Publication(configuration: configuration)
        _ = publication.started(now: .ms(0))
        _ = publication.linkConnected(serverVersion: 150_000, now: .ms(1))
        _ = publication.linkAnswered(rows: [["t"]], now: .ms(2))
        let asked = publication.linkAnswered(rows: [], now: .ms(3))
        return (publication, asked)
    }

    @Test func theEventTriggerIsMadeBeforeThePublication() {
        var (publication, asked) = installing(.own(Self.name))
        #expect(queries(asked) == [EventTrigger.create(Self.name)])
        let made = publication.linkAnswered(rows: [], now: .ms(4))
        #expect(made.first == .eventTriggerReady)
        #expect(queries(made) == [PublicationSQL.find(Self.name)])
    }

    @Test func withoutTheRightToMakeOneEverythingElseGoesOn() {
        var (publication, _) = installing(.own(Self.name))
        let refused = publication.linkFailed(state: "42501", message: "must be superuser", now: .ms(4))
        #expect(refused.first == .eventTriggerMissing(state: "42501", message: "must be superuser"))
        #expect(queries(refused) == [PublicationSQL.find(Self.name)])
    }

    @Test func serversWhoseStreamHasNoMessagesGetNone() {
        var configuration = Publication.Configuration.own(Self.name)
        configuration.installsEventTrigger = true
        var publication = Publication(configuration: configuration)
        _ = publication.started(now: .ms(0))
        _ = publication.linkConnected(serverVersion: 130_000, now: .ms(1))
        _ = publication.linkAnswered(rows: [["t"]], now: .ms(2))
        let found = publication.linkAnswered(rows: [], now: .ms(3))
        guard case .eventTriggerMissing(state: "0A000", _) = found.first else {
            Issue.record("\(found)")
            return
        }
        #expect(queries(found) == [PublicationSQL.find(Self.name)])
    }

    /// The publication is the operator's, the event trigger ours.
    @Test func anAdoptedPublicationHasAnEventTriggerThatGoesAtTheEnd() {
        var (publication, asked) = installing(.adopt("ops", instance: Self.name))
        #expect(queries(asked) == [EventTrigger.create(Self.name)])
        let made = publication.linkAnswered(rows: [], now: .ms(4))
        #expect(
            queries(made)
                == [
                    PublicationSQL.adoptedMembers(of: "ops", serverVersion: 150_000) + " UNION ALL "
                        + EventTrigger.state(Self.name)
                ])
        #expect(
            publication.linkAnswered(rows: [Self.present, ["event trigger", "2", nil]], now: .ms(5)).first
                == .ready(publication: "ops", isNew: false))
        #expect(queries(publication.stopped(now: .ms(6))) == [Leftovers.remove(Self.name)])
        #expect(publication.linkAnswered(rows: [], now: .ms(7)) == [.close, .finished])
    }

    @Test func anEventTriggerThatSomebodyDropsIsReportedOnce() {
        var (publication, _) = installing(.adopt("ops", instance: Self.name))
        _ = publication.linkAnswered(rows: [], now: .ms(4))
        _ = publication.linkAnswered(rows: [Self.present, ["event trigger", "2", nil]], now: .ms(5))
        for round in 1...2 {
            _ = publication.clockReached(.ms(UInt64(round * 6_000)))
            let polled = publication.linkAnswered(
                rows: [Self.present, ["event trigger", "0", nil]], now: .ms(UInt64(round * 6_000 + 1)))
            #expect(
                polled.contains(.eventTriggerMissing(state: "", message: "dropped or disabled")) == (round == 1))
        }
        _ = publication.clockReached(.ms(18_000))
        let back = publication.linkAnswered(rows: [Self.present, ["event trigger", "2", nil]], now: .ms(18_001))
        #expect(back.contains(.eventTriggerReady))
    }

    // MARK: A message says that somebody has changed a publication

    @Test func afterAChangeByOthersEverythingJoinsAnew() throws {
        var publication = try following()
        let changed = publication.changedByOthers(now: .ms(100))
        #expect(changed.first == .unfollowed([OID(1)]))
        #expect(queries(changed) == [PublicationSQL.find(Self.name)])
        #expect(!publication.isFollowed(OID(1)))
        let found = publication.linkAnswered(rows: [["5"]], now: .ms(101))
        #expect(found.first == .ready(publication: Self.name, isNew: false), "the stream goes on")
        #expect(
            queries(publication.relationWanted(OID(1), schema: "public", name: "orders", now: .ms(102)))
                == [PublicationSQL.add([(OID(1), "public", "orders")], to: Self.name)])
    }

    @Test func aChangeByOthersWaitsForTheQueryInFlight() throws {
        var publication = try following()
        _ = publication.relationWanted(OID(2), schema: "s", name: "b", now: .ms(90))
        let changed = publication.changedByOthers(now: .ms(100))
        #expect(changed.first == .unfollowed([OID(1), OID(2)]))
        #expect(queries(changed) == [])
        let added = publication.linkAnswered(rows: [], now: .ms(101))
        #expect(queries(added) == [PublicationSQL.members(of: Self.name, serverVersion: 150_000)])
        let identified = publication.linkAnswered(rows: [Self.present, member(1), member(2)], now: .ms(102))
        #expect(queries(identified) == [PublicationSQL.find(Self.name)])
    }

    // MARK: The end

    @Test func stoppingDropsIt() throws {
        var publication = try following()
        #expect(
            queries(publication.stopped(now: .ms(100))) == [Leftovers.remove(Self.name)])
        #expect(
            publication.linkAnswered(rows: [], now: .ms(101)) == [
                .unfollowed([OID(1)]), .close, .finished,
            ])
    }

    @Test func stoppingWaitsForTheQueryInFlight() {
        var publication = opened()
        _ = publication.relationWanted(OID(1), schema: "s", name: "a", now: .ms(6))
        #expect(queries(publication.stopped(now: .ms(7))) == [])
        let failed = publication.linkFailed(state: "42501", message: "", now: .ms(8))
        #expect(queries(failed) == [Leftovers.remove(Self.name)])
        #expect(publication.linkFailed(state: "42501", message: "", now: .ms(9)).last == .finished)
    }

    @Test func noEventTrapsInAnyState() throws {
        var random = Seeded(5)
        let rows: [[[String?]]] = [
            [], [["t"]], [["f"]], [[nil]], [[]], Self.fence(9), [Self.present, member(1)],
            [Self.present], [["pgcache_pub_1", "t"]],
        ]
        for seed in 0..<400 {
            var publication = Publication(
                configuration: seed % 3 == 0 ? .adopt("ops") : .own(Self.name))
            if seed % 5 == 0 { publication = installing(publication.configuration).0 }
            _ = publication.started(now: .ms(0))
            for step in 0..<60 {
                let now = Instant.ms(UInt64(step * random.below(3_000)))
                switch random.below(10) {
                case 0: _ = publication.linkConnected(serverVersion: 150_000, now: now)
                case 1, 2, 3:
                    _ = publication.linkAnswered(rows: rows[random.below(rows.count)], now: now)
                case 4:
                    let states = ["55P03", "42501", "42710", "42704", "XX000"]
                    _ = publication.linkFailed(
                        state: states[random.below(states.count)], message: "", now: now)
                case 5:
                    let relation = OID(UInt32(random.below(5)))
                    _ = publication.relationWanted(relation, schema: "s", name: "a", now: now)
                case 6: _ = publication.snapshotArrived(try snapshot("200:200:"), now: now)
                case 7: _ = publication.clockReached(now)
                case 8: _ = publication.changedByOthers(now: now)
                default:
                    if random.below(8) == 0 {
                        _ = publication.linkLost(state: "", message: "", now: now)
                    }
                }
            }
            if seed % 2 == 0 { _ = publication.stopped(now: .ms(200_000)) }
        }
    }
}
