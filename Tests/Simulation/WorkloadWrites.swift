/// Draws writes that keep what every reader may rely on: the sum of all balances, and that entries sum to zero.
///
/// Accounts 1 to `rows` are never removed, and their balances change only by transfers: two statements that
/// belong into one transaction, next to each other. Accounts above are made with nothing in them and stay so.
/// Entries come and go in pairs (2k-1, 2k) with opposite amounts, in one statement. Everything else is changed
/// freely, also to null; ids come from small ranges, so that conflicts, duplicate keys and statements that find
/// no row happen.
struct WriteTemplates {
    let rows: Int
    var noteBytes = 8
    /// The table that nearly all changes are of, by its number: answers over the others live long.
    var favourite: Int?

    /// A change: one statement, or some that must be in one transaction.
    func draw(_ random: inout Random) -> [BoundStatement] {
        if random.chance(300), isWanted(Table.account, &random) { return transfer(&random) }
        return [single(&random)]
    }

    func isWanted(_ table: Int, _ random: inout Random) -> Bool {
        favourite == nil || favourite == table || random.chance(30)
    }

    /// The ranges of `single` that change a table.
    private static let kinds = [
        Table.account: [38..<56, 94..<99], Table.entry: [0..<38, 56..<74], Table.branch: [74..<94],
    ]

    /// A change that is right alone.
    func single(_ random: inout Random) -> BoundStatement {
        let statement: Statement
        var kind = random.below(100)
        if let favourite, let kinds = Self.kinds[favourite], !random.chance(30) {
            let kinds = kinds.flatMap { Array($0) }
            kind = random.pick(kinds)
        }
        switch kind {
        case ..<20: statement = insertPair(&random)
        case ..<38: statement = deletePair(&random)
        case ..<56: statement = updateAccount(&random)
        case ..<74: statement = updateEntry(&random)
        case ..<86: statement = updateBranch(&random)
        case ..<91: statement = insertBranch(&random)
        case ..<94: statement = deleteBranch(&random)
        case ..<97: statement = .insert(Insert(table: Table.account, rows: [emptyAccount(&random)]))
        case ..<99: statement = .delete(Delete(table: Table.account, conditions: [key(surplus(&random))]))
        default:
            // One in a thousand writes or so.
            statement = random.chance(100) ? .truncate([Table.entry]) : updateEntry(&random)
        }
        let bound = BoundStatement(statement)
        return random.chance(500) ? bound.lifted : bound
    }

    // MARK: Money

    /// From one account to another, in the order of a draw: two that cross can deadlock.
    func transfer(_ random: inout Random) -> [BoundStatement] {
        // Often between the same few, so that they meet.
        let accounts = random.chance(700) ? min(3, rows) : rows
        let from = random.within(1...accounts)
        let to = 1 + (from - 1 + random.within(1...accounts - 1)) % accounts
        let amount = Int64(random.pick([1, 5, 10, 50, 100]))
        let hasParameters = random.chance(500)
        return [(from, -amount), (to, amount)].map { id, change in
            let statement = Statement.update(
                Update(
                    table: Table.account, assignments: [.add(2, .constant(.int(change)))],
                    conditions: [key(Int64(id))]))
            return hasParameters ? BoundStatement(statement).lifted : BoundStatement(statement)
        }
    }

    private func insertPair(_ random: inout Random) -> Statement {
        let first = pair(&random)
        let amount = Int64(random.within(1...30))
        func row(_ id: Int64, _ amount: Int64) -> [Operand] {
            [int(id), account(&random), int(amount), state(&random)]
        }
        return .insert(Insert(table: Table.entry, rows: [row(first, amount), row(first + 1, -amount)]))
    }

    private func deletePair(_ random: inout Random) -> Statement {
        let first = pair(&random)
        let ids = Condition(column: own(0), test: .among([int(first), int(first + 1)]))
        return .delete(Delete(table: Table.entry, conditions: [ids]))
    }

