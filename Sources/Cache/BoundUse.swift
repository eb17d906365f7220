import PGProtocol

/// One use of a relation by one cached query, its operands turned into values.
///
/// A row change none of whose images satisfies all constraints cannot alter the answer through this
/// use [I1]. Fewer constraints are always safe; no constraint means the whole relation.
struct BoundUse: Equatable, Sendable {
    var relation: OID
    var constraints: [BoundConstraint]

    /// Whether a row like this can matter. What is not known may be anything [I3].
    func mayMatch(_ row: RowValues) -> Bool {
        for constraint in constraints where !constraint.mayHold(row[constraint.column]) { return false }
        return true
    }

    /// Bytes that it takes, about.
    var footprint: Int { constraints.reduce(48) { $0 + $1.footprint } }
}

/// What the value of one column must be for a row to matter.
struct BoundConstraint: Equatable, Sendable {
    /// Position in `Relation.columns`.
    var column: Int
    var test: Test

    enum Test: Equatable, Sendable {
        /// Never empty.
        case among([Value])
        case range(lower: Limit?, upper: Limit?)
        case isNull
        case isNotNull
    }
    struct Limit: Equatable, Sendable {
        var value: Value
        var isInclusive: Bool
    }

    /// False only when PostgreSQL would surely not find it true: the tests are strict, so a NULL
    /// satisfies none of them but `isNull`.
    func mayHold(_ known: KnownValue) -> Bool {
        switch (test, known) {
        case (_, .unknown): true
        case (.isNull, .null): true
        case (.isNull, .value), (.isNull, .notNull): false
        case (.isNotNull, .null), (.among, .null), (.range, .null): false
        case (.isNotNull, .value), (.isNotNull, .notNull): true
        case (.among, .notNull), (.range, .notNull): true
        case (.among(let values), .value(let value)): values.contains(value)
        case (.range(let lower, let upper), .value(let value)):
            Self.isWithin(value, lower: lower, upper: upper)
        }
    }

    private static func isWithin(_ value: Value, lower: Limit?, upper: Limit?) -> Bool {
        if let lower, let order = compare(value, lower.value) {
            if order < 0 || order == 0 && !lower.isInclusive { return false }
        }
        if let upper, let order = compare(value, upper.value) {
            if order > 0 || order == 0 && !upper.isInclusive { return false }
        }
        return true
    }

    /// Negative, zero or positive; nil where the two have no order of ours.
    private static func compare(_ left: Value, _ right: Value) -> Int? {
        switch (left, right) {
        case (.integer(let left), .integer(let right)):
            return left < right ? -1 : left == right ? 0 : 1
        case (.bytes(let left), .bytes(let right)):
            if left == right { return 0 }
            return left.lexicographicallyPrecedes(right) ? -1 : 1
        case (.integer, .bytes), (.bytes, .integer): return nil
        }
    }

    var footprint: Int {
        switch test {
        case .among(let values): values.reduce(80) { $0 + 24 + $1.footprint }
        case .range(let lower, let upper):
            112 + (lower?.value.footprint ?? 0) + (upper?.value.footprint ?? 0)
        case .isNull, .isNotNull: 48
        }
    }
}

extension Value {
    /// Bytes on the heap, about.
    var footprint: Int {
        switch self {
        case .integer: 0
        case .bytes(let bytes): 32 + bytes.count
        }
    }
}
