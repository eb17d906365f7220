import PGProtocol
import Testing

@testable import Simulation

@Suite struct OriginDatabaseLogTests {
    @Test func recordsStepOverPageHeaders() {
        var parameters = Parameters(seed: 1)
        var endsOnPage = 0
        var crossings = 0
        var longHeaders = 0
        for seed in 0..<8 {
            parameters.seed = UInt64(seed)
            var log = LogEnd(Surroundings(parameters: parameters))
            for _ in 0..<8000 {
                let before = log.end
                let insert = log.next
                let (start, end) = log.append()
                #expect(start == insert && end > start && log.end == end)
                if before.value % 8192 == 0 {
                    let isSegment = before.value % (16 << 20) == 0
                    #expect(start.value == before.value + (isSegment ? 40 : 24))
                    #expect(start.withoutPageHeader == before)
                    endsOnPage += 1
                    longHeaders += isSegment ? 1 : 0
                } else {
                    #expect(start == before)
                }
                // No record begins or ends inside of a header.
                #expect(start.value % 8192 >= 24 && (end.value % 8192 == 0 || end.value % 8192 > 24))
                let crosses = (end.value - 1) / 8192 != start.value / 8192
                if crosses { crossings += 1 }
                #expect(end.value - start.value <= (crosses ? 64 : 24))
            }
        }
        #expect(endsOnPage > 20 && crossings > 20 && longHeaders > 0)
    }

    @Test func numbersOfTransactionsSkipTheReservedOnes() {
        var hasWrapped = false
        for seed in 0..<20 {
            let fixture = DatabaseFixture(seed: UInt64(seed))
            var last = TransactionID(0)
            for _ in 0..<300 {
                let (xid, _) = fixture.database.commitAlone { .publication(xid: $0) }
                #expect(xid > last && xid.value & 0xFFFF_FFFF >= 3)
                last = xid
                #expect(fixture.database.currentView().upper > xid)
                #expect(fixture.database.currentView().upper.value & 0xFFFF_FFFF >= 3)
            }
            if last.value > 1 << 32 { hasWrapped = true }
        }
        #expect(hasWrapped)
    }

    /// Tables as the log's edits make them, for whom commits in `wanted` are there.
    private func replayed(
        _ log: [LogRecord], _ wanted: (LogRecord, TransactionID) -> Bool
    ) -> [[Int64: Row]] {
        var tables = Table.all.map { _ in [Int64: Row]() }
        for record in log {
            guard case .commit(let xid, let edits) = record.kind, wanted(record, xid) else { continue }
            for edit in edits {
                switch edit.kind {
                case .insert(let row), .update(_, new: let row):
                    if case .int(let id) = row[0] { tables[edit.table][id] = row }
                case .delete(let row):
                    if case .int(let id) = row[0] { tables[edit.table][id] = nil }
                case .truncate: tables[edit.table] = [:]
                case .schemaMessage: break
                }
            }
        }
        return tables
    }

    /// Clients that move money, in the steps of their transactions, all at once; and what they see.
    private final class Bank {
        let fixture: DatabaseFixture
        var random: Random
        var states: [String: Int] = [:]
        var looks: [(view: View, tables: [[Row]])] = []

        init(_ fixture: DatabaseFixture, seed: UInt64) {
            self.fixture = fixture
            random = Random(seed: seed, "bank")
        }
        var scheduler: Scheduler { fixture.surroundings.scheduler }

        func transfer(_ left: Int) {
            guard left > 0 else { return }
            let isolation: Statement.Isolation = random.chance(300) ? .repeatableRead : .readCommitted
            let transaction = fixture.database.begin(isolation)
            if isolation == .repeatableRead { transaction.view = fixture.database.currentView() }
            let ids = (0..<2).map { _ in Int64(random.within(1...6)) }
            let amount = Int64(random.within(1...9))
            var statements: [Statement] = [.pay(amount, to: ids[0]), .pay(-amount, to: ids[1])]
            switch random.below(12) {
            case 0: statements.append(.truncate([Table.entry]))
            case 1...4: statements.append(.remove(Table.entry, Int64(random.within(1...12))))
            case 5...7:
                let id = Int64(random.within(1...12))
                statements.append(
                    .insert(
                        Insert(
                            table: Table.entry,
                            rows: [
                                [.constant(.int(id)), .constant(.null), .constant(.int(0)), .constant(.text("open"))]
                            ])))
            default: break
            }
            if random.chance(100) { statements.reverse() }
            run(statements[...], transaction, left)
        }

