import Mutation
import PGProtocol

/// The rows of one relation that join the rows of a fragment of another: of orders `tenant_id = 1` the customers.
///
///     asked ─miss, admitted→ listing ─keysListed→ keys ─populations→ usable ⇄ keys are missing
///
/// A row that joins none of these cannot alter a query whose use is linked to one that lies in the fragment
/// (`JoinLink`). What is complete are rows by their keys: the values that the partner's column has in the fragment's
/// rows. They are listed once, in the cache database, and from then on each row that comes into the fragment brings its
/// own. Keys that nobody has any more stay: a row too many is harmless. While the rows of some key are missing the
/// fragment is of no use; just these are fetched.
///
/// Invariant: `keys` has the value of `partnerColumn` of every row of the source after all changes that were received,
/// once they were listed; `missing` are those whose rows are not complete. The source is complete in its own pool as
/// long as this exists.
///
/// Owner: the pool of the relation that is completed. Bounds: `keysMax`, and `countMax` of one pool.
struct DependentFragment {
    static let keysMax = 10_000
    static let countMax = 64

    let number: UInt64
    /// Of the relation that is completed.
    let column: Int
    let source: Fragment
    let partnerColumn: Int
    var keys: Set<Value> = []
    var missing: Set<Value> = []
    var isListed = false
    /// What brings missing keys.
    var population: PopulationID?
    /// Was used since missing keys were fetched last.
    var isRecent = false
    var isPinned = false

    /// Whether it has all that a linked use needs.
    func serves(_ link: JoinLink, _ partner: BoundUse) -> Bool {
        isListed && missing.isEmpty && isFor(link) && source.contains(partner)
    }

    /// Whether the key can be said in SQL. In a database without an encoding texts are any bytes, and a connection that
    /// reads UTF-8 has them with U+FFFD in the place of what it is not.
    static func isSayable(_ key: Value, _ kind: ValueKind) -> Bool {
        guard kind == .text, case .bytes(let bytes) = key else { return true }
        guard let text = String(validating: bytes, as: UTF8.self) else { return false }
        return !text.unicodeScalars.contains { $0 == "\u{FFFD}" || $0 == "\0" }
    }

    func isFor(_ link: JoinLink) -> Bool { column == link.column && partnerColumn == link.partnerColumn }
}

extension RowTier {
    // MARK: - Using

    /// Whether some link of a use that is not covered by itself leads to a fragment that has what joins.
    mutating func coversByLink(_ position: Int, _ uses: [BoundUse], _ links: [JoinLink]) -> Bool {
        let relation = uses[position].relation
        for link in links where link.use == position && uses.indices.contains(link.partner) {
            let partner = uses[link.partner]
            guard let index = pools[relation]?.dependents.firstIndex(where: { $0.serves(link, partner) }),
                pools[partner.relation]?.covers(partner) ?? false
            else { continue }
            pools[relation]?.dependents[index].isRecent = true
            pools[relation]?.keysUsed(of: link.column)
            return true
        }
        return false
    }

    // MARK: - Wanting

    /// A linked use has missed, and has no fragment of its own: what joins is loaded where the partner is there.
    mutating func wantDependent(_ position: Int, _ uses: [BoundUse], _ links: [JoinLink], isPinned: Bool) {
        let relation = uses[position].relation
        for link in links where link.use == position && uses.indices.contains(link.partner) {
            let partner = uses[link.partner]
            guard let pool = pools[relation], let other = pools[partner.relation], other.isReady,
                pools[partner.relation]?.covers(partner) ?? false,
                pool.relation.columns.indices.contains(link.column),
                other.relation.columns.indices.contains(link.partnerColumn)
            else { continue }
            let source = Fragment(partner)
            if let index = pool.dependents.firstIndex(where: { $0.isFor(link) && $0.source.contains(partner) }) {
                pools[relation]?.dependents[index].isRecent = true
                fetchMissing(relation, index)
                return
            }
            let condition = source.condition(other.relation)
            let name = Self.name(link, partner.relation, condition)
            guard !(refused[relation]?.contains(name) ?? false), pool.dependents.count < DependentFragment.countMax,
                isPinned || isOftenMissed(relation, name)
            else { continue }
            lastKeyList += 1
            var dependent = DependentFragment(
                number: lastKeyList, column: link.column, source: source, partnerColumn: link.partnerColumn)
            dependent.isRecent = true
            dependent.isPinned = isPinned
            pools[relation]?.dependents.append(dependent)
            pools[partner.relation]?.hasDependents = true
            send(
                .list(
                    KeyList(
                        number: lastKeyList, relation: partner.relation,
                        column: other.relation.columns[link.partnerColumn].name, condition: condition,
                        countMax: DependentFragment.keysMax)))
            return
        }
    }

