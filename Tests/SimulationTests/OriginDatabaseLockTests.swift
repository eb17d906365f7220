import PGProtocol
import Testing

@testable import Simulation

@Suite struct OriginDatabaseLockTests {
    let fixture = DatabaseFixture()
    var database: OriginDatabase { fixture.database }

    // MARK: Waiting

    @Test func aRowThatAnotherChangedIsWaitedForUntilItsCommitIsVisible() {
        let one = database.begin(.readCommitted)
        let two = database.begin(.readCommitted)
        _ = fixture.run(.pay(5, to: 1), in: one)
        #expect(fixture.run(.pay(7, to: 1), in: two).blocker === one)
        database.commit(one) { _ in }
        #expect(fixture.run(.pay(7, to: 1), in: two).blocker === one)
        var tag: String?
        database.whenEnded([one]) { tag = fixture.run(.pay(7, to: 1), in: two).tag }
        fixture.settle()
        #expect(tag == "UPDATE 1")
        #expect(fixture.balance(1, in: two) == .int(112))
    }

    @Test func whoWaitsHasDoneNothing() {
        let one = database.begin(.readCommitted)
        let two = database.begin(.readCommitted)
        _ = fixture.run(.pay(5, to: 3), in: one)
        let all = Statement.update(
            Update(table: Table.account, assignments: [.set(3, .constant(.text("x")))], conditions: []))
        #expect(fixture.run(all, in: two).blocker === one)
        #expect(two.xid == nil)
        let three = database.begin(.readCommitted)
        #expect(fixture.run(.pay(1, to: 1), in: three).tag == "UPDATE 1")
    }

    @Test func aRollbackLetsOthersGoOnFromAnEventOfItsOwn() {
        let one = database.begin(.readCommitted)
        let two = database.begin(.readCommitted)
        _ = fixture.run(.remove(Table.account, 1), in: one)
        #expect(fixture.run(.open(1, balance: 3), in: two).blocker === one)
        var told = 0
        database.whenEnded([one, two]) { told += 1 }
        database.whenEnded([one]) { told += 10 }
        database.rollback(one)
        #expect(told == 0)
        fixture.settle()
        #expect(told == 10)
        #expect(fixture.run(.open(1, balance: 3), in: two).state == "23505")
        database.rollback(two)
        fixture.settle()
        #expect(told == 11)
        database.whenEnded([one, two]) { told += 100 }
        #expect(told == 111)
    }

    @Test func anInsertedRowIsInTheWayOfTheSameIdOnly() {
        let one = database.begin(.readCommitted)
        let two = database.begin(.readCommitted)
        _ = fixture.run(.open(50, balance: 0), in: one)
        #expect(fixture.run(.open(50, balance: 0), in: two).blocker === one)
        // Nobody else sees it, so there is nothing to change.
        #expect(fixture.run(.remove(Table.account, 50), in: two).tag == "DELETE 0")
        #expect(fixture.run(.open(51, balance: 0), in: two).tag == "INSERT 0 1")
        #expect(fixture.run(.open(50, balance: 0), in: one).state == "23505")
    }

    @Test func truncateWaitsForWritersAndTheyForIt() {
        let one = database.begin(.readCommitted)
        let two = database.begin(.readCommitted)
        let three = database.begin(.readCommitted)
        _ = fixture.run(.pay(5, to: 1), in: one)
        #expect(fixture.run(.truncate([Table.entry, Table.account]), in: two).blocker === one)
        #expect(fixture.run(.truncate([Table.entry]), in: two).tag == "TRUNCATE TABLE")
        #expect(fixture.run(.remove(Table.entry, 1), in: three).blocker === two)
        #expect(fixture.run(.truncate([Table.entry]), in: three).blocker === two)
        let insert = Insert(
            table: Table.entry, rows: [[.constant(.int(1)), .constant(.null), .constant(.int(0)), .constant(.null)]])
        #expect(fixture.run(.insert(insert), in: three).blocker === two)
        #expect(fixture.run(.insert(insert), in: two).tag == "INSERT 0 1")
        database.rollback(two)
        #expect(fixture.rows(Select.amounts) == [[.int(12), .int(0)]])
        #expect(fixture.run(.remove(Table.entry, 1), in: three).tag == "DELETE 1")
    }

    // MARK: Deadlock