        private func run(_ statements: ArraySlice<Statement>, _ transaction: Transaction, _ left: Int) {
            let pause = UInt64(random.below(100_000))
            guard let statement = statements.first else {
                let isCommitted = random.chance(900)
                states[isCommitted ? "commit" : "rollback", default: 0] += 1
                if isCommitted {
                    return fixture.database.commit(transaction) { [self] _ in
                        scheduler.after(pause) { self.transfer(left - 1) }
                    }
                }
                fixture.database.rollback(transaction)
                return scheduler.after(pause) { [self] in transfer(left - 1) }
            }
            look()
            switch fixture.run(statement, in: transaction) {
            case .waits(for: let other):
                states["waits", default: 0] += 1
                fixture.database.whenEnded([other]) { [self] in run(statements, transaction, left) }
            case .failed(let error):
                states[error.state, default: 0] += 1
                fixture.database.rollback(transaction)
                scheduler.after(pause) { [self] in transfer(left - 1) }
            case .changed, .answer:
                scheduler.after(pause) { [self] in run(statements.dropFirst(), transaction, left) }
            }
        }

        /// What somebody would see now; money is all there.
        func look() {
            let tables = Table.all.indices.map { fixture.rows(.all($0)) }
            #expect(fixture.rows(.money) == [[.int(12), .int(1200)]])
            looks.append((fixture.database.currentView(), tables))
        }
    }

    private func bank(seed: UInt64) -> Bank {
        let bank = Bank(DatabaseFixture(seed: seed) { $0.slowVisibilityPerMille = 100 }, seed: seed)
        for number in 0..<8 { bank.scheduler.after(UInt64(number) * 1000) { bank.transfer(30) } }
        bank.fixture.settle()
        bank.look()
        return bank
    }

    @Test func everyViewShowsTheCommitsThatItSeesAndNoOthers() {
        for seed in 0..<3 {
            let bank = bank(seed: UInt64(seed))
            let database = bank.fixture.database
            #expect(database.running.isEmpty)
            for look in bank.looks where look.view.upper.value % 4 == 0 {
                let tables = replayed(database.log) { _, xid in look.view.sees(xid) }
                for (number, rows) in look.tables.enumerated() {
                    #expect(rows == tables[number].sorted { $0.key < $1.key }.map(\.value))
                }
            }
            // Every kind of thing has happened.
            for state in ["commit", "rollback", "waits", "40001", "40P01", "23505"] {
                #expect(bank.states[state, default: 0] > 0, "\(state)")
            }
        }
    }

    @Test func everyPositionShowsTheCommitsUpToItAndMoneyIsAllThere() {
        let bank = bank(seed: 7)
        let database = bank.fixture.database
        for (number, record) in database.log.enumerated() where number % 5 == 0 {
            let tables = replayed(database.log) { other, _ in other.end <= record.end }
            for table in Table.all.indices {
                let rows = tables[table].sorted { $0.key < $1.key }.map(\.value)
                #expect(database.answer(.all(table), [], at: record.end).rows == rows)
            }
            #expect(database.answer(.money, [], at: record.end).rows == [[.int(12), .int(1200)]])
        }
        // When nothing is on its way, a view and the end of the log are the same.
        for table in Table.all.indices {
            #expect(bank.fixture.rows(.all(table)) == database.answer(.all(table), [], at: database.insertLSN).rows)
        }
    }

    @Test func theSameSeedIsTheSameHistory() {
        let one = bank(seed: 11)
        let other = bank(seed: 11)
        #expect(one.states == other.states)
        #expect(one.looks.map(\.view) == other.looks.map(\.view))
        #expect(one.fixture.database.log.map(\.end) == other.fixture.database.log.map(\.end))
        #expect(one.fixture.surroundings.scheduler.now == other.fixture.surroundings.scheduler.now)
    }
}