    private static func name(_ link: JoinLink, _ partner: OID, _ condition: String?) -> String {
        "\(link.column) in \(partner.value).\(link.partnerColumn) where \(condition ?? "true")"
    }

    private func dependent(_ number: UInt64) -> (relation: OID, index: Int)? {
        for (relation, pool) in pools {
            if let index = pool.dependents.firstIndex(where: { $0.number == number }) { return (relation, index) }
        }
        return nil
    }

    /// - Parameter texts: nil where there are too many, or they could not be read.
    mutating func keysListed(_ number: UInt64, _ texts: [[UInt8]]?) {
        guard let (relation, index) = dependent(number), let pool = pools[relation] else { return }
        let dependent = pool.dependents[index]
        let kind = pool.relation.columns[dependent.column].kind
        let values = texts?.map { text in withView(text) { Value(text: $0, kind: kind) } }
        guard let values, values.allSatisfy({ $0.map { DependentFragment.isSayable($0, kind) } ?? false }),
            values.count + dependent.keys.count <= DependentFragment.keysMax
        else { return refuse(relation, index) }
        pools[relation]?.dependents[index].keys.formUnion(values.compactMap { $0 })
        pools[relation]?.dependents[index].isListed = true
        if let dependent = pools[relation]?.dependents[index] {
            pools[relation]?.dependents[index].missing = dependent.keys.filter {
                !pool.isComplete($0, of: dependent.column)
            }
        }
        fetchMissing(relation, index)
    }

    /// It is not tried again until everything is begun anew.
    private mutating func refuse(_ relation: OID, _ index: Int) {
        guard let dependent = pools[relation]?.dependents.remove(at: index),
            let partner = pools[dependent.source.relation]
        else { return }
        let link = JoinLink(use: 0, partner: 0, column: dependent.column, partnerColumn: dependent.partnerColumn)
        let name = Self.name(link, dependent.source.relation, dependent.source.condition(partner.relation))
        if refused[relation, default: []].count >= Self.refusedMax { refused[relation] = [] }
        refused[relation, default: []].insert(name)
    }

    /// Rows of keys that are missing are loaded, all together, one time after the other.
    mutating func fetchMissing(_ relation: OID, _ index: Int) {
        guard let dependent = pools[relation]?.dependents[index], dependent.isListed, dependent.population == nil,
            !dependent.missing.isEmpty
        else { return }
        let fragment = Fragment(
            relation: relation,
            constraints: [BoundConstraint(column: dependent.column, test: .among(dependent.missing.sorted(by: <)))])
        guard let population = begin(fragment, isPinned: dependent.isPinned, isOfKeys: true) else { return }
        pools[relation]?.dependents[index].population = population
        pools[relation]?.dependents[index].isRecent = false
    }

    // MARK: - Following

    /// What a changed row means for a dependent fragment.
    private enum Arrival {
        case nothing
        case newKey(Value, isMissing: Bool)
        case tooMany
        /// Which key it has is not told, or cannot be said.
        case unknown
    }

    /// A row has come into a fragment on which others depend, or has changed there.
    mutating func noteKeys(of change: BoundChange) {
        guard case .row(_, _, let new?) = change.extent else { return }
        for relation in pools.filter({ !$0.value.dependents.isEmpty }).map(\.key) {
            for index in (pools[relation]?.dependents.indices ?? 0..<0).reversed() {
                switch arrival(of: new, change.relation, relation, index) {
                case .nothing: continue
                case .tooMany: refuse(relation, index)
                case .unknown: pools[relation]?.dependents.remove(at: index)
                case .newKey(let key, let isMissing):
                    pools[relation]?.dependents[index].keys.insert(key)
                    guard isMissing else { continue }
                    pools[relation]?.dependents[index].missing.insert(key)
                    // Whoever used it since the last time will ask again.
                    if pools[relation]?.dependents[index].isRecent ?? false { fetchMissing(relation, index) }
                }
            }
        }
    }

