import Mutation
import PGProtocol

/// Works out which rows of each relation can matter to a SELECT [I1].
///
/// A constraint may be missing, but one that is there must hold for every row whose change could
/// change the answer. Where a condition stands decides whom it constrains:
/// - WHERE constrains every relation, one on the nullable side of a LEFT JOIN only if the condition
///   is false or null for nulls (all kinds here are, except IS NULL);
/// - ON of an inner join is WHERE for the relations below it;
/// - ON of a LEFT JOIN constrains only the relations of its right arm: rows on the left appear
///   whether it holds or not.
///
/// `a = b` hands the constraints of one column to the other, if both are of one type: among
/// conditions that hold together, and from WHERE down to the nullable side of a LEFT JOIN whose ON
/// has the equality (rows that differ could join only rows that WHERE removes). Never upward.
struct ConstraintReader {
    typealias Place = SelectResolver.Place
    private struct Bound: Equatable {
        var scope: ParsedSelect.Scope
        var place: Place
        var test: Constraint.Test
    }
    private struct Equal {
        var scope: ParsedSelect.Scope
        var left: Place
        var right: Place
    }
    /// What is known of a parameter whose type the client left open.
    private struct Inference {
        var uses = 0
        var family: ValueFamily
        var isMixed = false
    }

    let resolver: SelectResolver
    private var select: ParsedSelect { resolver.select }
    private var inferences: [Int: Inference] = [:]

    /// Further derived conditions are left out.
    private static let derivedMax = 256

    init(resolver: SelectResolver) {
        self.resolver = resolver
        for condition in resolver.select.conditions { infer(from: condition) }
    }

    /// For each source in order, what its rows must satisfy.
    func constraints() -> [[Constraint]] {
        var bounds: [Bound] = []
        for condition in select.conditions {
            guard let place = resolver.place(of: condition.column),
                let test = test(condition.test, on: resolver.column(at: place))
            else { continue }
            bounds.append(Bound(scope: condition.scope, place: place, test: test))
        }
        bounds += derived(from: bounds)
        var constraints = [[Constraint]](repeating: [], count: select.sources.count)
        for bound in bounds where applies(bound) {
            let constraint = Constraint(
                column: bound.place.column, kind: resolver.column(at: bound.place).kind,
                test: bound.test)
            constraints[bound.place.source].add(constraint)
        }
        return constraints
    }

    // MARK: Whom a condition constrains

    private func applies(_ bound: Bound) -> Bool {
        let path = select.sources[bound.place.source].path
        var below = path[...]
        if case .on(let join) = bound.scope {
            guard let position = path.firstIndex(where: { $0.join == join }) else { return false }
            if select.joins[join] == .left, !path[position].isRightArm,
                !Mutation.onConstrainsRowSide.isOn
            {
                return false
            }
            below = path[(position + 1)...]
        }
        let isNullable = below.contains { select.joins[$0.join] == .left && $0.isRightArm }
        return !(isNullable && bound.test == .isNull)
    }

    /// The outermost place where a condition would say the same: an inner join's is the WHERE of
    /// whatever it is part of, up to the ON of a LEFT JOIN in whose right arm it is.
    private func widened(_ scope: ParsedSelect.Scope) -> ParsedSelect.Scope {
        guard case .on(let join) = scope, select.joins[join] == .inner else { return scope }
        for source in select.sources {
            guard let position = source.path.firstIndex(where: { $0.join == join }) else { continue }
            let outer = source.path[..<position].last {
                select.joins[$0.join] == .left && $0.isRightArm
            }
            return outer.map { .on($0.join) } ?? .whole
        }
        return scope
    }

    private func derived(from bounds: [Bound]) -> [Bound] {
        let equalities = select.equalities.compactMap { equality -> Equal? in
            guard let left = resolver.place(of: equality.left),
                let right = resolver.place(of: equality.right), left != right,
                areComparable(resolver.column(at: left), resolver.column(at: right))
            else { return nil }
            return Equal(scope: widened(equality.scope), left: left, right: right)
        }
        if equalities.isEmpty { return [] }
        var known = bounds.filter { $0.test != .isNull && $0.test != .isNotNull }
        for index in known.indices { known[index].scope = widened(known[index].scope) }
        let given = known.count
        var next = 0
        while next < known.count, known.count < given + Self.derivedMax {
            let bound = known[next]
            next += 1
            for equality in equalities {
                for (from, to) in [(equality.left, equality.right), (equality.right, equality.left)]
                where bound.place == from && isHandedOn(bound.scope, to: to, by: equality) {
                    let handed = Bound(scope: equality.scope, place: to, test: bound.test)
                    if !known.contains(handed) { known.append(handed) }
                }
            }
        }
        return Array(known[given...])
    }

    private func isHandedOn(
        _ scope: ParsedSelect.Scope, to place: Place, by equality: Equal
    ) -> Bool {
        if scope == equality.scope { return true }
        guard scope == .whole, case .on(let join) = equality.scope else { return false }
        let other = place == equality.left ? equality.right : equality.left
        return isInRightArm(place.source, of: join) && !isInRightArm(other.source, of: join)
    }

