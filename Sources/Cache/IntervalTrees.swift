/// Intervals of values in balanced trees (AVL) over one pool: which intervals of a tree hold a value is found in time
/// that grows with their number and the tree's height, not with its size.
///
/// A tree is in order of the lower bounds, and every interval knows the furthest upper bound in the tree below it.
/// Equal bounds are one interval, to which its owner attaches what is filed under it. Trees are known by their roots,
/// which change: the owner keeps them. Recursion is as deep as a tree is high, which is at most 1.45 times the binary
/// logarithm of its size. Owner: `DependencyIndex`.
struct IntervalTrees {
    typealias Limit = BoundConstraint.Limit
    static let none = UInt32.max

    struct Interval {
        var lower: Limit?
        var upper: Limit?
        /// The furthest upper bound of the tree below, this one included.
        fileprivate var reach: Limit?
        fileprivate var left = IntervalTrees.none
        fileprivate var right = IntervalTrees.none
        fileprivate var height: UInt8 = 1
        /// The owner's: the first node that is filed under it.
        var head = IntervalTrees.none
    }

    private var pool: [Interval] = []
    private var firstFree = none
    private(set) var count = 0
    /// Intervals that searches looked at, since the beginning.
    private(set) var checks: UInt64 = 0

    subscript(interval: UInt32) -> Interval {
        get { pool[Int(interval)] }
        _modify { yield &pool[Int(interval)] }
    }

    // MARK: Searching

    /// Appends the intervals of a tree that hold the value.
    mutating func append(holding value: Value, below root: UInt32, to found: inout [UInt32]) {
        var node = root
        while node != Self.none {
            checks &+= 1
            let position = Int(node)
            if let reach = pool[position].reach, !reach.isAbove(value) { return }
            if let lower = pool[position].lower, !lower.isBelow(value) {
                node = pool[position].left
                continue
            }
            append(holding: value, below: pool[position].left, to: &found)
            if pool[position].upper?.isAbove(value) ?? true { found.append(node) }
            node = pool[position].right
        }
    }

    /// Appends all intervals of a tree.
    func append(allBelow root: UInt32, to found: inout [UInt32]) {
        let first = found.count
        if root != Self.none { found.append(root) }
        var next = first
        while next < found.count {
            let interval = pool[Int(found[next])]
            if interval.left != Self.none { found.append(interval.left) }
            if interval.right != Self.none { found.append(interval.right) }
            next += 1
        }
    }

    // MARK: Changing

    /// The interval with these bounds, which is made if there is none.
    mutating func insert(_ lower: Limit?, _ upper: Limit?, into root: inout UInt32) -> UInt32 {
        var interval = Self.none
        root = inserting(lower, upper, at: root, &interval)
        return interval
    }

    /// The interval is not valid any more.
    mutating func remove(_ interval: UInt32, from root: inout UInt32) {
        root = removing(interval, from: root)
        pool[Int(interval)] = Interval()
        pool[Int(interval)].left = firstFree
        firstFree = interval
        count -= 1
    }

    private mutating func make(_ lower: Limit?, _ upper: Limit?) -> UInt32 {
        let made = Interval(lower: lower, upper: upper, reach: upper)
        count += 1
        guard firstFree != Self.none else {
            pool.append(made)
            return UInt32(pool.count - 1)
        }
        let interval = firstFree
        firstFree = pool[Int(interval)].left
        pool[Int(interval)] = made
        return interval
    }

    private mutating func inserting(
        _ lower: Limit?, _ upper: Limit?, at node: UInt32, _ interval: inout UInt32
    ) -> UInt32 {
        if node == Self.none {
            interval = make(lower, upper)
            return interval
        }
        let order = Self.order(lower, upper, pool[Int(node)])
        if order == 0 {
            interval = node
            return node
        }
        let child = order < 0 ? pool[Int(node)].left : pool[Int(node)].right
        let before = outline(child)
        let changed = inserting(lower, upper, at: child, &interval)
        return replaced(child, before, by: changed, isLeft: order < 0, of: node)
    }

    private mutating func removing(_ interval: UInt32, from node: UInt32) -> UInt32 {
        precondition(node != Self.none, "an interval is removed from its own tree")
        let (left, right) = (pool[Int(node)].left, pool[Int(node)].right)
        if node == interval {
            if left == Self.none { return right }
            if right == Self.none { return left }
            let (first, rest) = takingFirst(of: right)
            pool[Int(first)].left = left
            pool[Int(first)].right = rest
            return balanced(first)
        }
        let wanted = pool[Int(interval)]
        let isLeft = Self.order(wanted.lower, wanted.upper, pool[Int(node)]) < 0
        let child = isLeft ? left : right
        let before = outline(child)
        return replaced(child, before, by: removing(interval, from: child), isLeft: isLeft, of: node)
    }

