import Mutation
import PGProtocol

/// Which entries a row change can alter [I1, I2, I3].
///
/// An entry depends on each of its uses; a change alters it if, for some use, the image before or
/// after satisfies all constraints, where what is not known may be anything, and a column that it reads may be
/// another now. So that a change meets only entries it is likely to hit, uses are filed by their constraints
/// (`Filing`). Those that are filed by the same columns share a *cabinet*, which has a *drawer* for each combination of
/// values that one of them needs there. In a drawer the nodes of its uses are a list or, if the cabinet has a column in
/// order, a tree of intervals with a list for each. A change looks into one drawer of each cabinet of its relation.
///
/// Where an old image does not tell a column of a cabinet, every use in there could have held the row. Entries whose
/// rows' primary keys are known (`hold`) are exempt: they are found by the old image's key, and by nothing else of it.
/// They are filed in cabinets of their own, and once more in a cabinet of their keys.
///
/// Nodes sit in one pool and are linked both ways, so that forgetting an entry costs the number of its
/// nodes. Owner: `Memo`, which bounds the size through `cost`, an estimate of the bytes; the pools keep
/// the size they once had. Kinds of
/// constraints and images must stem from the same description of the relation: after a change of
/// schema the owner forgets everything [D1].
final class DependencyIndex {
    private static let none = UInt32.max
    /// Relations whose identity is noted at a time.
    static let relationsMax = 1 << 16
    /// Of one relation; further uses are filed under one column at most. Each costs every change a look.
    static let cabinetsMax = 64

    private struct Cabinet {
        enum Purpose { case plain, held, keys }
        var relation: OID
        var purpose: Purpose
        var equalColumns: [Int]
        /// Below zero for none.
        var orderedColumn: Int
        var firstDrawer = DependencyIndex.none
    }
    private struct DrawerKey: Hashable {
        var cabinet: UInt32
        /// Nil where the cabinet has no columns for equality.
        var values: RowKey?
    }
    private struct Drawer {
        var key: DrawerKey
        /// Without a column in order.
        var head = DependencyIndex.none
        /// With one.
        var root = IntervalTrees.none
        var nextOfCabinet = DependencyIndex.none
        var previousOfCabinet = DependencyIndex.none
    }
    private struct Node {
        /// Index of the entry.
        var entry: UInt32
        /// Position in the entry's uses; of a key, where it stands for all of them, 0.
        var use: UInt32
        var drawer: UInt32
        var interval = IntervalTrees.none
        var next = DependencyIndex.none
        var previous = DependencyIndex.none
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
    private struct Cabinets {
        var plain: [UInt32] = []
        var held: [UInt32] = []
        var keys = DependencyIndex.none

        var isEmpty: Bool { plain.isEmpty && held.isEmpty && keys == DependencyIndex.none }
    }

    private var nodes: [Node] = []
    private var firstFreeNode = none
    private var trees = IntervalTrees()
    private var drawers: [Drawer] = []
    private var freeDrawers: [UInt32] = []
    private var drawerOf: [DrawerKey: UInt32] = [:]
    private var cabinets: [Cabinet] = []
    private var freeCabinets: [UInt32] = []
    private var cabinetsOf: [OID: Cabinets] = [:]
    private var registrations: [Registration?] = []
    private var identityColumns: [OID: [Int]] = [:]
    private var searches: UInt64 = 0
    /// Reused by searches.
    private var found: [UInt32] = []
    private var nodeChecks: UInt64 = 0

    private(set) var entryCount = 0
    private(set) var nodeCount = 0
    /// Nodes and intervals that searches looked at, since the beginning.
    var checks: UInt64 { nodeChecks &+ trees.checks }
    /// Everything that is not empty.
    var listCount: Int { drawerOf.count + trees.count + cabinetsOf.count }

    // MARK: Cost

    private static let bytesPerNode = MemoryLayout<Node>.stride + 8
    private static let bytesPerDrawer = MemoryLayout<Drawer>.stride + MemoryLayout<DrawerKey>.stride + 16
    private static let bytesPerInterval = MemoryLayout<IntervalTrees.Interval>.stride

    /// Bytes that registering these takes, about.
    static func cost(of uses: [BoundUse]) -> Int {
        uses.reduce(MemoryLayout<Registration>.stride) { sum, use in
            let (count, bytes) = Filing.costliest(use)
            return sum + use.footprint + count * (bytesPerNode + bytesPerDrawer + bytesPerInterval) + bytes
        }
    }

