import PGProtocol

/// The statements that a client has prepared, by name.
///
/// A Parse that the origin has answered before is answered without it; such a statement is known here
/// and not there (`local`) until it must be executed there. A name that is not here is the origin's
/// business: it may have been prepared through SQL.
///
/// Raw memory and a linear probe, because every execution of a prepared statement looks its name up.
/// Owned by a session, which releases what it holds by `removeAll`. Bounded by `countMax`; a session
/// that prepares more does without the cache.
struct PreparedStatements {
    enum Place: Equatable {
        /// Only we know it.
        case local
        /// Its Parse, of this number, is on the way to the origin. An earlier one of the same text says
        /// nothing of it: an
        /// error between them makes the origin drop the later.
        case sent(UInt32)
        case atOrigin
    }

    /// What the client was told of a statement that we answered for, and under which schema [S4].
    struct Promise {
        /// RowDescription, with all formats as text.
        var description: [UInt8]
        var schemaEpoch: UInt32
    }

    struct Slot {
        var hash: UInt64
        var name: [UInt8]
        var statement: StatementID
        var place: Place
        var promise: Promise?
    }

    static let countMax = 4096

    private var slots: [Slot] = []
    /// The unnamed statement, which every Parse without a name replaces.
    private(set) var unnamed: (statement: StatementID, place: Place, promise: Promise?)?

    /// PostgreSQL tells names apart by their first 63 bytes (NAMEDATALEN); longer ones are left to it.
    static let nameBytesMax = 63

    /// Whether `name` may be kept, in place of what it stood for or beside the others.
    func hasRoom(for name: ByteView) -> Bool {
        name.count <= PreparedStatements.nameBytesMax && slots.count < PreparedStatements.countMax
    }
    var count: Int { slots.count + (unnamed == nil ? 0 : 1) }

    /// The position of a named statement.
    private func position(_ name: ByteView) -> Int? {
        let hash = XXHash.hash(name, seed: 0)
        return slots.withUnsafeBufferPointer { slots in
            var index = 0
            while index < slots.count {
                if slots[index].hash == hash, slots[index].name.count == name.count,
                    withView(slots[index].name, { $0.isEqual(to: name) })
                {
                    return index
                }
                index += 1
            }
            return nil
        }
    }

    func find(_ name: ByteView) -> (statement: StatementID, place: Place)? {
        if name.count == 0 { return unnamed.map { ($0.statement, $0.place) } }
        guard let index = position(name) else { return nil }
        return (slots[index].statement, slots[index].place)
    }

    func promise(_ name: ByteView) -> Promise? {
        if name.count == 0 { return unnamed?.promise }
        return position(name).flatMap { slots[$0].promise }
    }

    /// The caller has retained `statement`. Returns the statement that the name stood for, to be released.
    mutating func insert(
        _ name: ByteView, _ statement: StatementID, _ place: Place, _ promise: Promise? = nil
    ) -> StatementID? {
        if name.count == 0 {
            let old = unnamed?.statement
            unnamed = (statement, place, promise)
            return old
        }
        if let index = position(name) {
            let old = slots[index].statement
            slots[index].statement = statement
            slots[index].place = place
            slots[index].promise = promise
            return old
        }
        slots.append(
            Slot(
                hash: XXHash.hash(name, seed: 0), name: name.bytes, statement: statement,
                place: place, promise: promise))
        return nil
    }

    mutating func remove(_ name: ByteView) -> StatementID? {
        if name.count == 0 {
            defer { unnamed = nil }
            return unnamed?.statement
        }
        guard let index = position(name) else { return nil }
        let old = slots[index].statement
        slots.swapAt(index, slots.count - 1)
        slots.removeLast()
        return old
    }

    mutating func setPlace(_ name: ByteView, _ place: Place) {
        if name.count == 0 {
            unnamed?.place = place
        } else if let index = position(name) {
            slots[index].place = place
        }
    }

    /// The origin has answered the Parse of this number.
    mutating func parsed(_ parse: UInt32) {
        if unnamed?.place == .sent(parse) {
            unnamed?.place = .atOrigin
        } else if let index = slots.firstIndex(where: { $0.place == .sent(parse) }) {
            slots[index].place = .atOrigin
        }
    }

    /// A Parse got no answer but an error. What we had answered ourselves stays ours to send again;
    /// what the client asked for does not exist. Returns the statement to be released.
    mutating func parseFailed(_ parse: UInt32, isInjected: Bool) -> StatementID? {
        if let unnamed, unnamed.place == .sent(parse) {
            if isInjected {
                self.unnamed?.place = .local
                return nil
            }
            self.unnamed = nil
            return unnamed.statement
        }
        guard let index = slots.firstIndex(where: { $0.place == .sent(parse) }) else { return nil }
        if isInjected {
            slots[index].place = .local
            return nil
        }
        let statement = slots[index].statement
        slots.swapAt(index, slots.count - 1)
        slots.removeLast()
        return statement
    }

    /// Names and statements that the origin does not know.
    var localOnes: [(name: [UInt8], statement: StatementID)] {
        slots.filter { $0.place == .local }.map { ($0.name, $0.statement) }
    }

    /// Every statement held, to be released by the caller.
    mutating func removeAll() -> [StatementID] {
        var held = slots.map(\.statement)
        if let unnamed { held.append(unnamed.statement) }
        slots.removeAll()
        unnamed = nil
        return held
    }
}