    @Test func aWaitThatWouldCloseACircleFails() {
        let all = (0..<3).map { _ in database.begin(.readCommitted) }
        for (number, transaction) in all.enumerated() {
            _ = fixture.run(.pay(1, to: Int64(number) + 1), in: transaction)
        }
        #expect(fixture.run(.pay(1, to: 2), in: all[0]).blocker === all[1])
        #expect(fixture.run(.pay(1, to: 3), in: all[1]).blocker === all[2])
        #expect(fixture.run(.pay(1, to: 1), in: all[2]).state == "40P01")
        database.rollback(all[2])
        #expect(fixture.run(.pay(1, to: 3), in: all[1]).tag == "UPDATE 1")
    }

    @Test func whoGaveUpWaitingIsInNobodysWay() {
        let one = database.begin(.readCommitted)
        let two = database.begin(.readCommitted)
        _ = fixture.run(.pay(1, to: 1), in: one)
        _ = fixture.run(.pay(1, to: 2), in: two)
        #expect(fixture.run(.pay(1, to: 2), in: one).blocker === two)
        database.stopWaiting(one)
        #expect(fixture.run(.pay(1, to: 1), in: two).blocker === one)
    }

    // MARK: Conflicts

    @Test func repeatableReadFailsOnWhatChangedBehindItsView() {
        let transaction = database.begin(.repeatableRead)
        transaction.view = database.currentView()
        fixture.autocommit(.pay(5, to: 1))
        fixture.autocommit(.remove(Table.account, 2))
        #expect(fixture.run(.pay(1, to: 1), in: transaction).blocker != nil)
        fixture.settle()
        #expect(fixture.run(.pay(1, to: 1), in: transaction).state == "40001")
        #expect(fixture.run(.remove(Table.account, 2), in: transaction).state == "40001")
        #expect(fixture.run(.pay(1, to: 3), in: transaction).tag == "UPDATE 1")
    }

    @Test func readCommittedTakesTheNewestVersionIfItIsStillMeant() {
        let rich = Condition.a(2, .atLeast(.constant(.int(100))))
        let update = Statement.update(
            Update(
                table: Table.account, assignments: [.add(2, .constant(.int(-100)))],
                conditions: [.a(0, .less(.constant(.int(5)))), rich]))
        let view = database.currentView()
        fixture.autocommit(.pay(1, to: 1))
        fixture.autocommit(.pay(-1, to: 2))
        fixture.autocommit(.remove(Table.account, 3))
        fixture.settle()
        fixture.autocommit(.open(3, balance: 100))
        fixture.settle()
        let transaction = database.begin(.readCommitted)
        // 1 grew, 2 is poor, 3 is another row by now, 4 is as it was.
        #expect(database.run(update, [], in: transaction, view: view).tag == "UPDATE 2")
        #expect(fixture.balance(1, in: transaction) == .int(1))
        #expect(fixture.balance(2, in: transaction) == .int(99))
        #expect(fixture.balance(3, in: transaction) == .int(100))
        #expect(fixture.balance(4, in: transaction) == .int(0))
    }

    // MARK: Refusals

    @Test func rowsThatBreakARuleAreRefused() {
        let transaction = database.begin(.readCommitted)
        let noBalance = Insert(
            table: Table.account, rows: [[.parameter(1), .constant(.null), .parameter(2), .constant(.null)]])
        #expect(fixture.run(.insert(noBalance), [.int(70), .null], in: transaction).state == "23502")
        #expect(fixture.run(.insert(noBalance), [.null, .int(1)], in: transaction).state == "23502")
        #expect(fixture.run(.insert(noBalance), [.int(1), .int(1)], in: transaction).state == "23505")
        #expect(fixture.run(.pay(1 << 31, to: 1), in: transaction).state == "22003")
        let twice = Insert(table: Table.account, rows: noBalance.rows + noBalance.rows)
        #expect(fixture.run(.insert(twice), [.int(70), .int(1)], in: transaction).state == "23505")
        let clear = Update(table: Table.account, assignments: [.set(2, .constant(.null))], conditions: [.id(1)])
        #expect(fixture.run(.update(clear), in: transaction).state == "23502")
        #expect(fixture.rows(Select.money, in: transaction) == [[.int(12), .int(1200)]])
    }
}
