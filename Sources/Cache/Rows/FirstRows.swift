import Mutation
import PGProtocol

/// The first rows of a relation in the order of a column, as many as LIMIT asks for and some more: of the posts of a
/// forum the latest.
///
///     asked ─miss, admitted→ copying (the whole condition) ─copied→ narrowed to what is in front of the last row
///
/// They are loaded where all rows that satisfy the condition would be too many. What is complete then is an ordinary
/// fragment, `created > '…'`; which one is known when its rows are. A query reads it as if its WHERE said so
/// (`Ranking`), and its answer proves that this was right: it has all the rows that LIMIT asks for, and the last of
/// them is in the fragment. If not, the origin is asked, and more is loaded at the next miss.
///
/// So the fragment grows at its front with the rows that come, and gets shorter with those that go.
struct RankedRows {
    let ranking: Ranking
    /// That LIMIT asks for, and those in front of them that OFFSET leaves out.
    let limit: Int
    let count: Int

    static let countMax = 10_000
}

/// What a population of first rows is about.
struct FirstRowsPlan: Equatable {
    let ranking: Ranking
    let rows: FirstRows
    /// That somebody asked for; what is too short for them is of no use.
    let countWanted: Int
    /// What is remembered of it.
    let name: String
}

/// What an answer has to show to be the right one.
struct RankingProof {
    let relation: Relation
    /// Without the constraint.
    let use: BoundUse
    /// Holds for the last row.
    let constraint: BoundConstraint
    let first: RankedRows
}

extension RowTier {
    /// The uses under a further condition that a complete fragment fulfils, and what proves that it alters nothing.
    func narrowed(_ uses: [BoundUse], _ first: RankedRows) -> (uses: [BoundUse], proof: RankingProof)? {
        guard uses.indices.contains(first.ranking.use), let pool = pools[uses[first.ranking.use].relation] else {
            return nil
        }
        var uses = uses
        let use = uses[first.ranking.use]
        for loaded in pool.fragments where loaded.isComplete {
            guard let constraint = loaded.fragment.reach(beyond: use, first.ranking) else { continue }
            let proof = RankingProof(relation: pool.relation, use: use, constraint: constraint, first: first)
            if !tooShort.isEmpty, let count = tooShort[shortName(proof)], count <= first.count { continue }
            uses[first.ranking.use].constraints.append(constraint)
            return (uses, proof)
        }
        return nil
    }

    private func name(_ use: BoundUse, _ ranking: Ranking, _ relation: Relation) -> String {
        "\(Fragment(use).condition(relation) ?? "true") by \(ranking.column) \(ranking.isDescending)"
    }

    /// Of what an answer did not prove.
    private func shortName(_ proof: RankingProof) -> String {
        "\(proof.relation.oid.value) \(name(proof.use, proof.first.ranking, proof.relation)) \(proof.constraint.test)"
    }

    /// A query has missed that asks for some first rows of a use, all of which are too many.
    mutating func wantFirst(_ first: RankedRows, _ use: BoundUse) {
        guard let pool = pools[use.relation], first.limit > 0, first.count <= RankedRows.countMax,
            pool.relation.columns.indices.contains(first.ranking.column)
        else { return }
        let name = name(use, first.ranking, pool.relation)
        var alone = first.ranking
        alone.use = 0
        let isThere = narrowed([use], RankedRows(ranking: alone, limit: first.limit, count: first.count)) != nil
        // From when it is copied it is known how far it goes.
        let isComing = pool.fragments.contains { !$0.isComplete && $0.fragment.reach(beyond: use, alone) != nil }
        guard !isThere, !isComing, !(refused[use.relation]?.contains(name) ?? false),
            isOftenMissed(use.relation, name)
        else { return }
        let column = pool.relation.columns[first.ranking.column]
        let identifier = SQLText.identifier(column.name)
        // As the query says it, and an index has it.
        let order = identifier + (first.ranking.isDescending ? column.isNotNull ? " DESC" : " DESC NULLS LAST" : "")
        let rows = FirstRows(column: column.name, order: order, countMax: first.count + limits.spareRows)
        let plan = FirstRowsPlan(ranking: first.ranking, rows: rows, countWanted: first.count, name: name)
        begin(Fragment(use), first: plan, isPinned: false)
    }

