import CDC
import PGProtocol

/// The rows of one relation in the cache database, and which fragments of it they make complete.
///
///     asked ─schema→ (a view: waiting for what it reads) → creating ─created→ ready
///       └─refused──────────────────────────────────────────────┴─failed→ refused, until the schema changes
///
/// A view is one without rows: it has no fragments.
///
/// Invariant: a row in the pool is the origin's row with that key after all changes that were applied. Rows that belong
/// to no fragment may stay behind; they are kept up to date, or deleted, like the others. Fragments are *loading* from
/// the moment their population is sent: from then on changes of rows that may belong to them are applied, and the
/// population brings what was not changed since [T5].
///
/// Owner: the row tier. Bounds: `RowLimits.fragmentsMax`.
struct RelationPool {
    enum State: Equatable {
        case asked
        /// Until these are ready.
        case waiting(Set<OID>)
        case creating
        case ready
        case refused(String)
    }
    struct Loaded {
        var fragment: Fragment
        /// Nil when it is complete.
        var population: PopulationID?
        /// Was used since the clock's hand came by.
        var isRecent = true
        /// Stays, whatever it takes.
        var isPinned = false
        /// Holds keys that dependent fragments wanted.
        var isOfKeys = false
        /// That were copied for it.
        var bytes = 0

        var isComplete: Bool { population == nil }
    }

    let relation: Relation
    var state = State.asked
    var table: PoolTable?
    /// Bytes at the origin, when the schema was asked for.
    var originBytes = 0
    /// In the cache database: the table's number, and the types of its columns.
    var tableOID = OID(0)
    var columnTypes: [OID] = []
    var fragments = FragmentTable()
    var dependents: [DependentFragment] = []
    /// Of other relations, on this one's fragments; or there were some.
    var hasDependents = false
    /// By its columns: where the stream's images have them, under the shape that it was made for.
    private var positions: [Int] = []
    private var shape: RelationShape?
    /// Tables that reading this one reads, too, as at the origin.
    var children: Set<OID> = []
    /// Those that were told to be.
    var childrenAsked: Set<OID> = []
    /// Bytes in the cache database, as measured last.
    var bytes = 0
    /// Of these, about, what was removed since the table was made smaller.
    var bytesRemoved = 0

    init(_ relation: Relation) { self.relation = relation }

    var isReady: Bool { state == .ready }
    var isRefused: Bool { if case .refused = state { true } else { false } }
    var isEmpty: Bool { fragments.isEmpty }

    /// Whether all rows that could satisfy the use are there.
    mutating func covers(_ use: BoundUse) -> Bool {
        if let index = fragments.index(containing: use, isComplete: true) {
            fragments.used(index)
            return true
        }
        // One value after the other: each may be in another fragment.
        for (position, constraint) in use.constraints.enumerated() {
            guard let alternatives = constraint.alternatives, alternatives.count > 1, alternatives.count <= 64 else {
                continue
            }
            var one = use
            let areCovered = alternatives.allSatisfy { alternative in
                one.constraints[position] = alternative
                guard let index = fragments.index(containing: one, isComplete: true) else { return false }
                fragments.used(index)
                return true
            }
            if areCovered { return true }
        }
        return false
    }

    /// Whether rows that the use needs are neither there nor coming.
    mutating func isWanting(_ use: BoundUse) -> Bool { isReady && !covers(use) && !isLoading(use) }

    func isLoading(_ use: BoundUse) -> Bool { fragments.index(containing: use, isComplete: false) != nil }

    /// Where the images of this shape have the table's columns; false where they do not have them all.
    mutating func prepare(for shape: RelationShape) -> Bool {
        if self.shape == shape { return true }
        guard let table else { return false }
        var positions: [Int] = []
        for column in table.columns {
            guard let position = shape.columns.firstIndex(where: { $0.name == column }),
                let known = relation.columns.first(where: { $0.name == column }),
                shape.columns[position].type == known.type
            else { return false }
            positions.append(position)
        }
        self.positions = positions
        self.shape = shape
        return true
    }

