import PGProtocol
import Testing

@testable import Simulation

@Suite struct OriginDatabaseTests {
    // MARK: The beginning

    @Test func theInitialRowsAreOneCommit() {
        let fixture = DatabaseFixture { $0.rowsPerTable = 7 }
        #expect(fixture.database.log.count == 1)
        #expect(fixture.rows(Select.money) == [[.int(7), .int(700)]])
        #expect(fixture.rows(Select.amounts) == [[.int(7), .int(0)]])
        #expect(fixture.rows(Select.all(Table.branch)).count == 7)
        #expect(fixture.rows(Select.all(Table.branch)).first?[1] == .text("b1"))
        let first = fixture.database.log[0]
        #expect(fixture.database.answer(.money, [], at: first.start).rows == [[.int(0), .null]])
        #expect(fixture.database.answer(.money, [], at: first.end).rows == [[.int(7), .int(700)]])
    }

    // MARK: Visibility

    @Test func aCommitIsLoggedBeforeItIsVisible() {
        let fixture = DatabaseFixture()
        let database = fixture.database
        let transaction = database.begin(.readCommitted)
        let before = database.insertLSN
        #expect(fixture.run(.pay(5, to: 1), in: transaction).tag == "UPDATE 1")
        var logged = 0
        database.logged = { logged += 1 }
        var told: LSN?
        database.commit(transaction) { told = $0 }
        #expect(logged == 1 && transaction.state == .logged && told == nil)
        let end = database.log[1].end
        #expect(end > before)
        #expect(fixture.balance(1) == .int(100))
        #expect(database.running.map(\.xid) == [transaction.xid])
        #expect(database.answer(.balance(1), [], at: end).rows == [[.int(105)]])
        #expect(database.answer(.balance(1), [], at: before).rows == [[.int(100)]])
        fixture.settle()
        #expect(told == end && transaction.state == .ended && database.running.isEmpty)
        #expect(fixture.balance(1) == .int(105))
    }

    @Test func aTransactionSeesItsOwnWritesAndNobodyElseDoes() {
        let fixture = DatabaseFixture()
        let transaction = fixture.database.begin(.readCommitted)
        _ = fixture.run(.pay(5, to: 1), in: transaction)
        _ = fixture.run(.pay(5, to: 1), in: transaction)
        _ = fixture.run(.remove(Table.account, 2), in: transaction)
        _ = fixture.run(.open(2, balance: 7), in: transaction)
        #expect(fixture.balance(1, in: transaction) == .int(110))
        #expect(fixture.balance(2, in: transaction) == .int(7))
        #expect(fixture.balance(1) == .int(100))
        #expect(fixture.balance(2) == .int(100))
        // Versions that are not committed have no position.
        guard case .answer(let answer) = fixture.run(.select(.balance(1)), in: transaction) else { return }
        #expect(answer.shown.isEmpty)
        fixture.database.rollback(transaction)
        #expect(fixture.balance(1) == .int(100))
        #expect(fixture.balance(2) == .int(100))
        #expect(fixture.autocommit(.pay(1, to: 2)) == fixture.database.log.last?.end)
    }

    @Test func repeatableReadKeepsItsView() {
        let fixture = DatabaseFixture()
        let transaction = fixture.database.begin(.repeatableRead)
        transaction.view = fixture.database.currentView()
        #expect(fixture.balance(1, in: transaction) == .int(100))
        fixture.autocommit(.pay(5, to: 1))
        fixture.settle()
        #expect(fixture.balance(1) == .int(105))
        #expect(fixture.balance(1, in: transaction) == .int(100))
    }

    @Test func whoRunsAboveTheHighestCompletedNumberIsNotListed() {
        let fixture = DatabaseFixture()
        let database = fixture.database
        let one = database.begin(.readCommitted)
        let two = database.begin(.readCommitted)
        let start = database.currentView()
        #expect(start.lower == start.upper && start.running.isEmpty)
        _ = fixture.run(.pay(1, to: 1), in: one)
        _ = fixture.run(.pay(1, to: 2), in: two)
        guard let first = one.xid, let second = two.xid else { return }
        #expect(first == start.upper && second > first)
        // Both run, and no number behind them is completed.
        #expect(database.currentView() == start)
        let fence = database.commitAlone { .commit(xid: $0, edits: []) }
        let upper = TransactionID(fence.xid.value + 1)
        #expect(database.currentView() == View(lower: first, upper: upper, running: [first, second]))
        #expect(database.currentView().text == "\(first):\(upper):\(first),\(second)")
        database.rollback(one)
        #expect(database.currentView() == View(lower: second, upper: upper, running: [second]))
        #expect(database.currentView().sees(first) && !database.currentView().sees(second))
    }

