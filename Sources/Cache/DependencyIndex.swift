import Mutation
import PGProtocol

/// Which entries a row change can alter [I1, I2, I3].
///
/// An entry depends on each of its uses; a change alters it if, for some use, the image before or
/// after satisfies all constraints, where what is not known may be anything. So that a change meets
/// only entries it is likely to hit, each use is *filed* once:
/// - under every value of an equality, preferably on a column of the replica identity, because old
///   images tell that one;
/// - else in the list of a column with a range, checked one by one for each change: linear in the
///   entries with a range on that column;
/// - else in the list of the relation.
///
/// Where an old image does not tell the column of an equality, every entry filed under that column
/// could have held the row. Entries whose rows' primary keys are known (`hold`) are exempt: they are
/// found by the old image's key, and by nothing else of it. Every list but that of a value is
/// therefore kept in two halves, held and not held.
///
/// Nodes sit in one pool and are linked both ways, so that forgetting an entry costs the number of its
/// nodes. Owner: `Memo`, which bounds the size through `cost`, an estimate of the bytes; the pools keep
/// the size they once had. Kinds of
/// constraints and images must stem from the same description of the relation: after a change of
/// schema the owner forgets everything [D1].
final class DependencyIndex {
    private static let none = UInt32.max
    /// An equality with more values than this is treated as a range.
    static let filedValuesMax = 256
    /// Relations whose identity is noted at a time.
    static let relationsMax = 1 << 16

    private enum ListKey: Hashable {
        /// Filed under a value of a column.
        case value(OID, Int, Value)
        /// All that is filed under values of a column.
        case column(OID, Int, isHeld: Bool)
        case range(OID, Int, isHeld: Bool)
        case relation(OID, isHeld: Bool)
        /// Entries that hold the row with this primary key.
        case key(OID, RowKey)

        var isHeld: Bool? {
            switch self {
            case .value, .key: nil
            case .column(_, _, let isHeld), .range(_, _, let isHeld), .relation(_, let isHeld): isHeld
            }
        }
        var held: ListKey {
            switch self {
            case .value, .key: self
            case .column(let relation, let column, _): .column(relation, column, isHeld: true)
            case .range(let relation, let column, _): .range(relation, column, isHeld: true)
            case .relation(let relation, _): .relation(relation, isHeld: true)
            }
        }
    }
    private struct List {
        var key: ListKey
        var head: UInt32
    }
    private struct Node {
        /// Index of the entry.
        var entry: UInt32
        /// Position in the entry's uses.
        var use: UInt32
        var list: UInt32
        var next: UInt32
        var previous: UInt32
        var nextOfEntry: UInt32
    }
    private struct Registration {
        var id: EntryID
        var uses: [BoundUse]
        var firstNode: UInt32
        var isHeld = false
        /// The last search that reported it.
        var reported: UInt64 = 0
    }
    /// How many uses are filed under a column, so that a search looks at no other columns.
    private struct FiledColumn {
        var column: Int
        var equalities = 0
        var ranges = 0
    }

    private var nodes: [Node] = []
    private var firstFreeNode = none
    private var lists: [List] = []
    private var freeLists: [UInt32] = []
    private var listOf: [ListKey: UInt32] = [:]
    private var registrations: [Registration?] = []
    private var filed: [OID: [FiledColumn]] = [:]
    private var identityColumns: [OID: [Int]] = [:]
    private var search: UInt64 = 0

    private(set) var entryCount = 0
    /// Nodes that searches looked at, since the beginning.
    private(set) var checks: UInt64 = 0
    private(set) var nodeCount = 0
    var listCount: Int { listOf.count }

    // MARK: Cost

    private static let bytesPerNode = MemoryLayout<Node>.stride + 8
    private static let bytesPerList = MemoryLayout<List>.stride + 2 * MemoryLayout<ListKey>.stride + 16

    /// Bytes that registering these takes, about.
    static func cost(of uses: [BoundUse]) -> Int {
        uses.reduce(MemoryLayout<Registration>.stride) { sum, use in
            sum + use.footprint + bytesPerNode
                + use.constraints.reduce(0) { most, constraint in
                    guard case .among(let values) = constraint.test,
                        values.count <= filedValuesMax
                    else { return most }
                    return max(
                        most,
                        values.reduce(0) { $0 + bytesPerNode + bytesPerList + $1.footprint })
                }
        }
    }

    static func cost(of keys: [RowKey]) -> Int {
        keys.reduce(0) { $0 + bytesPerNode + bytesPerList + $1.footprint }
    }

    // MARK: Filing

    /// Which columns old images will tell; decides only where uses are filed best. `affected` is right
    /// without it.
    func noteIdentity(of relation: Relation) {
        if identityColumns.count >= Self.relationsMax { identityColumns.removeAll() }
        identityColumns[relation.oid] = relation.identityColumns
    }

