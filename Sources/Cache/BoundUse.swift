import PGProtocol

/// One use of a relation by one cached query, its operands turned into values.
///
/// A row change none of whose images satisfies all constraints cannot alter the answer through this
/// use [I1]. Fewer constraints are always safe; no constraint means the whole relation.
struct BoundUse: Equatable, Sendable {
    var relation: OID
    var constraints: [BoundConstraint]
    /// The columns that the answer depends on, those of the constraints among them. With `.all` any change of a row
    /// counts.
    var reads = ColumnMask.all

    /// Whether a row like this can matter. What is not known may be anything [I3].
    func mayMatch(_ row: RowValues) -> Bool {
        for constraint in constraints where !constraint.mayHold(row[constraint.column]) { return false }
        return true
    }

    /// Whether a row that was changed in these columns, and no others, can matter by that. `.all` is also a row that is
    /// new or gone, which matters whatever is read of it.
    @inline(__always)
    func depends(on changed: ColumnMask) -> Bool { changed == .all || reads == .all || reads.meets(changed) }

    /// Bytes that it takes, about.
    var footprint: Int { constraints.reduce(56) { $0 + $1.footprint } }
}

/// What the value of one column must be for a row to matter.
struct BoundConstraint: Hashable, Sendable {
    /// Position in `Relation.columns`.
    var column: Int
    var test: Test

    enum Test: Hashable, Sendable {
        /// Never empty.
        case among([Value])
        case range(lower: Limit?, upper: Limit?)
        case isNull
        case isNotNull
    }
    struct Limit: Hashable, Sendable {
        var value: Value
        var isInclusive: Bool

        /// As a lower bound it lets the value pass.
        @inline(__always)
        func isBelow(_ other: Value) -> Bool { value < other || isInclusive && value == other }
        /// As an upper bound it lets the value pass.
        @inline(__always)
        func isAbove(_ other: Value) -> Bool { other < value || isInclusive && value == other }
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
        (lower?.isBelow(value) ?? true) && (upper?.isAbove(value) ?? true)
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

/// Columns of a relation by position. All from the 64th on are one.
struct ColumnMask: Equatable, Sendable {
    private var bits: UInt64

    static let all = ColumnMask(bits: .max)
    static let none = ColumnMask(bits: 0)

    private init(bits: UInt64) { self.bits = bits }

    init(_ columns: some Sequence<Int>) {
        bits = 0
        for column in columns { insert(column) }
    }

    mutating func insert(_ column: Int) { bits |= 1 << UInt64(max(0, min(column, 63))) }

    func union(_ other: ColumnMask) -> ColumnMask { ColumnMask(bits: bits | other.bits) }

    @inline(__always)
    func meets(_ other: ColumnMask) -> Bool { bits & other.bits != 0 }
}
