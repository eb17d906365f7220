import Mutation
import PGProtocol

/// The rows of one relation that satisfy all of some constraints; without any, the whole relation.
///
/// A fragment is *complete* when every row of the origin that satisfies it is in the relation's pool. Constraints are
/// what a query's uses say of the rows that matter [I1]: since no other row can alter its answer, a query can be
/// answered from pools exactly if each of its uses lies in complete fragments. That holds for negation, too, and for
/// the nullable sides of joins, whose uses are constrained only where a row that is left out could not be missed.
struct Fragment: Equatable, Sendable {
    let relation: OID
    /// All of different columns, or of one column where they say different things.
    let constraints: [BoundConstraint]
    /// Of constraints that name many values, these; in the order of the constraints.
    fileprivate let sets: [Set<Value>?]
    private static let setCountMin = 32

    init(relation: OID, constraints: [BoundConstraint]) {
        self.relation = relation
        self.constraints = constraints
        sets = constraints.map { constraint in
            guard case .among(let values) = constraint.test, values.count >= Self.setCountMin else { return nil }
            return Set(values)
        }
    }

    init(_ use: BoundUse) { self.init(relation: use.relation, constraints: use.constraints) }

    var isWhole: Bool { constraints.isEmpty }
    var use: BoundUse { BoundUse(relation: relation, constraints: constraints) }

    /// Whether every row that could satisfy `use` satisfies the fragment.
    func contains(_ use: BoundUse) -> Bool {
        guard relation == use.relation else { return false }
        if Mutation.fragmentCoversWiderUse.isOn {
            return use.constraints.allSatisfy { said in constraints.contains { $0.implies(said) } }
        }
        return zip(constraints, sets).allSatisfy { wanted, set in
            use.constraints.contains { said in
                guard let set, said.column == wanted.column, case .among(let values) = said.test else {
                    return said.implies(wanted)
                }
                return values.allSatisfy { set.contains($0) }
            }
        }
    }

    /// Whether the row belongs to it; what is not known may be anything [I3]. A row too many in a pool is kept up to
    /// date like the others, and is harmless.
    func mayMatch(_ row: RowValues) -> Bool {
        zip(constraints, sets).allSatisfy { constraint, set in
            guard let set, case .value(let value) = row[constraint.column] else {
                return constraint.mayHold(row[constraint.column])
            }
            return set.contains(value)
        }
    }
}

extension Fragment {
    /// Whether every row with this value in that column belongs to it.
    func hasAll(_ key: Value, of column: Int) -> Bool {
        zip(constraints, sets).allSatisfy { constraint, set in
            constraint.column == column && (set?.contains(key) ?? constraint.mayHold(.value(key)))
        }
    }
}

extension BoundConstraint {
    /// Whether each value that satisfies this one satisfies the other.
    func implies(_ other: BoundConstraint) -> Bool {
        guard column == other.column else { return false }
        switch (test, other.test) {
        case (.isNull, .isNull): return true
        case (.isNull, _), (_, .isNull): return false
        case (_, .isNotNull): return true
        case (.isNotNull, _): return false
        case (.among(let values), .among(let wider)): return values.allSatisfy { wider.contains($0) }
        case (.among(let values), .range): return values.allSatisfy { other.mayHold(.value($0)) }
        case (.range(let lower?, let upper?), .among(let wider)):
            return lower.value == upper.value && lower.isInclusive && upper.isInclusive && wider.contains(lower.value)
        case (.range, .among): return false
        case (.range(let lower, let upper), .range(let widerLower, let widerUpper)):
            return Self.isWithin(lower, widerLower, isUpper: false) && Self.isWithin(upper, widerUpper, isUpper: true)
        }
    }

    private static func isWithin(_ limit: Limit?, _ wider: Limit?, isUpper: Bool) -> Bool {
        guard let wider else { return true }
        guard let limit else { return false }
        if limit.value == wider.value { return wider.isInclusive || !limit.isInclusive }
        return isUpper ? limit.value < wider.value : wider.value < limit.value
    }

    /// The same for each of the values that it names, one by one; nil where it does not name any.
    var alternatives: [BoundConstraint]? {
        guard case .among(let values) = test else { return nil }
        return values.map { BoundConstraint(column: column, test: .among([$0])) }
    }
}

// MARK: - SQL

extension Fragment {
    /// The fragment as a condition for PostgreSQL, whose comparisons decide which rows it is; nil for all rows.
    ///
    /// What a constraint says in values it says here with the operators that the query's own condition has, so values
    /// that are not read here (NaN, infinity, years before the first) are on the same side of it. Text is compared
    /// by its bytes where it is compared in order.
    /// - Parameter relation: the one that the constraints' columns belong to.
    func condition(_ relation: Relation) -> String? {
        var parts: [String] = []
        for constraint in constraints where relation.columns.indices.contains(constraint.column) {
            parts += constraint.conditions(relation.columns[constraint.column])
        }
        return parts.isEmpty ? nil : parts.joined(separator: " AND ")
    }
}

extension BoundConstraint {
    fileprivate func conditions(_ column: Column) -> [String] {
        let name = SQLText.identifier(column.name)
        switch test {
        case .isNull: return ["\(name) IS NULL"]
        case .isNotNull: return ["\(name) IS NOT NULL"]
        case .among(let values):
            let list = values.compactMap { Self.literal($0, column.kind) }
            // What is no text of the database's is no value of its column.
            return list.isEmpty ? ["false"] : ["\(name) IN (\(list.joined(separator: ", ")))"]
        case .range(let lower, let upper):
            let compared = column.kind == .text ? "\(name) COLLATE \"C\"" : name
            func part(_ limit: Limit?, _ sign: String) -> String? {
                guard let limit, let literal = Self.literal(limit.value, column.kind) else { return nil }
                return "\(compared) \(sign)\(limit.isInclusive ? "=" : "") \(literal)"
            }
            let parts = [part(lower, ">"), part(upper, "<")].compactMap { $0 }
            // A bound that cannot be said leaves more rows in, but none that are NULL.
            return parts.isEmpty ? ["\(name) IS NOT NULL"] : parts
        }
    }

    /// Nil for bytes that are no text in UTF-8: the end of a range of texts that begin alike may be.
    private static func literal(_ value: Value, _ kind: ValueKind) -> String? {
        if kind == .text, case .bytes(let bytes) = value,
            bytes.contains(0) || String(validating: bytes, as: UTF8.self) == nil
        {
            return nil
        }
        let text = value.text(kind)
        switch kind {
        case .integer: return "(\(text))"
        case .text, .opaque: return SQLText.literal(text)
        case .uuid: return "'\(text)'::uuid"
        case .boolean: return "'\(text)'::boolean"
        case .date: return "'\(text)'::date"
        case .timestamp: return "'\(text)'::timestamp"
        case .timestampWithZone: return "'\(text)'::timestamptz"
        case .numeric: return "'\(text)'::numeric"
        }
    }
}
