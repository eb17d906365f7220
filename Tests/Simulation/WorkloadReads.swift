/// A SELECT that clients share, with the values that its parameters take.
struct PooledSelect: Hashable {
    var select: Select
    /// One vector per use; a single empty one where all values are constants of the text.
    var choices: [[Datum]]

    func bound(_ random: inout Random) -> BoundStatement {
        BoundStatement(.select(select), random.pick(choices))
    }
}

/// Draws SELECTs from templates over the tables of `Table.all`: together they use every part of `Select`.
///
/// Constants come from few values, so that clients ask the same things.
struct SelectTemplates {
    private var random: Random
    private let rows: Int
    /// Values stand in the text, or are parameters with these choices.
    private var hasParameters = false
    private var values: [[Datum]] = []

    init(_ random: Random, rows: Int) {
        self.random = random
        self.rows = rows
    }

    static let states = ["open", "done", "it's held"]
    /// Of the branches that accounts name.
    static let branches: [Datum] = [.int(1), .int(2), .int(3), .int(4)]

    /// So many selects with different texts. Both totals over whole tables, whose answers are known, are always
    /// among them.
    /// - Parameters:
    ///   - byKeyAlone: all others are reads of an account by its key, some with a further condition.
    ///   - prefersLimits: a third has a LIMIT.
    mutating func pool(_ count: Int, byKeyAlone: Bool = false, prefersLimits: Bool = false) -> [PooledSelect] {
        var pool = [
            PooledSelect(select: Select(table: Table.account, output: .totals(Self.own(2))), choices: [[]]),
            PooledSelect(select: Select(table: Table.entry, output: .totals(Self.own(2))), choices: [[]]),
        ]
        var turn = 0
        while pool.count < count {
            let drawn = byKeyAlone ? drawAccount() : draw(prefersLimits && turn % 3 == 0 ? 12 : turn)
            turn += 1
            // The templates give thousands, so this ends.
            if !pool.contains(where: { $0.select == drawn.select }) { pool.append(drawn) }
        }
        return pool
    }

    private mutating func draw(_ turn: Int) -> PooledSelect {
        hasParameters = random.chance(450)
        values = []
        var select: Select
        switch turn % 14 {
        case 0, 1: select = byKey()
        case 2, 3: select = byColumn()
        case 4: select = inList()
        case 5: select = range()
        case 6: select = nullness()
        case 7: select = differing()
        case 8: select = Select(table: random.below(3), output: .columns([]))
        case 9: select = totals()
        case 10: select = innerJoin()
        case 11: select = leftJoin()
        case 12: select = limited()
        default: select = quotient()
        }
        if case .columns = select.output { select.output = .columns(columns(of: select)) }
        return PooledSelect(select: select, choices: choices())
    }

    private mutating func drawAccount() -> PooledSelect {
        hasParameters = random.chance(450)
        values = []
        let key = Condition(column: Self.own(0), test: .equals(operand(keys)))
        var select = Select(table: Table.account, conditions: [key], output: .columns([]))
        if random.chance(400) { select.conditions.append(condition(Table.account)) }
        select.output = .columns(columns(of: select))
        return PooledSelect(select: select, choices: choices())
    }

    // MARK: Values

    private static func own(_ column: Int) -> ColumnReference { ColumnReference(relation: 0, column: column) }
    private static func joined(_ column: Int) -> ColumnReference { ColumnReference(relation: 1, column: column) }

    private mutating func operand(_ from: [Datum]) -> Operand {
        guard hasParameters else { return .constant(random.pick(from)) }
        values.append(from)
        return .parameter(values.count)
    }

    private mutating func choices() -> [[Datum]] {
        guard !values.isEmpty else { return [[]] }
        var choices: [[Datum]] = []
        for _ in 0..<3 {
            let vector = values.map { random.chance(30) ? .null : random.pick($0) }
            if !choices.contains(vector) { choices.append(vector) }
        }
        return choices
    }

    private var keys: [Datum] { (1...rows + 3).map { .int(Int64($0)) } }
    private static let balances: [Datum] = [.int(0), .int(50), .int(90), .int(100), .int(110), .int(150)]
    private static let texts: [Datum] = states.map { .text($0) }