    /// Files a new entry. Its slot must not be registered.
    func register(_ id: EntryID, uses: [BoundUse]) {
        let slot = Int(id.index)
        while registrations.count <= slot { registrations.append(nil) }
        precondition(registrations[slot] == nil, "an entry is registered once")
        registrations[slot] = Registration(id: id, uses: uses, firstNode: Self.none)
        entryCount += 1
        for (position, use) in uses.enumerated() {
            switch filing(of: use) {
            case .equality(let column, let values):
                count(use.relation, column, equalities: 1, ranges: 0)
                link(id.index, position, .column(use.relation, column, isHeld: false))
                for value in Set(values) {
                    link(id.index, position, .value(use.relation, column, value))
                }
            case .range(let column):
                count(use.relation, column, equalities: 0, ranges: 1)
                link(id.index, position, .range(use.relation, column, isHeld: false))
            case .relation:
                count(use.relation, -1, equalities: 0, ranges: 1)
                link(id.index, position, .relation(use.relation, isHeld: false))
            }
        }
    }

    /// From now on an old image whose key is known alters this entry exactly if its key is one of
    /// these. The entry must have one use. False when it is not registered or has several.
    func hold(_ id: EntryID, keys: [RowKey]) -> Bool {
        let slot = Int(id.index)
        guard let registration = registration(id), registration.uses.count == 1, !registration.isHeld
        else { return false }
        registrations[slot]?.isHeld = true
        var node = registration.firstNode
        while node != Self.none {
            let next = nodes[Int(node)].nextOfEntry
            let key = lists[Int(nodes[Int(node)].list)].key
            if key.isHeld == false {
                unlinkFromList(node)
                linkToList(node, key.held)
            }
            node = next
        }
        let relation = registration.uses[0].relation
        for key in Set(keys) { link(id.index, 0, .key(relation, key)) }
        return true
    }

    /// Forgets an entry; nothing happens when it is not registered.
    func unregister(_ id: EntryID) {
        guard let registration = registration(id) else { return }
        var node = registration.firstNode
        while node != Self.none {
            let next = nodes[Int(node)].nextOfEntry
            let use = registration.uses[Int(nodes[Int(node)].use)]
            switch lists[Int(nodes[Int(node)].list)].key {
            case .column(_, let column, _): count(use.relation, column, equalities: -1, ranges: 0)
            case .range(_, let column, _): count(use.relation, column, equalities: 0, ranges: -1)
            case .relation: count(use.relation, -1, equalities: 0, ranges: -1)
            case .value, .key: break
            }
            unlinkFromList(node)
            nodes[Int(node)].nextOfEntry = firstFreeNode
            firstFreeNode = node
            nodeCount -= 1
            node = next
        }
        registrations[Int(id.index)] = nil
        entryCount -= 1
    }

    private func registration(_ id: EntryID) -> Registration? {
        let slot = Int(id.index)
        guard slot < registrations.count, let registration = registrations[slot],
            registration.id == id
        else { return nil }
        return registration
    }

    private enum Filing {
        case equality(column: Int, values: [Value])
        case range(column: Int)
        case relation
    }

    private func filing(of use: BoundUse) -> Filing {
        let identity = identityColumns[use.relation] ?? []
        var best: (column: Int, values: [Value], isIdentity: Bool)?
        var range: Int?
        for constraint in use.constraints {
            switch constraint.test {
            case .among(let values) where !values.isEmpty && values.count <= Self.filedValuesMax:
                let isIdentity = identity.contains(constraint.column)
                if let best, best.isIdentity && !isIdentity { continue }
                if let best, best.isIdentity == isIdentity, best.values.count <= values.count {
                    continue
                }
                best = (constraint.column, values, isIdentity)
            case .among, .range:
                if range == nil || identity.contains(constraint.column) { range = constraint.column }
            case .isNull, .isNotNull:
                break
            }
        }
        if let best { return .equality(column: best.column, values: best.values) }
        if let range { return .range(column: range) }
        return .relation
    }

    private func count(_ relation: OID, _ column: Int, equalities: Int, ranges: Int) {
        var columns = filed[relation] ?? []
        let position: Int
        if let known = columns.firstIndex(where: { $0.column == column }) {
            position = known
        } else {
            position = columns.count
            columns.append(FiledColumn(column: column))
        }
        columns[position].equalities += equalities
        columns[position].ranges += ranges
        if columns[position].equalities == 0, columns[position].ranges == 0 {
            columns.remove(at: position)
        }
        filed[relation] = columns.isEmpty ? nil : columns
    }

    // MARK: Searching

    /// Appends every entry that the change can alter, each once, in no particular order.
    func affected(by change: BoundChange, into affected: inout [EntryID]) {
        guard let columns = filed[change.relation] else { return }
        search += 1
        switch change.extent {
        case .whole:
            for column in columns { report(all: change.relation, column, into: &affected) }
        case .row(let old, let oldKey, let new):
            if let new {
                visit(change.relation, columns, new, exceptHeld: false, into: &affected)
            }
            if Mutation.newImageOnly.isOn { return }
            if let old, old != new {
                visit(change.relation, columns, old, exceptHeld: oldKey != nil, into: &affected)
            }
            if let oldKey { report(.key(change.relation, oldKey), into: &affected) }
        }
    }

