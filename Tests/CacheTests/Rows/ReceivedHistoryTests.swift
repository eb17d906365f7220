import CDC
import PGProtocol
import Testing

@testable import Cache

/// What a copy that begins may not see, and when that is not known row by row.
@Suite struct ReceivedHistoryTests {
    private static let relation = OID(16_400)

    private func transaction(_ number: UInt32, _ kind: RowChange.Kind = .insert(new: [])) -> SourceTransaction {
        SourceTransaction(
            narrowID: number, endLSN: LSN(UInt64(number)), commitMicroseconds: 0,
            changes: [RowChange(relation: Self.relation, kind: kind)])
    }
    private let row = [
        BoundChange(relation: relation, extent: .row(old: nil, oldKey: nil, new: RowValues(columns: [])))
    ]

    @Test func itIsKeptUntilASnapshotShowsTheOldestFinished() {
        var history = ReceivedHistory()
        history.received(transaction(1), row)
        history.received(transaction(2), row)
        #expect(history.isReplayable(Self.relation))
        history.proven { $0 == 2 }
        #expect(history.received.map(\.narrowID) == [1, 2])
        history.proven { $0 == 1 }
        #expect(history.received.isEmpty)
    }

    @Test func whatWasMissedCannotBeReplayed() {
        var history = ReceivedHistory()
        history.received(transaction(1), row)
        // There was no cache database: nobody has kept it, and what came before is of no use without it.
        history.missed(transaction(2))
        #expect(history.received.isEmpty && !history.isReplayable(Self.relation))
        history.received(transaction(3), row)
        #expect(!history.isReplayable(Self.relation))
        history.allVisible()
        #expect(history.isReplayable(Self.relation))
    }

    @Test func aTruncateIsNotReplayed() {
        var history = ReceivedHistory()
        history.received(transaction(1, .truncate), [BoundChange(relation: Self.relation, extent: .whole)])
        #expect(!history.isReplayable(Self.relation) && history.isReplayable(OID(1)))
    }
}