    static func cost(of keys: [RowKey]) -> Int {
        keys.reduce(0) { $0 + bytesPerNode + bytesPerDrawer + $1.footprint }
    }

    // MARK: Filing

    /// Which columns old images will tell; decides only where uses are filed best. `affected` is right
    /// without it.
    func noteIdentity(of relation: Relation) {
        if identityColumns.count >= Self.relationsMax { identityColumns.removeAll() }
        identityColumns[relation.oid] = relation.identityColumns
    }

    /// What an entry was filed under; none when it is gone.
    func uses(of id: EntryID) -> [BoundUse] {
        let slot = Int(id.index)
        guard registrations.indices.contains(slot), let known = registrations[slot], known.id == id else { return [] }
        return known.uses
    }

    /// Files a new entry. Its slot must not be registered.
    func register(_ id: EntryID, uses: [BoundUse]) {
        let slot = Int(id.index)
        while registrations.count <= slot { registrations.append(nil) }
        precondition(registrations[slot] == nil, "an entry is registered once")
        registrations[slot] = Registration(id: id, uses: uses, firstNode: Self.none)
        entryCount += 1
        for (position, use) in uses.enumerated() {
            file(id.index, position, use, Filing(use, known: identityColumns[use.relation] ?? []), .plain)
        }
    }

    /// From now on an old image whose key is known alters this entry exactly if its key is one of
    /// these. All its uses must be of one relation. False when it is not registered or they are not.
    func hold(_ id: EntryID, keys: [RowKey]) -> Bool {
        let slot = Int(id.index)
        guard let registration = registration(id), !registration.isHeld,
            let relation = registration.uses.first?.relation,
            registration.uses.allSatisfy({ $0.relation == relation })
        else { return false }
        registrations[slot]?.isHeld = true
        removeNodes(of: slot)
        for (position, use) in registration.uses.enumerated() {
            file(id.index, position, use, Filing(use, known: nil), .held)
        }
        let cabinet = cabinet(relation, .keys, [], -1)
        for key in Set(keys) { link(id.index, 0, drawer(DrawerKey(cabinet: cabinet, values: key))) }
        return true
    }

