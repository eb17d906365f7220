import PGProtocol

/// A version of a row that a statement sees, with the end of the commit that made it (`LSN.never`: not committed).
struct VisibleRow {
    var row: Row
    var lsn: LSN
}

/// What a SELECT makes of rows: SQL's semantics as far as the modelled statements go.
///
/// Pure: the rows of both relations are given, each in the order of their keys, and so is the order of the answer.
/// A condition that is NULL is not true, and only true conditions let a row pass (manual, 9.1 and 9.2).
struct Evaluation {
    /// What `Select.Output.quotient` divides.
    static let numerator: Int64 = 1000
    static let divisionByZero = OriginError(state: "22012", message: "division by zero")

    let select: Select
    let parameters: [Datum]
    /// Rows of relation 0, and of relation 1 (empty without a join), by their keys.
    let first: [VisibleRow]
    let second: [VisibleRow]

    private var answer = Answer()
    private var isShown: (first: [Bool], second: [Bool])
    private var count: Int64 = 0
    private var sum: Int64?

    private init(_ select: Select, _ parameters: [Datum], _ first: [VisibleRow], _ second: [VisibleRow]) {
        self.select = select
        self.parameters = parameters
        self.first = first
        self.second = second
        isShown = (
            Array(repeating: false, count: first.count), Array(repeating: false, count: second.count)
        )
    }

    static func answer(
        _ select: Select, _ parameters: [Datum], first: [VisibleRow], second: [VisibleRow]
    ) -> Answer {
        var evaluation = Evaluation(select, parameters, first, second)
        evaluation.run()
        return evaluation.answer
    }

    /// The keys that rows of relation 0 must have, ascending; nil where no condition names them.
    static func keys(_ conditions: [Condition], _ parameters: [Datum]) -> [Int64]? {
        for condition in conditions where condition.column == ColumnReference(relation: 0, column: 0) {
            let operands: [Operand]
            switch condition.test {
            case .equals(let operand): operands = [operand]
            case .among(let list): operands = list
            case .differs, .less, .atLeast, .isNull, .isNotNull: continue
            }
            var keys: [Int64] = []
            for operand in operands {
                if case .int(let key) = operand.value(parameters), !keys.contains(key) { keys.append(key) }
            }
            return keys.sorted()
        }
        return nil
    }

    // MARK: Rows

    private mutating func run() {
        if select.limit != 0 || isTotals {
            let whereFirst = select.conditions.filter { $0.column.relation == 0 }
            for place in first.indices where Condition.areTrue(whereFirst, first[place].row, parameters) {
                guard join(place) else { break }
            }
        }
        guard isTotals else { return }
        if select.limit == 0 {
            answer = Answer()
        } else {
            answer.rows = [[.int(count), sum.map { .int($0) } ?? .null]]
        }
    }

    private var isTotals: Bool {
        if case .totals = select.output { return true }
        return false
    }

    /// Produces the rows of the result that come of one row of relation 0; false when there are to be no more.
    private mutating func join(_ place: Int) -> Bool {
        guard let join = select.join else { return produce(place, nil) }
        let left = first[place].row
        var hasPartner = false
        let isJoinable = join.conditions.allSatisfy { $0.column.relation == 1 || $0.isTrue(left, parameters) }
        if isJoinable, left[join.left] != .null {
            for other in partners(of: left[join.left], join.right) {
                let right = second[other].row
                guard Datum.equal(left[join.left], right[join.right]) == true,
                    join.conditions.allSatisfy({ $0.column.relation == 0 || $0.isTrue(right, parameters) })
                else { continue }
                hasPartner = true
                guard isWanted(right) else { continue }
                guard produce(place, other) else { return false }
            }
        }
        guard join.kind == .left, !hasPartner else { return true }
        // A row of NULLs stands in for the partner.
        guard isWanted(Array(repeating: .null, count: Table.all[join.table].columns.count)) else { return true }
        return produce(place, nil)
    }

    /// WHERE as far as it looks at relation 1.
    private func isWanted(_ right: Row) -> Bool {
        select.conditions.allSatisfy { $0.column.relation == 0 || $0.isTrue(right, parameters) }
    }

    /// Where in relation 1 rows with this value can be: at one place when it is the key.
    private func partners(of value: Datum, _ column: Int) -> Range<Int> {
        guard column == 0, case .int(let key) = value else { return second.indices }
        var low = 0
        var high = second.count
        while low < high {
            let middle = (low + high) / 2
            if case .int(let other) = second[middle].row[0], other < key { low = middle + 1 } else { high = middle }
        }
        return low..<min(low + 1, second.count)
    }

