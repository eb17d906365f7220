import PGProtocol

/// Names a shape; goes stale when the shape is dropped.
struct ShapeID: Equatable {
    var index: UInt32
    var generation: UInt32
    static let none = ShapeID(index: .max, generation: 0)
}

/// What was found out about the texts of one shape under one profile.
final class Shape {
    enum State {
        /// One text of it came, and it may be the only one.
        case new
        /// When the next text of it is settled, it is learned what they have in common.
        case learning
        case learned(StatementFacts, Lesson)
        /// Their constants mean more than was understood: each is parsed.
        case unfit
    }

    let key: [UInt8]
    let profile: UInt32
    let hash: UInt64
    var state = State.new
    /// Times that it was tried to learn it.
    var attempts = 0
    /// Roles that may execute every text of it: rights depend on no constant [P1].
    var rolesAllowed = RoleSet()
    /// Was looked up since the last sweep.
    var isRecent = false

    init(key: [UInt8], profile: UInt32, hash: UInt64) {
        self.key = key
        self.profile = profile
        self.hash = hash
    }

    var isNew: Bool { if case .new = state { true } else { false } }
}

/// The shapes of the texts that were seen, under each profile.
///
/// What a shape holds was learned from the catalog: the owner empties the table with every change of the schema.
/// Bounds: `countMax` shapes and `bytesMax` bytes. When full, a sweep drops what came once or was not looked up since
/// the
/// last one; if that is not half of them, all go.
///
/// Owner: the cache store.
struct ShapeTable {
    static let countMax = 8192
    static let bytesMax = 8 << 20
    /// Longer shapes are not remembered.
    static let keyBytesMax = 16 << 10
    private static let bytesPerShape = 512

    private let seed: UInt64
    private var slots: [Shape?] = []
    private var generations: [UInt32] = []
    private var free: [UInt32] = []
    private var numbers: [UInt64: UInt32] = [:]
    private(set) var bytes = 0

    init(seed: UInt64) { self.seed = seed }

    var count: Int { numbers.count }

    subscript(id: ShapeID) -> Shape? {
        let index = Int(id.index)
        return index < slots.count && generations[index] == id.generation ? slots[index] : nil
    }

    /// The shape with this key, all of it compared, and whether it was there already; nil where another one has its
    /// hash, or
    /// it is too long.
    mutating func find(profile: UInt32, key: ByteView) -> (id: ShapeID, shape: Shape, wasThere: Bool)? {
        guard key.count <= Self.keyBytesMax else { return nil }
        let hash = XXHash.hash(key, seed: seed &+ UInt64(profile) &* 0x9E37_79B9_7F4A_7C15)
        if let index = numbers[hash], let shape = slots[Int(index)] {
            guard shape.profile == profile, shape.key.withUnsafeBytes({ ByteView($0).isEqual(to: key) }) else {
                return nil
            }
            shape.isRecent = true
            return (ShapeID(index: index, generation: generations[Int(index)]), shape, true)
        }
        if count >= Self.countMax || bytes + key.count + Self.bytesPerShape > Self.bytesMax { sweep() }
        let shape = Shape(key: key.bytes, profile: profile, hash: hash)
        let index: UInt32
        if let freed = free.popLast() {
            index = freed
            slots[Int(index)] = shape
        } else {
            index = UInt32(slots.count)
            slots.append(shape)
            generations.append(0)
        }
        numbers[hash] = index
        bytes += key.count + Self.bytesPerShape
        return (ShapeID(index: index, generation: generations[Int(index)]), shape, false)
    }

    mutating func removeAll() {
        for index in slots.indices where slots[index] != nil { remove(index) }
    }

    func forgetRights() {
        for shape in slots { shape?.rolesAllowed = RoleSet() }
    }

    private mutating func sweep() {
        for index in slots.indices {
            guard let shape = slots[index] else { continue }
            if shape.isNew || !shape.isRecent { remove(index) } else { shape.isRecent = false }
        }
        if count > Self.countMax / 2 || bytes > Self.bytesMax / 2 { removeAll() }
    }

    private mutating func remove(_ index: Int) {
        guard let shape = slots[index] else { return }
        numbers[shape.hash] = nil
        bytes -= shape.key.count + Self.bytesPerShape
        slots[index] = nil
        generations[index] &+= 1
        free.append(UInt32(index))
    }
}