    /// Apart, so that nobody holds the keys while they are changed.
    private func arrival(of new: RowValues, _ source: OID, _ relation: OID, _ index: Int) -> Arrival {
        guard let pool = pools[relation] else { return .nothing }
        let dependent = pool.dependents[index]
        guard dependent.source.relation == source, dependent.source.mayMatch(new) else { return .nothing }
        switch new[dependent.partnerColumn] {
        case .null: return .nothing
        case .unknown, .notNull: return .unknown
        case .value(let key):
            if dependent.keys.contains(key) || Mutation.newKeyForgotten.isOn { return .nothing }
            let kind = pool.relation.columns[dependent.column].kind
            guard DependentFragment.isSayable(key, kind) else { return .unknown }
            if dependent.keys.count >= DependentFragment.keysMax { return .tooMany }
            return .newKey(key, isMissing: dependent.isListed && !pool.isComplete(key, of: dependent.column))
        }
    }

    /// Its rows are there.
    mutating func keysCompleted(by fragment: Fragment) {
        guard let pool = pools[fragment.relation], !pool.dependents.isEmpty else { return }
        for (index, dependent) in pool.dependents.enumerated() where !dependent.missing.isEmpty {
            pools[fragment.relation]?.dependents[index].missing = dependent.missing.filter {
                !fragment.hasAll($0, of: dependent.column)
            }
        }
    }

    /// These are gone: keys of theirs may be missing, and what depends on their rows knows nothing more of them.
    mutating func keysDropped(with dropped: [Fragment], of relation: OID) {
        guard let pool = pools[relation] else { return }
        for (index, dependent) in pool.dependents.enumerated() where dependent.isListed {
            let missing = dependent.keys.filter { key in
                dropped.contains { $0.hasAll(key, of: dependent.column) } && !pool.isComplete(key, of: dependent.column)
            }
            pools[relation]?.dependents[index].missing.formUnion(missing)
        }
        guard pool.hasDependents else { return }
        for (other, dependents) in pools.mapValues(\.dependents) where !dependents.isEmpty {
            pools[other]?.dependents.removeAll { $0.source.relation == relation && !pool.hasAll(of: $0.source) }
        }
    }

    /// A population has ended, well or not.
    mutating func keysEnded(_ id: PopulationID, _ relation: OID, _ failure: PopulationFailure? = nil) {
        guard let index = pools[relation]?.dependents.firstIndex(where: { $0.population == id }) else { return }
        pools[relation]?.dependents[index].population = nil
        if failure == .tooLarge {
            refuse(relation, index)
        } else if failure == nil, pools[relation]?.dependents[index].isRecent ?? false {
            fetchMissing(relation, index)
        }
    }
}

extension RelationPool {
    mutating func keysUsed(of column: Int) {
        for index in fragments.indices where fragments[index].isOfKeys {
            if fragments[index].fragment.constraints.first?.column == column { fragments.used(index) }
        }
    }

    /// What was loaded for keys of one column, piece by piece, becomes one fragment.
    mutating func uniteKeys(of column: Int) {
        var values: [Value] = []
        var united: [Loaded] = []
        for loaded in fragments where loaded.isOfKeys && loaded.isComplete {
            guard loaded.fragment.constraints.count == 1, let constraint = loaded.fragment.constraints.first,
                constraint.column == column, case .among(let some) = constraint.test,
                values.count + some.count <= DependentFragment.keysMax
            else { continue }
            values += some
            united.append(loaded)
        }
        guard united.count > 1 else { return }
        fragments.removeAll { loaded in united.contains { $0.fragment == loaded.fragment } && loaded.isComplete }
        let all = BoundConstraint(column: column, test: .among(Set(values).sorted(by: <)))
        fragments.append(
            Loaded(
                fragment: Fragment(relation: relation.oid, constraints: [all]),
                isPinned: united.contains(where: \.isPinned), isOfKeys: true,
                bytes: united.reduce(0) { $0 + $1.bytes }))
    }

    /// Whether all rows with this value are there.
    func isComplete(_ key: Value, of column: Int) -> Bool {
        fragments.contains { $0.isComplete && $0.fragment.hasAll(key, of: column) }
    }

    /// Whether one complete fragment has all rows of this one.
    func hasAll(of fragment: Fragment) -> Bool {
        fragments.index(containing: fragment.use, isComplete: true) != nil
    }
}
