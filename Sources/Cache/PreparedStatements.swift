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
        /// Its Parse, of this number, is on the way to the origin. An earlier one of the same text says nothing of it:
        /// an error between them makes the origin drop the later.
        case sent(UInt32)
        case atOrigin
        /// The origin has it, and it returns something else there than the client was told [S4].
        case refused

        /// The origin must be sent it before it is bound there.
        var needsParse: Bool { self == .local || self == .refused }
    }

    /// What the client was told of a statement that we answered for, and the schema under which that is known to
    /// be so [S4].
    struct Promise {
        /// `ByteView.rowShape` of the description.
        var shape: [UInt8]
        var schemaEpoch: UInt32
    }

    struct Slot {
        var hash: UInt64
        var name: [UInt8]
        var statement: StatementID
        var place: Place
        var promise: Promise?
        /// Never given twice in a session.
        var number: UInt32
        /// The schema under which it is known to return what it returned when it was prepared.
        var schemaEpoch: UInt32
        /// It may have been analyzed under other settings than those of `statement`.
        var isMixed = false
    }

    static let countMax = 4096

    private var slots: [Slot] = []
    /// The unnamed statement, which every Parse without a name replaces.
    private(set) var unnamed: Slot?
    /// The origin may know names that are not here: PREPARE gave them.
    var hasUnseen = false
    /// There is an unnamed statement at the origin that is not here: its text is too long, or there was no room.
    var hasUnseenUnnamed = false
    private var lastNumber: UInt32 = 0

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

    /// What of a slot a hit has to look at.
    struct Found {
        var statement: StatementID
        var place: Place
        var number: UInt32
        var schemaEpoch: UInt32
        var isMixed: Bool
    }

    func find(_ name: ByteView) -> Found? {
        if name.count == 0 { return unnamed.map(Found.init) }
        guard let index = position(name) else { return nil }
        return slots.withUnsafeBufferPointer { Found($0[index]) }
    }

    func promise(_ name: ByteView) -> Promise? {
        if name.count == 0 { return unnamed?.promise }
        return position(name).flatMap { slots[$0].promise }
    }

    /// The caller has retained `statement`. Returns the statement that the name stood for, to be released.
    mutating func insert(
        _ name: ByteView, _ statement: StatementID, _ place: Place, _ promise: Promise? = nil,
        schemaEpoch: UInt32 = 0
    ) -> StatementID? {
        lastNumber &+= 1
        let slot = Slot(
            hash: name.count == 0 ? 0 : XXHash.hash(name, seed: 0), name: name.bytes, statement: statement,
            place: place, promise: promise, number: lastNumber, schemaEpoch: schemaEpoch)
        let old = remove(name)
        put(slot)
        return old
    }

    /// A slot that was taken out comes back, unless its name was given again. False then.
    mutating func restore(_ slot: Slot) -> Bool {
        guard withView(slot.name, { find($0) == nil }) else { return false }
        put(slot)
        return true
    }

    private mutating func put(_ slot: Slot) {
        guard slot.name.isEmpty else { return slots.append(slot) }
        unnamed = slot
        hasUnseenUnnamed = false
    }

    /// Returns the statement that the unnamed one was, to be released.
    mutating func removeUnnamed() -> StatementID? {
        hasUnseenUnnamed = false
        defer { unnamed = nil }
        return unnamed?.statement
    }

    /// A simple query would end it.
    var isUnnamedAtOrigin: Bool { hasUnseenUnnamed || unnamed?.place.needsParse == false }

    mutating func remove(_ name: ByteView) -> StatementID? { take(name)?.statement }

    mutating func take(_ name: ByteView) -> Slot? {
        if name.count == 0 {
            defer { unnamed = nil }
            return unnamed
        }
        guard let index = position(name) else { return nil }
        slots.swapAt(index, slots.count - 1)
        return slots.popLast()
    }

    private mutating func change(_ name: ByteView, _ body: (inout Slot) -> Void) {
        if name.count == 0 {
            guard var slot = unnamed else { return }
            body(&slot)
            unnamed = slot
        } else if let index = position(name) {
            body(&slots[index])
        }
    }

    mutating func setPlace(_ name: ByteView, _ place: Place) { change(name) { $0.place = place } }

    /// It may have been analyzed under settings that are not its statement's.
    mutating func mix(_ name: ByteView) { change(name) { $0.isMixed = true } }

    /// It stands for another statement with the same text; returns the one before, to be released.
    mutating func replace(_ name: ByteView, by statement: StatementID) -> StatementID? {
        var old: StatementID?
        change(name) { slot in
            old = slot.statement
            slot.statement = statement
            slot.isMixed = true
        }
        return old
    }

    /// It is known to return under this schema what it did.
    mutating func confirm(_ name: ByteView, schemaEpoch: UInt32) {
        change(name) { slot in
            slot.schemaEpoch = schemaEpoch
            slot.promise?.schemaEpoch = schemaEpoch
        }
    }

    /// The origin has bound the statement in the slot of this number, so that it returns what it did.
    mutating func bound(_ number: UInt32, schemaEpoch: UInt32) {
        if unnamed?.number == number {
            unnamed?.schemaEpoch = schemaEpoch
        } else if let index = slots.firstIndex(where: { $0.number == number }) {
            slots[index].schemaEpoch = schemaEpoch
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

    /// What the origin does not know: a name, empty for the unnamed one, and its statement.
    typealias Unsent = (name: [UInt8], statement: StatementID)

    var hasLocal: Bool { unnamed?.place == .local || slots.contains { $0.place == .local } }
    var localOnes: [Unsent] { slots.filter { $0.place == .local }.map { ($0.name, $0.statement) } }
    var localUnnamed: [Unsent] { unnamed.map { $0.place == .local ? [($0.name, $0.statement)] : [] } ?? [] }

    /// DEALLOCATE ALL: the origin knows no name any more but those whose Parse is still on its way. Returns the
    /// statements to be released.
    mutating func removeNamed() -> [StatementID] {
        var released: [StatementID] = []
        slots.removeAll { slot in
            if case .sent = slot.place { return false }
            released.append(slot.statement)
            return true
        }
        return released
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

extension PreparedStatements.Found {
    fileprivate init(_ slot: PreparedStatements.Slot) {
        self.init(
            statement: slot.statement, place: slot.place, number: slot.number, schemaEpoch: slot.schemaEpoch,
            isMixed: slot.isMixed)
    }
}