    @Test func commitsBecomeVisibleInAnotherOrderThanLogged() {
        let fixture = DatabaseFixture(seed: 5) { $0.slowVisibilityPerMille = 500 }
        let database = fixture.database
        var visible: [LSN] = []
        for id in 1...10 {
            let transaction = database.begin(.readCommitted)
            _ = fixture.run(.pay(1, to: Int64(id)), in: transaction)
            database.commit(transaction) { if let end = $0 { visible.append(end) } }
        }
        fixture.settle()
        #expect(visible.count == 10)
        #expect(visible != visible.sorted())
        #expect(visible.sorted() == database.log.dropFirst().map(\.end))
    }

    @Test func nothingBecomesVisibleWhileTheStandbyIsStuck() {
        let fixture = DatabaseFixture()
        let start = fixture.surroundings.scheduler.now
        var moments: [UInt64] = []
        func pay(_ id: Int64) {
            let transaction = fixture.database.begin(.readCommitted)
            _ = fixture.run(.pay(1, to: id), in: transaction)
            fixture.database.commit(transaction) { _ in moments.append(fixture.surroundings.scheduler.now) }
        }
        pay(1)
        fixture.database.stickStandby(for: second)
        #expect(fixture.database.isStandbyStuck)
        pay(2)
        fixture.settle()
        #expect(moments.count == 2)
        #expect(moments.allSatisfy { $0 >= start + second })
        #expect(!fixture.database.isStandbyStuck)
    }

    @Test func aTransactionThatWroteNothingHasNothingToCommit() {
        let fixture = DatabaseFixture()
        let transaction = fixture.database.begin(.readCommitted)
        #expect(fixture.run(.pay(1, to: 999), in: transaction).tag == "UPDATE 0")
        #expect(transaction.xid == nil)
        var told = 0
        fixture.database.commit(transaction) { if $0 == nil { told += 1 } }
        #expect(told == 1 && fixture.database.log.count == 1)
        let other = fixture.database.begin(.readCommitted)
        fixture.database.rollback(other)
        #expect(fixture.database.log.count == 1)
    }

    // MARK: The log

    @Test func aCommitHoldsItsEditsInOrderWithRisingPositions() {
        let fixture = DatabaseFixture()
        let database = fixture.database
        let transaction = database.begin(.readCommitted)
        let other = database.begin(.readCommitted)
        _ = fixture.run(.pay(1, to: 1), in: transaction)
        _ = fixture.run(.remove(Table.entry, 1), in: other)
        _ = fixture.run(.open(99, balance: 0), in: transaction)
        _ = fixture.run(.remove(Table.account, 99), in: transaction)
        database.rollback(other)
        database.commit(transaction) { _ in }
        database.writeOther()
        #expect(database.log.count == 4)
        guard case .rollback(let aborted) = database.log[1].kind,
            case .commit(let xid, let edits) = database.log[2].kind, case .other = database.log[3].kind
        else { return _ = Issue.record("the log is \(database.log.map(\.kind))") }
        #expect(xid == transaction.xid && aborted == other.xid)
        #expect(edits.map(\.table) == [0, 0, 0])
        #expect(edits.map(\.lsn) == edits.map(\.lsn).sorted())
        #expect(Set(edits.map(\.lsn)).count == 3)
        #expect(edits.allSatisfy { $0.lsn < database.log[1].start })
        guard case .update(let old, let new) = edits[0].kind, case .insert(let inserted) = edits[1].kind,
            case .delete(let deleted) = edits[2].kind
        else { return _ = Issue.record("the edits are \(edits.map(\.kind))") }
        #expect(old[2] == .int(100) && new[2] == .int(101))
        #expect(inserted == deleted && inserted[0] == .int(99))
    }

