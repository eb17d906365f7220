import Cache
import Loop
import PGProtocol

/// A client and its origin connection: the session's machine with the sockets and buffers around it.
///
/// Lives in the raw memory of `Connections`; freed when both sockets are closed, so that no memory
/// goes while the kernel may still write it.
///
///     open ──▶ draining (the last words are on their way to the client) ──▶ closing ──▶ freed
package struct Connection {
    enum State: UInt8 {
        case open
        case draining
        case closing
    }

    var session: Session
    var state = State.open
    package var client: SocketID
    var origin = SocketID.none
    var clientInput = ReceiveBuffer()
    var originInput = ReceiveBuffer()
    package var clientOutput = SendQueue()
    var originOutput = SendQueue()
    /// A receive is in flight.
    var isClientReceiving = false
    var isOriginReceiving = false
    var isOriginConnected = false
    /// The peer has ended its stream.
    var clientEnded = false
    var originEnded = false
    /// We have ended ours towards the origin.
    var originShut = false
    /// It came when there were `clients_max` others: good for a CancelRequest, and for an error.
    var isTooMany = false
    /// A CancelRequest, which the origin answers by closing.
    var isCancel = false
    /// Listed for this turn's flush.
    var isDirty = false
    /// The session waits for `wake`: its client's bytes stay where they are.
    var isParked = false
    /// The session keeps a write's ReadyForQuery from its client until `wake`.
    var isHeld = false
    /// Bytes that must be there before the client's input, or the origin's, is worth a look.
    var clientNeeded = 0
    var originNeeded = 0
    /// When a connection that does not get on is given up: log-in, last words; `.max` for never.
    var deadlineNanoseconds = UInt64.max
    /// When a follower stops waiting for its leader.
    var followDeadlineNanoseconds = UInt64.max

    init(number: SessionNumber, client: SocketID) {
        session = Session(number: number)
        self.client = client
    }

    /// Above this a peer that does not read stops the one that writes to it, and nobody else.
    static let outputBytesMax = 256 * 1024
}

/// All connections, each at a fixed place in raw memory, so that a turn touches no reference count.
///
/// Bounds: `capacity`, given once. A slot is reused under a new generation.
package final class Connections {
    let capacity: Int
    private let slots: UnsafeMutablePointer<Connection>
    private let generations: UnsafeMutablePointer<UInt32>
    private var free: [UInt32] = []
    package private(set) var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        slots = .allocate(capacity: capacity)
        generations = .allocate(capacity: capacity)
        generations.initialize(repeating: 0, count: capacity)
        free = (0..<UInt32(capacity)).reversed()
    }

    deinit {
        slots.deallocate()
        generations.deallocate()
    }

    /// Nil when all slots are taken.
    func insert(client: SocketID) -> UnsafeMutablePointer<Connection>? {
        guard let index = free.popLast() else { return nil }
        generations[Int(index)] += 1
        let number = SessionNumber(index: index, generation: generations[Int(index)])
        let slot = slots + Int(index)
        slot.initialize(to: Connection(number: number, client: client))
        count += 1
        return slot
    }

    func remove(_ connection: UnsafeMutablePointer<Connection>) {
        let index = connection.pointee.session.number.index
        connection.deinitialize(count: 1)
        generations[Int(index)] += 1
        free.append(index)
        count -= 1
    }

    /// Nil when the slot has been given to another since. Odd generations are in use.
    subscript(number: SessionNumber) -> UnsafeMutablePointer<Connection>? {
        let index = Int(number.index)
        guard index < capacity, generations[index] == number.generation, number.generation & 1 == 1
        else { return nil }
        return slots + index
    }

    /// The connection in a slot, if it is in use.
    func at(_ index: UInt32) -> UnsafeMutablePointer<Connection>? {
        guard index < capacity, generations[Int(index)] & 1 == 1 else { return nil }
        return slots + Int(index)
    }

    /// Connections whose client is there.
    var activeCount: Int {
        var active = 0
        forEach { if $0.pointee.state == .open, !$0.pointee.clientEnded { active += 1 } }
        return active
    }

    package func forEach(_ body: (UnsafeMutablePointer<Connection>) -> Void) {
        for index in 0..<capacity where generations[index] & 1 == 1 { body(slots + index) }
    }
}