    private mutating func columns(of select: Select) -> [ColumnReference] {
        var all = Table.all[select.table].columns.indices.map(Self.own)
        if let join = select.join { all += Table.all[join.table].columns.indices.map(Self.joined) }
        guard !random.chance(300) else { return all }
        let some = all.filter { _ in random.chance(600) }
        return some.isEmpty ? all : some
    }

    // MARK: Templates

    private mutating func byKey() -> Select {
        Select(
            table: random.below(3), conditions: [Condition(column: Self.own(0), test: .equals(operand(keys)))],
            output: .columns([]))
    }

    /// A condition on a column that is no key, with what it is compared with.
    private mutating func condition(_ table: Int) -> Condition {
        let column: Int, from: [Datum]
        switch (table, random.below(2)) {
        case (Table.account, 0): (column, from) = (1, Self.branches)
        case (Table.account, _): (column, from) = (3, [.text("n1"), .text("n2"), .text("changed")])
        case (Table.entry, 0): (column, from) = (1, keys)
        case (Table.entry, _): (column, from) = (3, Self.texts)
        case (_, 0): (column, from) = (1, [.text("b1"), .text("b2"), .text("renamed")])
        default: (column, from) = (2, [.bool(true), .bool(false)])
        }
        return Condition(column: Self.own(column), test: .equals(operand(from)))
    }

    private mutating func byColumn() -> Select {
        let table = random.below(3)
        return Select(table: table, conditions: [condition(table)], output: .columns([]))
    }

    private mutating func inList() -> Select {
        var operands: [Operand] = []
        switch random.below(3) {
        case 0:
            for _ in 0..<random.within(2...4) { operands.append(operand(keys)) }
            return Select(
                table: random.below(3), conditions: [Condition(column: Self.own(0), test: .among(operands))],
                output: .columns([]))
        case 1:
            for _ in 0..<2 { operands.append(operand(Self.branches)) }
            return Select(
                table: Table.account, conditions: [Condition(column: Self.own(1), test: .among(operands))],
                output: .columns([]))
        default:
            for _ in 0..<2 { operands.append(operand(Self.texts)) }
            return Select(
                table: Table.entry, conditions: [Condition(column: Self.own(3), test: .among(operands))],
                output: .columns([]))
        }
    }

    private mutating func range() -> Select {
        let (table, column, from): (Int, Int, [Datum])
        switch random.below(3) {
        case 0: (table, column, from) = (Table.account, 2, Self.balances)
        case 1: (table, column, from) = (Table.entry, 2, [.int(-20), .int(-5), .int(0), .int(5), .int(20)])
        default: (table, column, from) = (random.below(3), 0, keys)
        }
        let bounds = random.below(3)
        var conditions: [Condition] = []
        if bounds != 0 { conditions.append(Condition(column: Self.own(column), test: .atLeast(operand(from)))) }
        if bounds != 1 { conditions.append(Condition(column: Self.own(column), test: .less(operand(from)))) }
        if random.chance(300) { conditions.append(condition(table)) }
        return Select(table: table, conditions: conditions, output: .columns([]))
    }

    private mutating func nullness() -> Select {
        let (table, column) = random.pick([
            (Table.account, 1), (Table.account, 3), (Table.entry, 1), (Table.entry, 3), (Table.branch, 1),
            (Table.branch, 2),
        ])
        let test: Condition.Test = random.chance(600) ? .isNull : .isNotNull
        return Select(table: table, conditions: [Condition(column: Self.own(column), test: test)], output: .columns([]))
    }

    private mutating func differing() -> Select {
        let (table, column, from) = random.pick([
            (Table.account, 1, Self.branches), (Table.entry, 3, Self.texts), (Table.account, 2, Self.balances),
            (Table.branch, 2, [.bool(true), .bool(false)]),
        ])
        return Select(
            table: table, conditions: [Condition(column: Self.own(column), test: .differs(operand(from)))],
            output: .columns([]))
    }

