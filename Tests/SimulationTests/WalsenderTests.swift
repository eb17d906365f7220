import CDC
import Loop
import PGProtocol
import Testing

@testable import Simulation

/// The change stream, as pgcache's own machines take it.
@Suite struct WalsenderTests {
    private func text(_ value: String) -> ColumnImage { .text(Array(value.utf8)) }

    /// The stream is live and these are followed.
    private func following(
        _ tables: [Int] = [Table.account, Table.entry, Table.branch], seed: UInt64 = 1,
        isPersistent: Bool = false, _ change: (inout Parameters) -> Void = { _ in }
    ) -> LinkFixture {
        let world = LinkFixture(seed: seed, isPersistent: isPersistent, change)
        world.start()
        #expect(world.pass(milliseconds: 2_000) { world.lives == 1 })
        for table in tables { world.want(table) }
        #expect(world.pass(milliseconds: 5_000) { tables.allSatisfy { world.isFollowed($0) } })
        return world
    }

    /// The feed alone, over a publication that nobody of ours alters.
    private func streaming(
        _ tables: [Int] = [], seed: UInt64 = 1, _ change: (inout Parameters) -> Void = { _ in }
    ) -> LinkFixture {
        let world = LinkFixture(seed: seed, change)
        world.publications.leave(LinkFixture.name, tables: tables)
        world.startFeed()
        #expect(world.pass(milliseconds: 2_000) { world.lives == 1 })
        return world
    }

    private func changes(_ world: LinkFixture) -> [RowChange] { world.transactions.flatMap(\.changes) }

    // MARK: What is sent

    @Test func theMachinesGoLiveAndFollow() {
        for seed in 1...20 as ClosedRange<UInt64> {
            let world = following(seed: seed)
            #expect(world.followed.sorted() == Table.all.prefix(3).map(\.oid))
            #expect(world.losses == [])
        }
    }