    /// Forgets an entry; nothing happens when it is not registered.
    func unregister(_ id: EntryID) {
        guard registration(id) != nil else { return }
        removeNodes(of: Int(id.index))
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

    private func file(_ entry: UInt32, _ position: Int, _ use: BoundUse, _ filing: Filing, _ purpose: Cabinet.Purpose) {
        var filing = filing
        var cabinet = existingCabinet(use.relation, purpose, filing)
        if cabinet == nil, isFull(use.relation, purpose) { filing = filing.narrowed }
        cabinet = cabinet ?? self.cabinet(use.relation, purpose, filing.equalColumns, filing.orderedColumn)
        guard let cabinet else { return }
        for values in filing.combinations {
            let drawer = drawer(DrawerKey(cabinet: cabinet, values: values))
            if filing.orderedColumn < 0 {
                link(entry, position, drawer)
            } else {
                let interval = trees.insert(filing.lower, filing.upper, into: &drawers[Int(drawer)].root)
                link(entry, position, drawer, interval)
            }
        }
    }

    // MARK: Searching

    /// Appends every entry that the change can alter, each once, in no particular order.
    func affected(by change: BoundChange, into affected: inout [EntryID]) {
        guard let own = cabinetsOf[change.relation] else { return }
        searches += 1
        switch change.extent {
        case .whole:
            for cabinet in own.plain + own.held {
                searchAll(cabinet, nil, .all, into: &affected)
            }
        case .row(let old, let oldKey, let new):
            if let new {
                for cabinet in own.plain { searchCabinet(cabinet, new, change.changed, into: &affected) }
                for cabinet in own.held { searchCabinet(cabinet, new, change.changed, into: &affected) }
            }
            if Mutation.newImageOnly.isOn { return }
            if let old, old != new {
                for cabinet in own.plain { searchCabinet(cabinet, old, change.changed, into: &affected) }
                for cabinet in own.held where oldKey == nil {
                    searchCabinet(cabinet, old, change.changed, into: &affected)
                }
            }
            if let oldKey, own.keys != Self.none,
                let drawer = drawerOf[DrawerKey(cabinet: own.keys, values: oldKey)]
            {
                reportHolders(drawers[Int(drawer)].head, change.changed, into: &affected)
            }
        }
    }

    private func searchCabinet(
        _ number: UInt32, _ image: RowValues, _ changed: ColumnMask, into affected: inout [EntryID]
    ) {
        let equalColumns = cabinets[Int(number)].equalColumns
        guard let first = equalColumns.first else {
            if let drawer = drawerOf[DrawerKey(cabinet: number, values: nil)] {
                searchDrawer(drawer, image, changed, into: &affected)
            }
            return
        }
        var isKnown = true
        for column in equalColumns {
            switch image[column] {
            case .value: break
            case .null: return
            case .unknown, .notNull: isKnown = false
            }
        }
        guard isKnown, case .value(let value) = image[first] else {
            return searchAll(number, image, changed, into: &affected)
        }
        var key = RowKey(first: value)
        for column in equalColumns.dropFirst() {
            if case .value(let value) = image[column] { key.rest.append(value) }
        }
        if let drawer = drawerOf[DrawerKey(cabinet: number, values: key)] {
            searchDrawer(drawer, image, changed, into: &affected)
        }
    }

    /// Every drawer of a cabinet; without an image, all that is in there.
    private func searchAll(
        _ number: UInt32, _ image: RowValues?, _ changed: ColumnMask, into affected: inout [EntryID]
    ) {
        var drawer = cabinets[Int(number)].firstDrawer
        while drawer != Self.none {
            searchDrawer(drawer, image, changed, into: &affected)
            drawer = drawers[Int(drawer)].nextOfCabinet
        }
    }

    private func searchDrawer(
        _ number: UInt32, _ image: RowValues?, _ changed: ColumnMask, into affected: inout [EntryID]
    ) {
        let drawer = drawers[Int(number)]
        let orderedColumn = cabinets[Int(drawer.key.cabinet)].orderedColumn
        guard orderedColumn >= 0 else { return check(drawer.head, image, changed, into: &affected) }
        found.removeAll(keepingCapacity: true)
        switch image?[orderedColumn] {
        case .null: return
        case .value(let value): trees.append(holding: value, below: drawer.root, to: &found)
        case .unknown, .notNull, nil: trees.append(allBelow: drawer.root, to: &found)
        }
        for interval in found { check(trees[interval].head, image, changed, into: &affected) }
    }

    private func check(_ head: UInt32, _ image: RowValues?, _ changed: ColumnMask, into affected: inout [EntryID]) {
        var node = head
        while node != Self.none {
            let entry = Int(nodes[Int(node)].entry)
            let use = Int(nodes[Int(node)].use)
            node = nodes[Int(node)].next
            nodeChecks &+= 1
            guard let registration = registrations[entry], registration.reported != searches,
                registration.uses[use].depends(on: changed),
                image.map(registration.uses[use].mayMatch) ?? true
            else { continue }
            registrations[entry]?.reported = searches
            affected.append(registration.id)
        }
    }

    private func reportHolders(_ head: UInt32, _ changed: ColumnMask, into affected: inout [EntryID]) {
        var node = head
        while node != Self.none {
            let entry = Int(nodes[Int(node)].entry)
            node = nodes[Int(node)].next
            nodeChecks &+= 1
            guard let registration = registrations[entry], registration.reported != searches,
                registration.uses.contains(where: { $0.depends(on: changed) })
            else { continue }
            registrations[entry]?.reported = searches
            affected.append(registration.id)
        }
    }

    // MARK: Cabinets and drawers

    private func isFull(_ relation: OID, _ purpose: Cabinet.Purpose) -> Bool {
        guard let own = cabinetsOf[relation] else { return false }
        return (purpose == .plain ? own.plain : own.held).count >= Self.cabinetsMax
    }

    private func existingCabinet(_ relation: OID, _ purpose: Cabinet.Purpose, _ filing: Filing) -> UInt32? {
        guard let own = cabinetsOf[relation] else { return nil }
        return find(purpose == .plain ? own.plain : own.held, filing.equalColumns, filing.orderedColumn)
    }

    private func find(_ numbers: [UInt32], _ equalColumns: [Int], _ orderedColumn: Int) -> UInt32? {
        numbers.first {
            cabinets[Int($0)].orderedColumn == orderedColumn && cabinets[Int($0)].equalColumns == equalColumns
        }
    }

    private func cabinet(
        _ relation: OID, _ purpose: Cabinet.Purpose, _ equalColumns: [Int], _ orderedColumn: Int
    ) -> UInt32 {
        var own = cabinetsOf[relation] ?? Cabinets()
        switch purpose {
        case .plain: if let known = find(own.plain, equalColumns, orderedColumn) { return known }
        case .held: if let known = find(own.held, equalColumns, orderedColumn) { return known }
        case .keys: if own.keys != Self.none { return own.keys }
        }
        let made = Cabinet(
            relation: relation, purpose: purpose, equalColumns: equalColumns, orderedColumn: orderedColumn)
        let number: UInt32
        if let free = freeCabinets.popLast() {
            number = free
            cabinets[Int(number)] = made
        } else {
            number = UInt32(cabinets.count)
            cabinets.append(made)
        }
        switch purpose {
        case .plain: own.plain.append(number)
        case .held: own.held.append(number)
        case .keys: own.keys = number
        }
        cabinetsOf[relation] = own
        return number
    }

    private func removeCabinet(_ number: UInt32) {
        let relation = cabinets[Int(number)].relation
        guard var own = cabinetsOf[relation] else { return }
        switch cabinets[Int(number)].purpose {
        case .plain: own.plain.removeAll { $0 == number }
        case .held: own.held.removeAll { $0 == number }
        case .keys: own.keys = Self.none
        }
        cabinetsOf[relation] = own.isEmpty ? nil : own
        freeCabinets.append(number)
    }

    private func drawer(_ key: DrawerKey) -> UInt32 {
        if let known = drawerOf[key] { return known }
        let next = cabinets[Int(key.cabinet)].firstDrawer
        let made = Drawer(key: key, nextOfCabinet: next)
        let number: UInt32
        if let free = freeDrawers.popLast() {
            number = free
            drawers[Int(number)] = made
        } else {
            number = UInt32(drawers.count)
            drawers.append(made)
        }
        if next != Self.none { drawers[Int(next)].previousOfCabinet = number }
        cabinets[Int(key.cabinet)].firstDrawer = number
        drawerOf[key] = number
        return number
    }

    private func removeDrawer(_ number: UInt32) {
        let drawer = drawers[Int(number)]
        let (next, previous) = (drawer.nextOfCabinet, drawer.previousOfCabinet)
        if next != Self.none { drawers[Int(next)].previousOfCabinet = previous }
        if previous != Self.none {
            drawers[Int(previous)].nextOfCabinet = next
        } else {
            cabinets[Int(drawer.key.cabinet)].firstDrawer = next
        }
        drawerOf[drawer.key] = nil
        // It is not looked at again, but what its key holds is given back now.
        drawers[Int(number)].key.values = nil
        freeDrawers.append(number)
        if cabinets[Int(drawer.key.cabinet)].firstDrawer == Self.none { removeCabinet(drawer.key.cabinet) }
    }

    // MARK: Nodes

    private func link(_ entry: UInt32, _ use: Int, _ drawer: UInt32, _ interval: UInt32 = IntervalTrees.none) {
        let first = registrations[Int(entry)]?.firstNode ?? Self.none
        let head = interval == IntervalTrees.none ? drawers[Int(drawer)].head : trees[interval].head
        let made = Node(
            entry: entry, use: UInt32(use), drawer: drawer, interval: interval, next: head, nextOfEntry: first)
        let node: UInt32
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
        if head != Self.none { nodes[Int(head)].previous = node }
        setHead(node, drawer, interval)
    }

    private func setHead(_ head: UInt32, _ drawer: UInt32, _ interval: UInt32) {
        if interval == IntervalTrees.none {
            drawers[Int(drawer)].head = head
        } else {
            trees[interval].head = head
        }
    }

    private func removeNodes(of slot: Int) {
        var node = registrations[slot]?.firstNode ?? Self.none
        registrations[slot]?.firstNode = Self.none
        while node != Self.none {
            let removed = nodes[Int(node)]
            unlink(removed)
            nodes[Int(node)].nextOfEntry = firstFreeNode
            firstFreeNode = node
            nodeCount -= 1
            node = removed.nextOfEntry
        }
    }

    /// Takes a node out of its list, and the list away when it was the last.
    private func unlink(_ node: Node) {
        if node.next != Self.none { nodes[Int(node.next)].previous = node.previous }
        if node.previous != Self.none { return nodes[Int(node.previous)].next = node.next }
        setHead(node.next, node.drawer, node.interval)
        guard node.next == Self.none else { return }
        if node.interval != IntervalTrees.none {
            trees.remove(node.interval, from: &drawers[Int(node.drawer)].root)
            if drawers[Int(node.drawer)].root != IntervalTrees.none { return }
        }
        removeDrawer(node.drawer)
    }
}