    private mutating func totals() -> Select {
        if random.chance(500) {
            return Select(
                table: Table.account,
                conditions: [Condition(column: Self.own(1), test: .equals(operand(Self.branches)))],
                output: .totals(Self.own(2)))
        }
        return Select(table: Table.entry, conditions: [condition(Table.entry)], output: .totals(Self.own(2)))
    }

    private mutating func innerJoin() -> Select {
        var select: Select
        if random.chance(500) {
            select = Select(
                table: Table.account, join: Select.Join(kind: .inner, table: Table.branch, left: 1, right: 0),
                output: .columns([]))
            switch random.below(3) {
            case 0: select.conditions = [Condition(column: Self.joined(2), test: .equals(operand([.bool(true)])))]
            case 1: select.conditions = [Condition(column: Self.own(2), test: .atLeast(operand(Self.balances)))]
            default: select.join?.conditions = [Condition(column: Self.joined(1), test: .isNotNull)]
            }
        } else {
            select = Select(
                table: Table.entry, join: Select.Join(kind: .inner, table: Table.account, left: 1, right: 0),
                output: .columns([]))
            switch random.below(3) {
            case 0: select.conditions = [Condition(column: Self.joined(1), test: .equals(operand(Self.branches)))]
            case 1: select.conditions = [Condition(column: Self.own(3), test: .equals(operand(Self.texts)))]
            default: select.conditions = [Condition(column: Self.joined(0), test: .equals(operand(keys)))]
            }
        }
        return select
    }

    /// Branches, whose old images the stream tells, beside accounts, of which ON wants a part.
    private mutating func branchesWithAccounts() -> Select {
        var join = Select.Join(kind: .left, table: Table.account, left: 0, right: 1)
        join.conditions = [Condition(column: Self.own(2), test: .equals(operand([.bool(true), .bool(false)])))]
        var select = Select(table: Table.branch, join: join, output: .columns([]))
        if random.chance(300) { select.conditions = [Condition(column: Self.own(0), test: .less(operand(keys)))] }
        return select
    }

    private mutating func leftJoin() -> Select {
        if random.chance(300) { return branchesWithAccounts() }
        let isEntries = random.chance(500)
        var join = Select.Join(kind: .left, table: isEntries ? Table.account : Table.branch, left: 1, right: 0)
        switch random.below(4) {
        case 0 where isEntries:
            join.conditions = [Condition(column: Self.joined(2), test: .atLeast(operand(Self.balances)))]
        case 0: join.conditions = [Condition(column: Self.joined(2), test: .equals(operand([.bool(true)])))]
        case 1 where isEntries:
            join.conditions = [Condition(column: Self.own(3), test: .equals(operand(Self.texts)))]
        case 1: join.conditions = [Condition(column: Self.own(2), test: .atLeast(operand(Self.balances)))]
        case 2: join.conditions = [Condition(column: Self.joined(1), test: .isNotNull)]
        default: break
        }
        var select = Select(table: isEntries ? Table.entry : Table.account, join: join, output: .columns([]))
        switch random.below(4) {
        case 0: select.conditions = [Condition(column: Self.joined(0), test: .isNull)]
        case 1: select.conditions = [Condition(column: Self.own(0), test: .less(operand(keys)))]
        case 2 where !isEntries:
            select.conditions = [Condition(column: Self.joined(2), test: .differs(operand([.bool(true)])))]
        default: break
        }
        return select
    }

    private mutating func limited() -> Select {
        let table = random.below(3)
        var select = Select(table: table, output: .columns([]), isOrdered: true)
        if random.chance(500) { select.conditions = [condition(table)] }
        if random.chance(700) { select.limit = random.within(1...5) }
        return select
    }

    /// 1000 / balance fails where an account is empty.
    private mutating func quotient() -> Select {
        var select = Select(table: Table.account, output: .quotient(2))
        switch random.below(3) {
        case 0: select.conditions = [Condition(column: Self.own(0), test: .equals(operand(keys)))]
        case 1: select.conditions = [Condition(column: Self.own(1), test: .equals(operand(Self.branches)))]
        default: break
        }
        return select
    }
}