    private func emptyAccount(_ random: inout Random) -> [Operand] {
        // An id that is taken, at times: a duplicate key.
        let id = random.chance(200) ? Int64(random.within(1...rows)) : surplus(&random)
        return [int(id), branch(&random), int(0), note(&random)]
    }

    // MARK: What may be anything

    private func updateAccount(_ random: inout Random) -> Statement {
        var assignments: [Update.Assignment] = []
        if random.chance(600) { assignments.append(.set(1, branch(&random))) }
        if assignments.isEmpty || random.chance(400) { assignments.append(.set(3, note(&random))) }
        return .update(
            Update(table: Table.account, assignments: assignments, conditions: [someAccounts(&random)]))
    }

    private func someAccounts(_ random: inout Random) -> Condition {
        switch random.below(10) {
        case 0: Condition(column: own(1), test: .equals(.constant(random.pick(SelectTemplates.branches))))
        case 1: Condition(column: own(1), test: .isNull)
        default: key(Int64(random.within(1...rows + 3)))
        }
    }

    private func updateEntry(_ random: inout Random) -> Statement {
        var assignments: [Update.Assignment] = []
        if random.chance(600) { assignments.append(.set(3, state(&random))) }
        if assignments.isEmpty || random.chance(300) { assignments.append(.set(1, account(&random))) }
        let condition: Condition
        switch random.below(10) {
        case 0: condition = Condition(column: own(3), test: .isNull)
        case 1: condition = Condition(column: own(1), test: .equals(int(Int64(random.within(1...rows)))))
        default: condition = key(Int64(random.within(1...rows + 8)))
        }
        return .update(Update(table: Table.entry, assignments: assignments, conditions: [condition]))
    }

    private func updateBranch(_ random: inout Random) -> Statement {
        var assignments: [Update.Assignment] = []
        if random.chance(500) { assignments.append(.set(1, name(&random))) }
        if assignments.isEmpty || random.chance(500) { assignments.append(.set(2, open(&random))) }
        return .update(
            Update(
                table: Table.branch, assignments: assignments,
                conditions: [key(Int64(random.within(1...min(6, rows))))]))
    }

    private func insertBranch(_ random: inout Random) -> Statement {
        let id = Int64(random.within(1...rows + 4))
        return .insert(Insert(table: Table.branch, rows: [[int(id), name(&random), open(&random)]]))
    }

    private func deleteBranch(_ random: inout Random) -> Statement {
        .delete(Delete(table: Table.branch, conditions: [key(Int64(random.within(1...rows + 4)))]))
    }

    // MARK: Values

    private func own(_ column: Int) -> ColumnReference { ColumnReference(relation: 0, column: column) }
    private func int(_ value: Int64) -> Operand { .constant(.int(value)) }
    private func key(_ id: Int64) -> Condition { Condition(column: own(0), test: .equals(int(id))) }
    /// The odd id of a pair of entries.
    private func pair(_ random: inout Random) -> Int64 { Int64(2 * random.below(rows / 2 + 4) + 1) }
    private func surplus(_ random: inout Random) -> Int64 { Int64(rows + random.within(1...4)) }

    private func branch(_ random: inout Random) -> Operand {
        .constant(random.chance(150) ? .null : random.pick(SelectTemplates.branches))
    }
    private func account(_ random: inout Random) -> Operand {
        random.chance(150) ? .constant(.null) : int(Int64(random.within(1...rows)))
    }
    private func state(_ random: inout Random) -> Operand {
        .constant(random.chance(200) ? .null : .text(random.pick(SelectTemplates.states)))
    }
    private func note(_ random: inout Random) -> Operand {
        .constant(random.chance(200) ? .null : .text(random.pick(["n1", "n2", "changed", longNote])))
    }
    private var longNote: String { String(repeating: "n", count: noteBytes) }
    private func name(_ random: inout Random) -> Operand {
        .constant(random.chance(150) ? .null : .text(random.pick(["b1", "b2", "renamed"])))
    }
    private func open(_ random: inout Random) -> Operand {
        .constant(random.chance(150) ? .null : .bool(random.chance(500)))
    }
}
