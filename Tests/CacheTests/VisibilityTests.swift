import PGProtocol
import Testing

@testable import Cache

@Suite struct VisibilityTests {
    private func insert(_ value: Int64, into relation: UInt32 = 1) -> BoundChange {
        BoundChange(
            relation: OID(relation),
            extent: .row(
                old: nil, oldKey: nil, new: RowValues(columns: [.value(.integer(value))])))
    }
    private func uses(_ value: Int64, of relation: UInt32 = 1) -> [BoundUse] {
        [
            BoundUse(
                relation: OID(relation),
                constraints: [BoundConstraint(column: 0, test: .among([.integer(value)]))])
        ]
    }

    @Test func aReceivedChangeMatchesUntilASnapshotShowsItFinished() {
        var visibility = Visibility()
        #expect(visibility.isEmpty)
        #expect(!visibility.matches(uses(5)))
        visibility.received(narrowID: 776, changes: [insert(5)])
        #expect(visibility.matches(uses(5)))
        #expect(!visibility.matches(uses(6)))
        #expect(!visibility.matches(uses(5, of: 2)))
        // Committed and in the stream, but it still waits for its standby.
        visibility.snapshotArrived { _ in false }
        #expect(visibility.matches(uses(5)))
        visibility.snapshotArrived { $0 == 776 }
        #expect(visibility.isEmpty)
        #expect(!visibility.matches(uses(5)))
    }

    /// What was committed before the stream began is never received, and new snapshots may not see it yet.
    @Test func untilEveryoneBelowTheFenceHasFinishedEverythingMatches() {
        var visibility = Visibility()
        visibility.rememberAll(below: TransactionID(1000))
        #expect(visibility.matches(uses(5)) && !visibility.isEmpty)
        visibility.snapshotArrived(isFinished: { _ in true }, isEveryoneFinished: { _ in false })
        #expect(visibility.matches(uses(5)))
        visibility.snapshotArrived(isFinished: { _ in false }, isEveryoneFinished: { $0 == TransactionID(1000) })
        #expect(!visibility.matches(uses(5)) && visibility.isEmpty)
    }

    /// What a transaction was written into is handed back with its proof, once.
    @Test func theProofOfATransactionNamesWhatItWasWrittenInto() {
        var visibility = Visibility()
        let entries = (0..<3).map { EntryID(index: $0, generation: 0) }
        visibility.received(
            narrowID: 1, changes: [insert(5)], patches: .init(transaction: 11, entries: Array(entries[..<2])))
        visibility.received(narrowID: 2, changes: [insert(6)], patches: .init(transaction: 12, entries: []))
        visibility.received(narrowID: 3, changes: [insert(7)], patches: .init(transaction: 13, entries: [entries[2]]))
        #expect(visibility.snapshotArrived { $0 == 2 }.patches.isEmpty)
        #expect(
            visibility.snapshotArrived { $0 == 1 }.patches == [.init(transaction: 11, entries: Array(entries[..<2]))])
        #expect(visibility.snapshotArrived { _ in true }.patches == [.init(transaction: 13, entries: [entries[2]])])
        #expect(visibility.isEmpty)
    }

    @Test func eachTransactionIsProvenByItself() {
        var visibility = Visibility()
        visibility.received(narrowID: 1, changes: [insert(5)])
        visibility.received(narrowID: 2, changes: [insert(5), insert(6)])
        visibility.snapshotArrived { $0 == 2 }
        #expect(visibility.matches(uses(5)))
        #expect(!visibility.matches(uses(6)))
    }

    @Test func bothImagesCount() {
        var visibility = Visibility()
        visibility.received(
            narrowID: 1,
            changes: [
                BoundChange(
                    relation: OID(1),
                    extent: .row(
                        old: RowValues(columns: [.value(.integer(1))]),
                        oldKey: RowKey([.integer(1)]),
                        new: RowValues(columns: [.value(.integer(2))])))
            ])
        #expect(visibility.matches(uses(1)))
        #expect(visibility.matches(uses(2)))
        #expect(!visibility.matches(uses(3)))
    }

    @Test func anyUseThatMatchesIsEnough() {
        var visibility = Visibility()
        visibility.received(narrowID: 1, changes: [insert(5, into: 2)])
        #expect(visibility.matches(uses(1) + uses(5, of: 2)))
        #expect(!visibility.matches(uses(1) + uses(6, of: 2)))
    }

    @Test func wholeRelationsMatchEveryUse() {
        var visibility = Visibility()
        visibility.received(narrowID: 1, changes: [insert(5)], whollyChanged: [OID(1)])
        visibility.received(
            narrowID: 2, changes: [BoundChange(relation: OID(2), extent: .whole)])
        #expect(visibility.matches(uses(77)))
        #expect(visibility.matches(uses(77, of: 2)))
        #expect(!visibility.matches(uses(77, of: 3)))
        visibility.snapshotArrived { $0 == 1 }
        #expect(!visibility.matches(uses(77)))
        #expect(visibility.matches(uses(77, of: 2)))
    }

    @Test func overTheBoundARelationCountsAsWhollyChanged() {
        var visibility = Visibility()
        let many = (0..<Int64(Visibility.changesMax)).map { insert($0) }
        visibility.received(narrowID: 1, changes: many)
        #expect(visibility.changeCount == Visibility.changesMax)
        #expect(!visibility.matches(uses(-1)))
        visibility.received(narrowID: 2, changes: [insert(-2), insert(1, into: 3)])
        #expect(visibility.changeCount == Visibility.changesMax)
        #expect(visibility.matches(uses(-1)))
        visibility.snapshotArrived { $0 == 1 }
        #expect(visibility.changeCount == 0)
        #expect(visibility.matches(uses(-1)))
        visibility.snapshotArrived { _ in true }
        #expect(visibility.isEmpty)
    }

    @Test func aTransactionWithoutChangesIsNotKept() {
        var visibility = Visibility()
        visibility.received(narrowID: 1, changes: [])
        #expect(visibility.isEmpty)
    }

    @Test func aChangeOfSchemaMatchesEverythingUntilItsTransactionIsFinished() {
        var visibility = Visibility()
        visibility.rememberAll(narrowID: 9)
        #expect(visibility.matches(uses(1)))
        #expect(visibility.matches([]))
        visibility.snapshotAsked()
        visibility.snapshotArrived { $0 != 9 }
        #expect(visibility.matches([]))
        visibility.snapshotArrived { $0 == 9 }
        #expect(!visibility.matches([]))
    }

    @Test func anEventWithoutATransactionWaitsForASnapshotAskedForLater() {
        var visibility = Visibility()
        visibility.snapshotAsked()
        visibility.rememberAll()
        visibility.snapshotArrived { _ in true }
        #expect(visibility.matches(uses(1)))
        visibility.snapshotAsked()
        visibility.snapshotArrived { _ in true }
        #expect(visibility.isEmpty)
    }
}