    @Test func truncateEndsEveryRowAsOneEdit() {
        let fixture = DatabaseFixture()
        let before = fixture.database.insertLSN
        let end = fixture.autocommit(.truncate([Table.entry, Table.branch]))
        fixture.settle()
        #expect(fixture.rows(Select.amounts) == [[.int(0), .null]])
        #expect(fixture.database.answer(.amounts, [], at: before).rows == [[.int(12), .int(0)]])
        #expect(fixture.database.row(Table.entry, 1, at: end) == nil)
        guard case .commit(_, let edits)? = fixture.database.log.last?.kind else { return _ = Issue.record() }
        #expect(edits.map(\.table) == [Table.entry, Table.branch])
    }

    // MARK: History

    @Test func everyVersionOfARowIsFound() {
        let fixture = DatabaseFixture()
        let database = fixture.database
        let created = database.log[0].end
        var positions: [LSN] = []
        for _ in 0..<3 {
            positions.append(fixture.autocommit(.pay(1, to: 1)))
            fixture.settle()
        }
        let deleted = fixture.autocommit(.remove(Table.account, 1))
        fixture.settle()
        let again = fixture.autocommit(.open(1, balance: 8))
        #expect(database.row(Table.account, 1, at: created)?.lsn == created)
        for (number, position) in positions.enumerated() {
            let version = database.row(Table.account, 1, at: position)
            #expect(version?.row[2] == .int(101 + Int64(number)) && version?.lsn == position)
        }
        #expect(database.row(Table.account, 1, at: LSN(deleted.value - 1))?.lsn == positions[2])
        #expect(database.row(Table.account, 1, at: deleted) == nil)
        #expect(database.row(Table.account, 1, at: again)?.row[2] == .int(8))
        #expect(database.row(Table.account, 77, at: again) == nil)
        #expect(database.lastChange(Table.account, 1, at: positions[1]) == positions[1])
        #expect(database.lastChange(Table.account, 1, at: deleted) == deleted)
        #expect(database.lastChange(Table.account, 1, at: again) == again)
        #expect(database.lastChange(Table.account, 1, in: database.currentView()) == deleted)
        #expect(database.lastChange(Table.account, 77, at: again) == nil)
    }

    @Test func anAnswerCanBeHadWithOtherRows() {
        let fixture = DatabaseFixture { $0.rowsPerTable = 3 }
        let database = fixture.database
        let position = database.insertLSN
        let row: Row = [.int(2), .null, .int(500), .null]
        let overrides = [
            OriginDatabase.Override(table: Table.account, id: 1, row: nil, lsn: LSN(1)),
            OriginDatabase.Override(table: Table.account, id: 2, row: row, lsn: LSN(2)),
            OriginDatabase.Override(table: Table.entry, id: 1, row: nil, lsn: LSN(3)),
        ]
        #expect(database.answer(.money, [], at: position, overriding: overrides).rows == [[.int(2), .int(600)]])
        #expect(database.answer(.balance(2), [], at: position, overriding: overrides).rows == [[.int(500)]])
        #expect(database.answer(.balance(3), [], at: position, overriding: overrides).rows == [[.int(100)]])
    }

    // MARK: Crash

    @Test func aCrashKeepsWhatIsLoggedAndForgetsWhatRuns() {
        let fixture = DatabaseFixture()
        let database = fixture.database
        let logged = database.begin(.readCommitted)
        let runs = database.begin(.readCommitted)
        _ = fixture.run(.pay(1, to: 1), in: logged)
        _ = fixture.run(.pay(1, to: 2), in: runs)
        var told = 0
        database.commit(logged) { _ in told += 1 }
        database.whenEnded([runs]) { told += 1 }
        database.crash()
        #expect(fixture.balance(1) == .int(101))
        #expect(fixture.balance(2) == .int(100))
        #expect(database.running.isEmpty && database.currentView().running.isEmpty)
        if let xid = runs.xid { #expect(database.currentView().sees(xid)) }
        database.rollback(runs)
        fixture.settle()
        #expect(told == 0)
        #expect(fixture.autocommit(.pay(1, to: 2)) == database.log.last?.end)
    }
}