    private func isInRightArm(_ source: Int, of join: Int) -> Bool {
        select.sources[source].path.contains { $0.join == join && $0.isRightArm }
    }

    /// `=` between them compares the values as they are.
    private func areComparable(_ left: Column, _ right: Column) -> Bool {
        guard let family = ValueFamily(left), family == ValueFamily(right) else { return false }
        return left.type == right.type || family == .text
    }

    // MARK: Operands

    private mutating func infer(from condition: ParsedSelect.Condition) {
        guard let place = resolver.place(of: condition.column),
            let family = ValueFamily(resolver.column(at: place)),
            resolver.column(at: place).type != ValueFamily.oidType
        else { return }
        for operand in condition.test.operands {
            guard case .parameter(let number) = operand.literal else { continue }
            if let cast = operand.cast, ValueFamily(cast: cast) != family { continue }
            var inference = inferences[number] ?? Inference(family: family)
            inference.uses += 1
            if inference.family != family { inference.isMixed = true }
            inferences[number] = inference
        }
    }

    private func test(_ test: ParsedSelect.Test, on column: Column) -> Constraint.Test? {
        if column.isGenerated { return nil }
        switch test {
        case .isNull: return .isNull
        case .isNotNull: return column.isNotNull ? nil : .isNotNull
        default: break
        }
        guard let family = ValueFamily(column) else { return nil }
        switch test {
        case .among(let operands):
            let values = operands.compactMap { self.operand($0, family, column) }
            return values.count == operands.count ? .among(values) : nil
        case .range(let lower, let upper):
            guard family.isOrdered else { return nil }
            let low = lower.flatMap { bound($0, family, column) }
            let high = upper.flatMap { bound($0, family, column) }
            return low == nil && high == nil ? nil : .range(lower: low, upper: high)
        case .truth(let value):
            return family == .boolean ? .among([.constant(.integer(value ? 1 : 0))]) : nil
        case .isNull, .isNotNull: return nil
        }
    }

    private func bound(
        _ bound: ParsedSelect.Bound, _ family: ValueFamily, _ column: Column
    ) -> Constraint.Bound? {
        operand(bound.operand, family, column).map {
            Constraint.Bound(operand: $0, isInclusive: bound.isInclusive)
        }
    }

    private func operand(
        _ operand: ParsedSelect.Operand, _ family: ValueFamily, _ column: Column
    ) -> Constraint.Operand? {
        if let cast = operand.cast, ValueFamily(cast: cast) != family { return nil }
        switch operand.literal {
        case .parameter(let number):
            return isCertain(number, family, column) ? .parameter(number) : nil
        case .integer(let value):
            guard family == .integer else { return nil }
            // oid has no sign; a negative integer would wrap around.
            if column.type == ValueFamily.oidType, !(0...Int64(Int32.max)).contains(value) {
                return nil
            }
            return .constant(.integer(value))
        case .boolean(let value):
            return family == .boolean ? .constant(.integer(value ? 1 : 0)) : nil
        case .string(let bytes):
            // Beyond ASCII the bytes depend on the client's encoding.
            guard bytes.allSatisfy({ $0 < 0x80 }),
                let value = withView(bytes, { Value(text: $0, kind: family.kind) })
            else { return nil }
            if column.type == ValueFamily.oidType, case .integer(let number) = value, number < 0 {
                return nil
            }
            return .constant(value)
        }
    }

    /// Whether `$n` has a type of this family for certain: by declaration, or because the statement
    /// holds it nowhere but in comparisons from which PostgreSQL infers such a type.
    private func isCertain(_ number: Int, _ family: ValueFamily, _ column: Column) -> Bool {
        if column.type == ValueFamily.oidType { return false }
        if number <= declaredTypes.count, declaredTypes[number - 1].value != 0 {
            return ValueFamily(type: declaredTypes[number - 1]) == family
        }
        guard let inference = inferences[number] else { return false }
        return !inference.isMixed && inference.family == family
            && inference.uses == select.parameterUses[number]
    }

    private var declaredTypes: [OID] { resolver.declaredTypes }
}

extension ParsedSelect.Test {
    fileprivate var operands: [ParsedSelect.Operand] {
        switch self {
        case .among(let operands): operands
        case .range(let lower, let upper): [lower?.operand, upper?.operand].compactMap { $0 }
        case .isNull, .isNotNull, .truth: []
        }
    }
}

extension Array where Element == Constraint {
    /// Adds a constraint, as the other end of an open range if there is one.
    fileprivate mutating func add(_ constraint: Constraint) {
        if contains(constraint) { return }
        if case .range(let lower, let upper) = constraint.test {
            for index in indices where self[index].column == constraint.column {
                guard case .range(let low, let high) = self[index].test else { continue }
                if low == nil, upper == nil {
                    self[index].test = .range(lower: lower, upper: high)
                    return
                }
                if high == nil, lower == nil {
                    self[index].test = .range(lower: low, upper: upper)
                    return
                }
            }
        }
        append(constraint)
    }
}