    /// The copy is here: the fragment is what it is complete for.
    /// - Returns: false where that is of no use.
    mutating func narrow(_ id: PopulationID, _ reach: FirstRowsReach) -> Bool {
        guard let population = populations[id], let plan = population.first,
            let index = pools[population.fragment.relation]?.fragments.firstIndex(where: { $0.population == id }),
            let column = pools[population.fragment.relation]?.relation.columns[plan.ranking.column]
        else { return false }
        // All that there are.
        if reach.count < plan.rows.countMax { return true }
        // Too many are equal.
        guard reach.countAhead >= plan.countWanted else {
            populationFailed(id, .tooLarge)
            return false
        }
        let test: BoundConstraint.Test
        if let last = reach.last {
            guard let value = withView(last, { Value(text: $0, kind: column.kind) }) else {
                populationFailed(id, .failed("a value that is not read"))
                return false
            }
            let limit = BoundConstraint.Limit(value: value, isInclusive: false)
            test = plan.ranking.isDescending ? .range(lower: limit, upper: nil) : .range(lower: nil, upper: limit)
        } else {
            test = .isNotNull
        }
        // Whose row is meant to be in the copy, and may be behind what was copied.
        guard population.touched.values.allSatisfy({ $0 == nil }) else {
            give(up: id)
            return false
        }
        let fragment = Fragment(
            relation: population.fragment.relation,
            constraints: population.fragment.constraints
                + [BoundConstraint(column: plan.ranking.column, test: test)])
        pools[fragment.relation]?.fragments.update(index) { $0.fragment = fragment }
        populations[id]?.fragment = fragment
        return true
    }

    /// An answer has shown that it is the right one, or has not.
    mutating func proven(_ proof: RankingProof, _ isProven: Bool) {
        if isProven, failures.isEmpty { return }
        let relation = proof.relation.oid
        let name = name(proof.use, proof.first.ranking, proof.relation)
        if isProven {
            failures["\(relation.value) \(name)"] = nil
            return
        }
        if tooShort.count >= Self.missesMax { tooShort.removeAll(keepingCapacity: true) }
        tooShort[shortName(proof)] = proof.first.count
        guard hasFailedOften(relation, name) else { return }
        if refused[relation, default: []].count >= Self.refusedMax { refused[relation] = [] }
        refused[relation, default: []].insert(name)
    }
}

extension Fragment {
    /// The constraint that a use lacks to lie in the fragment, if it says of the rows no more than that they are not
    /// behind some value.
    fileprivate func reach(beyond use: BoundUse, _ ranking: Ranking) -> BoundConstraint? {
        guard relation == use.relation else { return nil }
        var lacking: BoundConstraint?
        for wanted in constraints where !use.constraints.contains(where: { $0.implies(wanted) }) {
            guard lacking == nil, wanted.column == ranking.column else { return nil }
            lacking = wanted
        }
        switch lacking?.test {
        case .isNotNull: return lacking
        case .range(.some, nil) where ranking.isDescending: return lacking
        case .range(nil, .some) where !ranking.isDescending: return lacking
        default: return nil
        }
    }
}

extension RankingProof {
    /// Whether an answer is the right one: it has as many rows as were asked for, and the last of them is not behind
    /// what is complete.
    ///
    /// - Parameters:
    ///   - described: what Describe once said of the statement, for an answer without a description of its own.
    ///   - tail: nil for the simple protocol.
    func holds(for entry: MemoEntry, described: ByteView?, tail: BindTail?) -> Bool {
        if Mutation.rankingUnproven.isOn { return true }
        let limit = first.limit
        guard entry.rowCount == limit, let start = entry.place(ofRow: limit - 1), let end = entry.place(ofRow: limit),
            let description = entry.descriptionCount > 0
                ? entry.bytes.slice(from: 0, count: entry.descriptionCount) : described
        else { return false }
        let row = entry.bytes.slice(from: start, count: end - start).dropFirst(5)
        do throws(ProtocolError) {
            guard let value = try value(in: row, description, tail) else { return false }
            return constraint.mayHold(.value(value))
        } catch {
            return false
        }
    }

    /// The column's value in a row; nil where it is not shown, NULL or not read.
    private func value(
        in row: ByteView, _ description: ByteView, _ tail: BindTail?
    ) throws(ProtocolError) -> Value? {
        let column = relation.columns[constraint.column]
        guard let fields = try ResultField.all(in: description, tail: tail),
            let place = fields.firstIndex(where: { $0.table == relation.oid && $0.column == column.number }),
            fields[place].type == column.type
        else { return nil }
        var reader = ByteReader(row)
        guard Int(try reader.uint16("number of values")) > place else { return nil }
        var shown: ByteView?
        for _ in 0...place {
            let length = try reader.int32("length of a value")
            shown = length == -1 ? nil : try reader.bytes(Int(length), "value")
        }
        return shown.flatMap { view in
            switch fields[place].format {
            case .text: Value(text: view, kind: column.kind)
            case .binary: Value(binary: view, kind: column.kind, type: column.type)
            }
        }
    }
}