    @Test func imagesAreThoseOfTheReplicaIdentity() {
        let world = following()
        let end = world.commit(
            .add(Table.account, [.int(77), .null, .int(3), .text("it's")]), .setNote(77, .null),
            .removal(Table.account, 77), .close(branch: 2), .removal(Table.branch, 2),
            .truncate([Table.entry, Table.branch]))
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
        #expect(world.transactions.count == 1)
        let account = Table.all[Table.account].oid
        let kinds = changes(world).filter { $0.relation == account }.map(\.kind)
        #expect(
            kinds == [
                .insert(new: [text("77"), .null, text("3"), text("it's")]),
                .update(old: .absent, new: [text("77"), .null, text("3"), .null]),
                .delete(old: .key([text("77"), .null, .null, .null])),
            ])
        let branch = changes(world).filter { $0.relation == Table.all[Table.branch].oid }
        #expect(branch.count == 3)
        guard case .update(old: .full(let old), let new) = branch.first?.kind else {
            Issue.record("no full image")
            return
        }
        #expect(old.count == 3)
        #expect(new == [text("2"), text("b2"), text("f")])
        #expect(branch[1].kind == .delete(old: .full(new)))
        #expect(branch[2].kind == .truncate)
        #expect(world.transactions[0].endLSN == end)
        #expect(world.shapes.map(\.oid).sorted() == Table.all.prefix(3).map(\.oid))
        #expect(world.shapes.first { $0.oid == account }?.columns.map(\.isKey) == [true, false, false, false])
    }

    @Test func transactionsComeWholeAndInTheOrderOfTheirCommits() {
        let world = following()
        let early = world.database.begin(.readCommitted)
        world.run(.deposit(1), in: early)
        var ends = [world.commit(.deposit(2)), world.commit(.deposit(3), .deposit(4))]
        world.run(.deposit(5), in: early)
        let undone = world.database.begin(.readCommitted)
        world.run(.deposit(6), in: undone)
        world.database.rollback(undone)
        ends.append(world.commit(early))
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= ends[2] })
        #expect(world.transactions.map(\.endLSN) == ends)
        #expect(world.transactions.map(\.changes.count) == [1, 2, 2])
    }

    @Test func whatIsNotPublishedIsSkippedAndMovesTheWatermarkAllTheSame() {
        let world = streaming([Table.entry])
        let end = world.commit(.deposit(1))
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
        #expect(world.transactions.isEmpty)
    }

    @Test func aCommitCanBeReceivedBeforeItIsVisible() {
        var early = 0
        for seed in 1...10 as ClosedRange<UInt64> {
            let world = following(seed: seed) {
                $0.visibilityMicroseconds = 400
                $0.decodingMicroseconds = 20
            }
            world.transactionReceived = { transaction in
                let view = world.database.currentView()
                if !view.sees(TransactionID(narrow: transaction.narrowID, near: view.upper)) { early += 1 }
            }
            for id in 1...12 as ClosedRange<Int64> {
                world.commit(.deposit(id))
                world.pass(milliseconds: 5)
            }
        }
        #expect(early > 10)
        #expect(early < 120)
    }

    // MARK: Positions

    @Test func anIdleStreamReachesEveryPositionSoon() {
        let world = following()
        for _ in 0..<200 {
            let end = world.database.writeOther()
            #expect(world.pass(milliseconds: 50) { world.watermark >= end })
            #expect(world.watermark == end)
        }
    }

    @Test func whatARunningTransactionHasWrittenIsReachedWithoutItsCommit() {
        let world = following()
        let open = world.database.begin(.readCommitted)
        world.run(.deposit(1), in: open)
        let target = world.database.insertLSN.withoutPageHeader
        #expect(world.watermark < target)
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= target })
        #expect(world.transactions.isEmpty)
    }

    @Test func aSilentPeerIsAskedAndAnswers() {
        let world = following()
        let before = world.events(.replication).count
        world.pass(milliseconds: 120_000)
        #expect(world.losses == [])
        #expect(world.events(.replication).count > before)
    }

    @Test func aStalledWalsenderIsLostAfterTheFeedsPatience() {
        let world = following()
        world.publications.stallWalsenders(for: 30 * second)
        world.pass(milliseconds: 20_000)
        guard case .silent = world.losses.first else {
            Issue.record("\(world.losses)")
            return
        }
        #expect(world.pass(milliseconds: 60_000) { world.lives == 2 })
    }

    // MARK: Membership [T3]

    /// A transaction that writes before and after its relation is added.
    private func straddling(_ world: LinkFixture) {
        let open = world.database.begin(.readCommitted)
        world.run(.deposit(1), in: open)
        world.publications.add(table: Table.account)
        world.run(.deposit(2), in: open)
        let end = world.commit(open)
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
    }
    private func keys(_ world: LinkFixture) -> [ColumnImage] {
        changes(world).compactMap { if case .update(_, let new) = $0.kind { new[0] } else { nil } }
    }

    @Test func whatWasWrittenBeforeARelationWasAddedIsNeverSent() {
        let world = streaming()
        straddling(world)
        #expect(keys(world) == [text("2")])
    }

    @Test func someReleasesRememberThatARelationWasNotPublished() {
        let world = streaming { $0.remembersUnpublished = true }
        straddling(world)
        var end = world.commit(.deposit(3))
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
        #expect(keys(world) == [])
        // Until a publication is altered again, in whatever way.
        world.publications.leave("another")
        end = world.commit(.deposit(4))
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
        #expect(keys(world) == [text("4")])
    }

    @Test func onceFollowedNothingIsMissedInEitherRelease() {
        for (seed, remembers) in [(1, false), (2, true), (3, false), (4, true)] {
            let world = LinkFixture(seed: UInt64(seed)) { $0.remembersUnpublished = remembers }
            world.start()
            #expect(world.pass(milliseconds: 2_000) { world.lives == 1 })
            // Somebody writes before, and goes on after.
            let open = world.database.begin(.readCommitted)
            world.run(.deposit(1), in: open)
            world.want(Table.account)
            world.pass(milliseconds: 200)
            #expect(!world.isFollowed(Table.account), "the older transaction is waited for")
            world.run(.deposit(2), in: open)
            world.commit(open)
            #expect(world.pass(milliseconds: 5_000) { world.isFollowed(Table.account) })
            let before = changes(world).count
            let end = world.commit(.deposit(3))
            #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
            #expect(changes(world).count == before + 1)
        }
    }

    @Test func aRelationThatOthersTookOutIsNoticedAndItsShapeToldAgain() {
        let world = following([Table.account])
        world.publications.remove(table: Table.account)
        world.publications.add(table: Table.account)
        #expect(world.pass(milliseconds: 10_000) { world.unfollowed == [Table.all[Table.account].oid] })
        world.commit(.deposit(1))
        world.publications.remove(table: Table.account)
        world.publications.add(table: Table.account)
        let end = world.commit(.deposit(2))
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
        #expect(world.shapes.count == 2)
    }

    @Test func aPublicationThatOthersDroppedEndsTheStream() {
        let world = following([Table.account])
        world.publications.dropAll()
        world.commit(.deposit(1))
        #expect(world.pass(milliseconds: 2_000) { world.losses.contains(.publicationMissing) })
        #expect(world.pass(milliseconds: 60_000) { world.lives == 2 })
    }

    @Test func anAlterThatFindsNoLockIsTriedAgain() {
        let world = LinkFixture()
        world.start()
        #expect(world.pass(milliseconds: 2_000) { world.lives == 1 })
        world.publications.lockTables(for: 2 * second)
        world.want(Table.branch)
        world.pass(milliseconds: 2_000)
        #expect(world.events(.publication).contains { if case .failed("55P03", _) = $0 { true } else { false } })
        #expect(world.pass(milliseconds: 10_000) { world.isFollowed(Table.branch) })
    }

    @Test func whatADeadInstanceLeftIsDropped() {
        let world = LinkFixture()
        world.publications.leave("pgcache_pub_dead", tables: [Table.entry])
        world.publications.leave("somebody_elses")
        world.start()
        #expect(world.pass(milliseconds: 2_000) { world.lives == 1 })
        #expect(!world.publications.exists("pgcache_pub_dead"))
        #expect(world.publications.exists("somebody_elses"))
        #expect(world.publications.exists(LinkFixture.name))
    }

    // MARK: Slots

    @Test func aSlotWaitsForWhoeverIsWriting() {
        let world = LinkFixture()
        world.publications.leave(LinkFixture.name, tables: [Table.account])
        let open = world.database.begin(.readCommitted)
        world.run(.deposit(1), in: open)
        world.startFeed()
        world.pass(milliseconds: 3_000)
        #expect(world.lives == 0)
        // One that begins meanwhile is decoded from its beginning, although the slot is younger.
        let later = world.database.begin(.readCommitted)
        world.run(.deposit(2), in: later)
        let end = world.commit(open)
        #expect(world.pass(milliseconds: 1_000) { world.lives == 1 })
        #expect(world.watermark > end)
        let last = world.commit(later)
        #expect(world.pass(milliseconds: 1_000) { world.watermark >= last })
        #expect(keys(world) == [text("2")])
    }

    @Test func aSlotDoesNotWaitForEver() {
        let world = LinkFixture()
        world.publications.leave(LinkFixture.name)
        let open = world.database.begin(.readCommitted)
        world.run(.deposit(1), in: open)
        world.startFeed()
        world.pass(milliseconds: 11_000)
        #expect(world.losses == [.slotBlocked])
        #expect(world.publications.slots.count <= 1)
    }

    @Test func temporarySlotsEndWithTheirConnectionAndATakenLockToo() {
        let world = following([Table.account])
        #expect(world.publications.slots.count == 1)
        world.publications.restarted()
        #expect(world.publications.slots.isEmpty)
        #expect(world.pass(milliseconds: 20_000) { world.lives == 2 })
        #expect(world.publications.slots.count == 1)
    }

    @Test func aPersistentSlotResumesWhereItWasConfirmed() {
        for seed in 1...10 as ClosedRange<UInt64> {
            let world = following([Table.account], seed: seed, isPersistent: true)
            world.commit(.deposit(1))
            world.pass(milliseconds: 20)
            world.commit(.deposit(2))
            world.link(.replication).fail(state: "08006", noticedAfter: millisecond)
            var end = world.commit(.deposit(3))
            #expect(world.pass(milliseconds: 20_000) { world.lives == 2 && world.watermark >= end })
            #expect(keys(world) == [text("1"), text("2"), text("3")])
            // After a crash the origin may have forgotten the latest confirmations.
            world.publications.restarted()
            end = world.commit(.deposit(4))
            #expect(world.pass(milliseconds: 60_000) { world.lives == 3 && world.watermark >= end })
            #expect(keys(world) == [text("1"), text("2"), text("3"), text("4")])
        }
    }

    @Test func aLostSlotIsMadeAnew() {
        for isPersistent in [false, true] {
            let world = following([Table.account], isPersistent: isPersistent)
            world.publications.loseSlot()
            #expect(world.pass(milliseconds: 60_000) { world.lives == 2 })
            let end = world.commit(.deposit(1))
            #expect(world.pass(milliseconds: 1_000) { world.watermark >= end })
        }
    }

    @Test func aSlotTellsHowMuchItHoldsBack() {
        let world = following([Table.account])
        world.link(.catalog).connect([])
        world.pass(milliseconds: 100)
        world.publications.stallWalsenders(for: second)
        let before = world.watermark
        let end = world.commit(.deposit(1))
        world.link(.catalog).query(world.feed.retentionQuery, [])
        world.pass(milliseconds: 100)
        #expect(world.events(.catalog).last == .answered([["\(end.value - before.value)", "reserved"]]))
    }

    @Test func anOperatorsPublicationIsOnlyRead() {
        let world = LinkFixture()
        world.publications.leave("operators", tables: [Table.entry])
        world.publication = Publication(configuration: .adopt("operators"))
        world.start()
        #expect(world.pass(milliseconds: 2_000) { world.lives == 1 })
        world.want(Table.entry, Table.account)
        #expect(world.pass(milliseconds: 5_000) { world.isFollowed(Table.entry) })
        #expect(!world.isFollowed(Table.account))
        #expect(world.publications.tables("operators") == [Table.entry])
    }

    @Test func aHalfOpenPublicationLinkKeepsItsLockForAWhile() {
        let world = following([Table.account])
        world.link(.publication).fail(state: "", noticedAfter: nil)
        #expect(world.pass(milliseconds: 60_000) { !world.unfollowed.isEmpty })
        world.want(Table.account)
        #expect(world.pass(milliseconds: 120_000) { world.isFollowed(Table.account) })
    }

    // MARK: Determinism

    @Test func theSameSeedGivesTheSameRun() {
        func trace(_ seed: UInt64) -> [String] {
            let world = following(seed: seed)
            for id in 1...10 as ClosedRange<Int64> {
                world.commit(.deposit(id))
                world.pass(milliseconds: 3)
            }
            world.publications.restarted()
            world.pass(milliseconds: 10_000)
            return world.trace
        }
        #expect(trace(5) == trace(5))
        #expect(trace(5) != trace(6))
    }
}
