import Mutation
import PGProtocol

/// Works out which rows of each relation can matter to a SELECT [I1].
///
/// A constraint may be missing, but one that is there must hold for every row whose change could
/// change the answer. Rows that do not matter to a level do not matter to the answer, wherever the level
/// stands. Where a condition stands decides whom it constrains:
/// - WHERE constrains every relation of its level, one on a nullable side only if the condition
///   is false or null for nulls (all kinds here are, except IS NULL);
/// - ON of an inner join is WHERE for the relations below it;
/// - ON of a LEFT or RIGHT JOIN constrains only the relations of its nullable arm: rows of the other
///   appear whether it holds or not; ON of a FULL JOIN constrains neither;
/// - nothing in HAVING, LIMIT or a window constrains.
///
/// `a = b` hands the constraints of one column to the other, if both are of one type: among
/// conditions that hold together; from WHERE down to the nullable side of a join whose ON
/// has the equality (rows that differ could join only rows that WHERE removes); and from WHERE down to
/// subqueries that have the equality with a column of the level around (where it differs, the subquery
/// is asked only for rows that WHERE removes). Never upward.
struct ConstraintReader {
    typealias Place = SelectResolver.Place
    struct Bound: Equatable {
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
    struct Inference {
        var uses = 0
        var family: ValueFamily
        /// The type is an array of the family.
        var isArray = false
        var isMixed = false
    }

    let resolver: SelectResolver
    var select: ParsedSelect { resolver.select }
    private var tree: JoinTree { resolver.tree }
    var inferences: [Int: Inference] = [:]

    /// Further derived conditions are left out.
    private static let derivedMax = 256

    init(resolver: SelectResolver) {
        self.resolver = resolver
        for condition in resolver.select.conditions {
            infer(from: condition.column, condition.test, in: condition.scope)
        }
        for disjunction in resolver.select.disjunctions {
            for restriction in disjunction.alternatives.joined() {
                infer(from: restriction.column, restriction.test, in: disjunction.scope)
            }
        }
    }

    /// For each source in order, what its rows must satisfy.
    func constraints() -> [[Constraint]] {
        var bounds: [Bound] = []
        for condition in select.conditions {
            if let bound = bound(condition.column, condition.test, in: condition.scope) { bounds.append(bound) }
        }
        bounds += derived(from: bounds)
        var constraints = [[Constraint]](repeating: [], count: select.sources.count)
        for bound in bounds where applies(bound) {
            if let constraint = constraint(bound) { constraints[bound.place.source].add(constraint) }
        }
        return constraints
    }

    func bound(_ column: ParsedColumn, _ test: ParsedSelect.Test, in scope: ParsedSelect.Scope) -> Bound? {
        guard let place = resolver.place(of: column, in: scope), let column = resolver.names.column(at: place),
            let test = self.test(test, on: column)
        else { return nil }
        return Bound(scope: inTree(scope), place: place, test: test)
    }

    func constraint(_ bound: Bound) -> Constraint? {
        resolver.names.column(at: bound.place).map {
            Constraint(column: bound.place.column, kind: $0.kind, test: bound.test)
        }
    }

    // MARK: Whom a condition constrains

    /// WHERE of a merged level is the ON of the join that stands for it.
    private func inTree(_ scope: ParsedSelect.Scope) -> ParsedSelect.Scope {
        if case .whole(let level) = scope { tree.scopes[level] } else { scope }
    }

    /// The level in whose rows a source's are, after merging.
    private func root(_ source: Int) -> Int { tree.roots[select.sources[source].level] }

    func applies(_ bound: Bound) -> Bool {
        let path = tree.paths[bound.place.source]
        var below = path[...]
        switch bound.scope {
        case .whole(let level):
            // A column of a level around is the same in all rows of this one.
            if root(bound.place.source) != level { return false }
        case .on(let join):
            guard let position = path.firstIndex(where: { $0.join == join }) else { return false }
            let kind = tree.joins[join].kind
            let isConstrained = kind == .inner
                || kind != .full && tree.joins[join].isNullable(rightArm: path[position].isRightArm)
            if !isConstrained, !Mutation.onConstrainsRowSide.isOn { return false }
            below = path[(position + 1)...]
        }
        return !(bound.test == .isNull && tree.isNullable(below))
    }