    private mutating func produce(_ place: Int, _ other: Int?) -> Bool {
        switch select.output {
        case .columns(let references):
            answer.rows.append(
                references.map { reference in
                    reference.relation == 0
                        ? first[place].row[reference.column]
                        : other.map { second[$0].row[reference.column] } ?? .null
                })
        case .totals(let reference):
            count += 1
            let value =
                reference.relation == 0
                ? first[place].row[reference.column] : other.map { second[$0].row[reference.column] } ?? .null
            if case .int(let number) = value { sum = (sum ?? 0) + number }
        case .quotient(let column):
            switch first[place].row[column] {
            case .int(0):
                answer.error = Self.divisionByZero
                return false
            case .int(let divisor):
                answer.rows.append([first[place].row[0], .int(Self.numerator / divisor)])
            case .null, .bool, .text, .date, .bytes: answer.rows.append([first[place].row[0], .null])
            }
        }
        show(place, other)
        guard let limit = select.limit, !isTotals else { return true }
        return answer.rows.count < limit
    }

    private mutating func show(_ place: Int, _ other: Int?) {
        if !isShown.first[place] {
            isShown.first[place] = true
            note(first[place], select.table)
        }
        if let other, let join = select.join, !isShown.second[other] {
            isShown.second[other] = true
            note(second[other], join.table)
        }
    }

    private mutating func note(_ row: VisibleRow, _ table: Int) {
        guard row.lsn != .never, case .int(let id) = row.row[0] else { return }
        answer.shown.append(Answer.Shown(table: table, id: id, lsn: row.lsn))
    }
}

// MARK: - Three-valued logic

extension Operand {
    func value(_ parameters: [Datum]) -> Datum {
        switch self {
        case .constant(let datum): datum
        case .parameter(let number): parameters[number - 1]
        }
    }
}

extension Condition {
    static func areTrue(_ conditions: [Condition], _ row: Row, _ parameters: [Datum]) -> Bool {
        conditions.allSatisfy { $0.isTrue(row, parameters) }
    }

    /// Over a row of the relation that the condition is on.
    func isTrue(_ row: Row, _ parameters: [Datum]) -> Bool {
        test.truth(of: row[column.column], parameters) == true
    }
}

extension Condition.Test {
    /// True, false, or nil: unknown.
    func truth(of value: Datum, _ parameters: [Datum]) -> Bool? {
        switch self {
        case .equals(let operand): return Datum.equal(value, operand.value(parameters))
        case .differs(let operand): return Datum.equal(value, operand.value(parameters)).map { !$0 }
        case .less(let operand): return Datum.less(value, operand.value(parameters))
        case .atLeast(let operand): return Datum.less(value, operand.value(parameters)).map { !$0 }
        case .isNull: return value == .null
        case .isNotNull: return value != .null
        case .among(let operands):
            var truth: Bool? = false
            for operand in operands {
                switch Datum.equal(value, operand.value(parameters)) {
                case true?: return true
                case nil: truth = nil
                case false?: break
                }
            }
            return truth
        }
    }
}

extension Datum {
    /// `left = right`; nil: unknown.
    static func equal(_ left: Datum, _ right: Datum) -> Bool? {
        switch (left, right) {
        case (.null, _), (_, .null): return nil
        case (.int(let left), .int(let right)): return left == right
        case (.text(let left), .text(let right)): return left.utf8.elementsEqual(right.utf8)
        case (.bool(let left), .bool(let right)): return left == right
        case (.date(let left), .date(let right)): return left == right
        case (.bytes(let left), .bytes(let right)): return left == right
        case (.int, _), (.text, _), (.bool, _), (.date, _), (.bytes, _):
            preconditionFailure("values that are compared are of one type")
        }
    }

    /// `left < right`; nil: unknown. Text compares by its bytes, as under the collation C.
    static func less(_ left: Datum, _ right: Datum) -> Bool? {
        switch (left, right) {
        case (.null, _), (_, .null): return nil
        case (.int(let left), .int(let right)): return left < right
        case (.text(let left), .text(let right)): return left.utf8.lexicographicallyPrecedes(right.utf8)
        case (.bool(let left), .bool(let right)): return !left && right
        case (.date(let left), .date(let right)): return left < right
        case (.bytes(let left), .bytes(let right)): return left.lexicographicallyPrecedes(right)
        case (.int, _), (.text, _), (.bool, _), (.date, _), (.bytes, _):
            preconditionFailure("values that are compared are of one type")
        }
    }
}
