import PGProtocol

/// What the row tier tells operators.
public struct RowFigures: Sendable {
    public struct RelationFigures: Sendable {
        public var name: String
        public var state: String
        public var bytes: Int
        /// Conditions of what is complete.
        public var fragments: [String]
    }

    public var isReady: Bool
    public var pools: Int
    public var fragments: Int
    public var bytes: Int
    public var bytesMax: Int
    /// Operations that the cache database has not answered.
    public var pending: Int
    /// Fragments that wait to be loaded, or are being loaded.
    public var populating: Int
    public var counters: RowCounters
    public var relations: [RelationFigures]
}

extension CacheStore {
    /// A page shows so many fragments of a relation.
    private static let fragmentsShownMax = 20

    public var rowFigures: RowFigures {
        let pools = rows.pools.values.sorted {
            ($0.relation.schema, $0.relation.name) < ($1.relation.schema, $1.relation.name)
        }
        return RowFigures(
            isReady: rows.isReady, pools: pools.count { $0.isReady },
            fragments: pools.reduce(0) { $0 + $1.fragments.count { $0.isComplete } },
            bytes: pools.reduce(0) { $0 + $1.bytes }, bytesMax: rows.bytesMax, pending: rows.operationCount,
            populating: rows.populations.count, counters: rows.counters,
            relations: pools.map { pool in
                RowFigures.RelationFigures(
                    name: "\(pool.relation.schema).\(pool.relation.name)", state: pool.stateName, bytes: pool.bytes,
                    fragments: pool.fragments.lazy.filter(\.isComplete).prefix(Self.fragmentsShownMax).map {
                        $0.fragment.hiddenCondition(pool.relation)
                    })
            })
    }
}

extension RelationPool {
    fileprivate var stateName: String {
        switch state {
        case .asked, .waiting, .creating: "preparing"
        case .ready: "ready"
        case .refused(let reason): "none: \(reason)"
        }
    }
}

extension Fragment {
    /// Which columns decide; constants are nobody's business.
    fileprivate func hiddenCondition(_ relation: Relation) -> String {
        if isWhole { return "all" }
        return constraints.map { constraint in
            let isKnown = relation.columns.indices.contains(constraint.column)
            let name = isKnown ? relation.columns[constraint.column].name : "?"
            switch constraint.test {
            case .among(let values): return values.count == 1 ? "\(name) = ?" : "\(name) in (?)"
            case .range: return "\(name) between ?"
            case .isNull: return "\(name) is null"
            case .isNotNull: return "\(name) is not null"
            }
        }.joined(separator: " and ")
    }
}