    private mutating func takingFirst(of node: UInt32) -> (first: UInt32, rest: UInt32) {
        let left = pool[Int(node)].left
        if left == Self.none { return (node, pool[Int(node)].right) }
        let before = outline(left)
        let (first, rest) = takingFirst(of: left)
        return (first, replaced(left, before, by: rest, isLeft: true, of: node))
    }

    // MARK: Balance

    /// What the nodes above depend on.
    private struct Outline: Equatable {
        var height: UInt8
        var reach: Limit?
    }
    private func outline(_ node: UInt32) -> Outline? {
        node == Self.none ? nil : Outline(height: pool[Int(node)].height, reach: pool[Int(node)].reach)
    }

    /// A child has changed. Where that shows to nobody above, its sibling, far away in memory, is not looked at.
    private mutating func replaced(
        _ child: UInt32, _ before: Outline?, by changed: UInt32, isLeft: Bool, of node: UInt32
    ) -> UInt32 {
        if changed == child, before == outline(child) { return node }
        if isLeft { pool[Int(node)].left = changed } else { pool[Int(node)].right = changed }
        return balanced(node)
    }

    private func height(_ node: UInt32) -> Int { node == Self.none ? 0 : Int(pool[Int(node)].height) }

    private mutating func update(_ node: UInt32) {
        let (left, right) = (pool[Int(node)].left, pool[Int(node)].right)
        var reach = pool[Int(node)].upper
        for child in [left, right] where child != Self.none {
            let other = pool[Int(child)].reach
            if Self.order(upper: reach, other) < 0 { reach = other }
        }
        pool[Int(node)].reach = reach
        pool[Int(node)].height = UInt8(max(height(left), height(right)) + 1)
    }

    private mutating func balanced(_ node: UInt32) -> UInt32 {
        let (left, right) = (pool[Int(node)].left, pool[Int(node)].right)
        let slant = height(left) - height(right)
        if slant > 1 {
            if height(pool[Int(left)].left) < height(pool[Int(left)].right) {
                pool[Int(node)].left = rotated(left, toLeft: true)
            }
            return rotated(node, toLeft: false)
        }
        if slant < -1 {
            if height(pool[Int(right)].right) < height(pool[Int(right)].left) {
                pool[Int(node)].right = rotated(right, toLeft: false)
            }
            return rotated(node, toLeft: true)
        }
        update(node)
        return node
    }

    private mutating func rotated(_ node: UInt32, toLeft: Bool) -> UInt32 {
        let child = toLeft ? pool[Int(node)].right : pool[Int(node)].left
        if toLeft {
            pool[Int(node)].right = pool[Int(child)].left
            pool[Int(child)].left = node
        } else {
            pool[Int(node)].left = pool[Int(child)].right
            pool[Int(child)].right = node
        }
        update(node)
        update(child)
        return child
    }

    // MARK: Order

    /// Negative, zero or positive.
    private static func order(_ lower: Limit?, _ upper: Limit?, _ other: Interval) -> Int {
        let byLower = order(lower: lower, other.lower)
        return byLower != 0 ? byLower : order(upper: upper, other.upper)
    }

    /// Without a bound it begins before every other.
    private static func order(lower: Limit?, _ other: Limit?) -> Int {
        guard let lower, let other else { return lower == nil ? (other == nil ? 0 : -1) : 1 }
        if lower.value != other.value { return lower.value < other.value ? -1 : 1 }
        return lower.isInclusive == other.isInclusive ? 0 : lower.isInclusive ? -1 : 1
    }

    /// Without a bound it ends behind every other.
    private static func order(upper: Limit?, _ other: Limit?) -> Int {
        guard let upper, let other else { return upper == nil ? (other == nil ? 0 : 1) : -1 }
        if upper.value != other.value { return upper.value < other.value ? -1 : 1 }
        return upper.isInclusive == other.isInclusive ? 0 : upper.isInclusive ? 1 : -1
    }

    /// For tests: every invariant of a tree holds.
    func isSound(below root: UInt32) -> Bool {
        if root == Self.none { return true }
        let node = pool[Int(root)]
        var reach = node.upper
        for child in [node.left, node.right] where child != Self.none {
            guard isSound(below: child) else { return false }
            let other = pool[Int(child)]
            let order = Self.order(other.lower, other.upper, node)
            guard child == node.left ? order < 0 : order > 0 else { return false }
            if Self.order(upper: reach, other.reach) < 0 { reach = other.reach }
        }
        return abs(height(node.left) - height(node.right)) <= 1 && reach == node.reach
            && height(root) == max(height(node.left), height(node.right)) + 1
    }
}