    private func visit(
        _ relation: OID, _ columns: [FiledColumn], _ image: RowValues, exceptHeld: Bool,
        into affected: inout [EntryID]
    ) {
        for column in columns {
            let known = column.column < 0 ? .unknown : image[column.column]
            if column.equalities > 0 {
                switch known {
                case .value(let value):
                    let key = ListKey.value(relation, column.column, value)
                    check(key, image, exceptHeld: exceptHeld, into: &affected)
                case .unknown, .notNull:
                    for isHeld in exceptHeld ? [false] : [false, true] {
                        let key = ListKey.column(relation, column.column, isHeld: isHeld)
                        check(key, image, exceptHeld: exceptHeld, into: &affected)
                    }
                case .null:
                    break
                }
            }
            if column.ranges > 0, known != .null {
                for isHeld in exceptHeld ? [false] : [false, true] {
                    let key =
                        column.column < 0
                        ? ListKey.relation(relation, isHeld: isHeld)
                        : ListKey.range(relation, column.column, isHeld: isHeld)
                    check(key, image, exceptHeld: exceptHeld, into: &affected)
                }
            }
        }
    }

    private func check(
        _ key: ListKey, _ image: RowValues, exceptHeld: Bool, into affected: inout [EntryID]
    ) {
        guard let list = listOf[key] else { return }
        var node = lists[Int(list)].head
        while node != Self.none {
            let entry = Int(nodes[Int(node)].entry)
            let use = Int(nodes[Int(node)].use)
            node = nodes[Int(node)].next
            checks &+= 1
            guard let registration = registrations[entry], registration.reported != search,
                !(exceptHeld && registration.isHeld), registration.uses[use].mayMatch(image)
            else { continue }
            registrations[entry]?.reported = search
            affected.append(registration.id)
        }
    }

    private func report(_ key: ListKey, into affected: inout [EntryID]) {
        guard let list = listOf[key] else { return }
        var node = lists[Int(list)].head
        while node != Self.none {
            let entry = Int(nodes[Int(node)].entry)
            node = nodes[Int(node)].next
            checks &+= 1
            guard let registration = registrations[entry], registration.reported != search else {
                continue
            }
            registrations[entry]?.reported = search
            affected.append(registration.id)
        }
    }

    private func report(all relation: OID, _ column: FiledColumn, into affected: inout [EntryID]) {
        for isHeld in [false, true] {
            if column.column < 0 {
                report(.relation(relation, isHeld: isHeld), into: &affected)
            } else {
                report(.column(relation, column.column, isHeld: isHeld), into: &affected)
                report(.range(relation, column.column, isHeld: isHeld), into: &affected)
            }
        }
    }

    // MARK: Lists

    private func link(_ entry: UInt32, _ use: Int, _ key: ListKey) {
        let node: UInt32
        let first = registrations[Int(entry)]?.firstNode ?? Self.none
        let made = Node(
            entry: entry, use: UInt32(use), list: Self.none, next: Self.none, previous: Self.none,
            nextOfEntry: first)
        if firstFreeNode != Self.none {
            node = firstFreeNode
            firstFreeNode = nodes[Int(node)].nextOfEntry
            nodes[Int(node)] = made
        } else {
            node = UInt32(nodes.count)
            nodes.append(made)
        }
        nodeCount += 1
        registrations[Int(entry)]?.firstNode = node
        linkToList(node, key)
    }

    private func linkToList(_ node: UInt32, _ key: ListKey) {
        let list: UInt32
        if let known = listOf[key] {
            list = known
        } else {
            let made = List(key: key, head: Self.none)
            if let free = freeLists.popLast() {
                list = free
                lists[Int(list)] = made
            } else {
                list = UInt32(lists.count)
                lists.append(made)
            }
            listOf[key] = list
        }
        let head = lists[Int(list)].head
        nodes[Int(node)].list = list
        nodes[Int(node)].next = head
        nodes[Int(node)].previous = Self.none
        if head != Self.none { nodes[Int(head)].previous = node }
        lists[Int(list)].head = node
    }

    private func unlinkFromList(_ node: UInt32) {
        let (list, next, previous) =
            (nodes[Int(node)].list, nodes[Int(node)].next, nodes[Int(node)].previous)
        if next != Self.none { nodes[Int(next)].previous = previous }
        if previous != Self.none {
            nodes[Int(previous)].next = next
        } else {
            lists[Int(list)].head = next
        }
        if lists[Int(list)].head == Self.none {
            listOf[lists[Int(list)].key] = nil
            // The list is not looked at again, but what its key holds is given back now.
            lists[Int(list)].key = .relation(OID(0), isHeld: false)
            freeLists.append(list)
        }
    }
}
