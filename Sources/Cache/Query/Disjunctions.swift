import PGProtocol

/// ORs that restrict a relation: the rows that can matter satisfy one of several conjunctions [I1].
extension ConstraintReader {
    /// Of one source at most.
    static let conjunctionsMax = 16

    /// For each source in order the conjunctions of which its rows must satisfy one: `constraints` alone, or once for
    /// each way to choose an alternative of each OR that restricts it.
    ///
    /// An OR in which some alternative says nothing of a source does not restrict it. A test of an alternative counts
    /// where it would as a conjunct by itself: on a nullable side only if it is not true for nulls.
    func conjunctions(_ constraints: [[Constraint]]) -> [[[Constraint]]] {
        var conjunctions = constraints.map { [$0] }
        for disjunction in select.disjunctions {
            let alternatives = disjunction.alternatives.map { restrictions(of: $0, disjunction.scope) }
            for source in conjunctions.indices {
                let own = alternatives.map { $0.filter { $0.place.source == source } }
                guard own.allSatisfy({ !$0.isEmpty }), conjunctions[source].count * own.count <= Self.conjunctionsMax
                else { continue }
                conjunctions[source] = conjunctions[source].flatMap { common in
                    own.map { bounds in
                        var all = common
                        for bound in bounds.compactMap(constraint) { all.add(bound) }
                        return all
                    }
                }
            }
        }
        return conjunctions
    }

    private func restrictions(
        of alternative: [ParsedSelect.Disjunction.Restriction], _ scope: ParsedSelect.Scope
    ) -> [Bound] {
        alternative.compactMap { bound($0.column, $0.test, in: scope) }.filter(applies)
    }
}