    /// What a change is in the table.
    struct Outcome {
        var operations: [RowOperation] = []
        /// Keys of rows of which the pool has, from now on, what there is.
        var touched: [[[UInt8]]] = []
        /// What has changed of a row that the pool may not have: a population brings the rest.
        var amendment: RowAmendment?
        /// Of the row before the change, if there was one.
        var oldKey: [[UInt8]]?
    }

    /// Nil where the images do not tell which row it is about.
    ///
    /// - Parameter bound: the same change by the relation's columns.
    func outcome(of change: RowChange, _ bound: BoundChange) -> Outcome? {
        func operation(_ kind: RowOperation.Kind) -> RowOperation {
            RowOperation(relation: relation.oid, kind: kind)
        }
        switch change.kind {
        case .truncate: return Outcome(operations: [operation(.truncate)])
        case .insert(let new):
            guard let row = images(new), let key = key(row, nil) else { return nil }
            return Outcome(operations: isHeld(bound) ? [operation(.upsert(row))] : [], touched: [key])
        case .delete(let old):
            guard let key = oldImage(old).flatMap({ key($0, nil) }) else { return nil }
            return Outcome(operations: [operation(.delete(key: key))], touched: [key], oldKey: key)
        case .update(let old, let new):
            let before = oldImage(old)
            guard var row = images(new), let newKey = key(row, before),
                let oldKey = before.map({ key($0, nil) }) ?? newKey
            else { return nil }
            if case .full = old, let before {
                // A TOASTed value that was not touched is in the old image.
                for position in row.indices where row[position] == .unchanged { row[position] = before[position] }
            }
            let keys = oldKey == newKey ? [newKey] : [oldKey, newKey]
            guard isHeld(bound) else {
                return Outcome(operations: keys.map { operation(.delete(key: $0)) }, touched: keys, oldKey: oldKey)
            }
            guard row.contains(.unchanged) else {
                let leaving = oldKey == newKey ? [] : [operation(.delete(key: oldKey))]
                return Outcome(operations: leaving + [operation(.upsert(row))], touched: keys, oldKey: oldKey)
            }
            let update = operation(.update(key: oldKey, row))
            return oldKey == newKey
                ? Outcome(operations: [update], amendment: RowAmendment(key: newKey, row: row), oldKey: oldKey)
                : Outcome(operations: [update], touched: keys, oldKey: oldKey)
        }
    }

    /// A row of the table as an image of the stream.
    func image(_ row: RowImage) -> RowImage? {
        guard let shape, row.count == positions.count, row.count == shape.columns.count else { return nil }
        var image = row
        for (value, position) in zip(row, positions) { image[position] = value }
        return image
    }

    private func isHeld(_ bound: BoundChange) -> Bool {
        guard case .row(_, _, let new?) = bound.extent else { return true }
        return fragments.mayHold(new)
    }

    private func oldImage(_ old: RowChange.OldImage) -> [ColumnImage]? {
        switch old {
        case .absent: nil
        case .key(let image), .full(let image): images(image)
        }
    }

    /// By the table's columns.
    private func images(_ image: RowImage) -> [ColumnImage]? {
        guard let shape, image.count == shape.columns.count else { return nil }
        return positions.map { image[$0] }
    }

    /// The key's values as text. A TOASTed one that an UPDATE did not touch is in the old image.
    private func key(_ row: [ColumnImage], _ before: [ColumnImage]?) -> [[UInt8]]? {
        guard let table else { return nil }
        var key: [[UInt8]] = []
        for position in table.key {
            switch (row[position], before?[position]) {
            case (.text(let bytes), _), (.unchanged, .text(let bytes)): key.append(bytes)
            default: return nil
            }
        }
        return key
    }
}