    /// The outermost place where a condition would say the same: an inner join's is the WHERE of
    /// whatever it is part of, up to the ON of a join in whose nullable arm it is.
    private func widened(_ scope: ParsedSelect.Scope) -> ParsedSelect.Scope {
        guard case .on(let join) = scope, tree.joins[join].kind == .inner else { return scope }
        for (source, path) in tree.paths.enumerated() {
            guard let position = path.firstIndex(where: { $0.join == join }) else { continue }
            let outer = path[..<position].last { tree.joins[$0.join].isNullable(rightArm: $0.isRightArm) }
            guard let outer else { return .whole(root(source)) }
            // Rows of a FULL JOIN's arms appear whether its ON holds or not.
            return tree.joins[outer.join].kind == .full ? scope : .on(outer.join)
        }
        return scope
    }

    private func derived(from bounds: [Bound]) -> [Bound] {
        let equalities = equals()
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
                where bound.place == from && isHandedOn(bound.scope, from: from, to: to, by: equality) {
                    let handed = Bound(scope: equality.scope, place: to, test: bound.test)
                    if !known.contains(handed) { known.append(handed) }
                }
            }
        }
        return Array(known[given...])
    }

    /// Columns of which one must have, in a row that matters, a value that the other has in a row that matters: an
    /// equality constrains the places that it would constrain if the other side were a constant.
    func links() -> [(of: Place, with: Place)] {
        equals().flatMap { equality in
            [(equality.left, equality.right), (equality.right, equality.left)].filter { place, partner in
                place.source != partner.source
                    && (applies(Bound(scope: equality.scope, place: place, test: .isNotNull))
                        || Mutation.linkAcrossOuterJoin.isOn)
            }.map { (of: $0, with: $1) }
        }
    }

    private func equals() -> [Equal] {
        func equal(_ scope: ParsedSelect.Scope, _ left: Place?, _ right: Place?) -> Equal? {
            guard let left, let right, left != right, let first = resolver.names.column(at: left),
                let second = resolver.names.column(at: right), areComparable(first, second)
            else { return nil }
            return Equal(scope: widened(inTree(scope)), left: left, right: right)
        }
        return select.equalities.compactMap { equality in
            equal(
                equality.scope, resolver.place(of: equality.left, in: equality.scope),
                resolver.place(of: equality.right, in: equality.scope))
        } + select.joins.enumerated().flatMap { join, facts in
            facts.using.prefix(ParsedSelect.sourcesMax).compactMap {
                equal(
                    .on(join), resolver.place(of: $0, inArmOf: join, isRight: false),
                    resolver.place(of: $0, inArmOf: join, isRight: true))
            }
        }
    }

    private func isHandedOn(
        _ scope: ParsedSelect.Scope, from: Place, to: Place, by equality: Equal
    ) -> Bool {
        if scope == equality.scope { return true }
        guard case .whole(let level) = scope, root(from.source) == level else { return false }
        if root(to.source) != level {
            // Into a subquery, from the level around whose column it names.
            return isOf(root(to.source), equality.scope)
        }
        guard case .on(let join) = equality.scope, tree.joins[join].kind != .full else { return false }
        return isInNullableArm(to.source, of: join) && !isInNullableArm(from.source, of: join)
    }

    /// Whether a condition there is one of this level's own.
    private func isOf(_ level: Int, _ scope: ParsedSelect.Scope) -> Bool {
        switch scope {
        case .whole(let own): own == level
        case .on(let join): tree.roots[tree.joins[join].level] == level
        }
    }

    private func isInNullableArm(_ source: Int, of join: Int) -> Bool {
        tree.paths[source].contains {
            $0.join == join && tree.joins[join].isNullable(rightArm: $0.isRightArm)
        }
    }

    /// `=` between them compares the values as they are.
    private func areComparable(_ left: Column, _ right: Column) -> Bool {
        guard let family = ValueFamily(left), family == ValueFamily(right) else { return false }
        return left.type == right.type || family == .text
    }
}

extension Array where Element == Constraint {
    /// Adds a constraint, as the other end of an open range if there is one.
    mutating func add(_ constraint: Constraint) {
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
