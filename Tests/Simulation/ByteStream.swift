/// One direction of a connection: how much of it may be under way, when pieces arrive, and where they are cut.
///
/// Bytes are accepted while the window has room, arrive later in the order in which they were accepted, and give
/// their room back when the reader takes them. Who schedules an arrival is the connection (`Socket`); here is the
/// arithmetic and the draws.
///
/// Invariants:
/// - `occupied` is at most `window`: bytes accepted and not taken yet, on their way or arrived.
/// - Moments of arrival never go back.
struct ByteStream {
    let window: Int
    private(set) var occupied = 0
    /// What has arrived and was not taken yet.
    private(set) var arrived = ByteQueue()
    private let delay: Delay
    private let cutPerMille: Int
    private var random: Random
    private var lastArrival: UInt64 = 0

    init(_ parameters: Parameters, delay: Delay, random: Random) {
        self.delay = delay
        self.random = random
        cutPerMille = parameters.cutPerMille
        let most = max(parameters.windowBytes, 1)
        window = self.random.within(max(most / 8, 1)...most)
    }

    /// How many of `count` bytes may be accepted now: all that fit, but no dribble while most of the window is full
    /// (a kernel does not call a socket writable then either; without that, pieces would only ever get smaller).
    func room(for count: Int) -> Int {
        let free = window - occupied
        if count <= free { return count }
        return free * 3 >= window ? free : 0
    }

    /// How many of `count` bytes go in one piece.
    mutating func pieceLength(of count: Int) -> Int {
        guard count > 1, random.chance(cutPerMille) else { return count }
        // What is sent at once begins and ends with messages: cuts near those find their headers and tails.
        let near = min(count - 1, 8)
        switch random.below(4) {
        case 0: return random.within(1...near)
        case 1: return count - random.within(1...near)
        default: return random.within(1...(count - 1))
        }
    }

    mutating func accept(_ count: Int) {
        occupied += count
        assert(occupied <= window, "more than the window")
    }

    /// When what is sent now arrives: behind everything that was sent before.
    mutating func arrivalTime(sentAt now: UInt64) -> UInt64 {
        lastArrival = max(lastArrival, now &+ delay.draw(&random))
        return lastArrival
    }

    mutating func arrive(_ piece: [UInt8]) { arrived.append(piece) }

    /// The next piece, as it came.
    mutating func takePiece() -> [UInt8]? {
        guard let piece = arrived.takePiece() else { return nil }
        occupied -= piece.count
        return piece
    }

    /// Moves up to `capacity` bytes to `memory`, sometimes fewer than there are; how many.
    mutating func take(into memory: UnsafeMutableRawPointer, capacity: Int) -> Int {
        let most = min(capacity, arrived.count)
        let count = pieceLength(of: most)
        arrived.take(into: UnsafeMutableRawBufferPointer(start: memory, count: count))
        occupied -= count
        return count
    }
}

/// A time that something takes: around a typical value, sometimes much more.
struct Delay {
    var typicalMicroseconds: Int

    /// Nanoseconds: 0.3 to 3 times the typical value; one of a hundred takes 20 times that, as a lost packet does.
    func draw(_ random: inout Random) -> UInt64 {
        let nanoseconds = typicalMicroseconds * random.within(300...3000)
        return UInt64(random.chance(10) ? nanoseconds * 20 : nanoseconds)
    }
}

/// Bytes in order, kept in the pieces in which they came: nothing is moved when some are taken.
struct ByteQueue {
    private var pieces: [[UInt8]] = []
    /// The first piece that is not used up, and how much of it is.
    private var first = 0
    private var offset = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ piece: [UInt8]) {
        guard !piece.isEmpty else { return }
        pieces.append(piece)
        count += piece.count
    }

    /// The first piece, or what is left of it.
    mutating func takePiece() -> [UInt8]? {
        guard first < pieces.count else { return nil }
        let piece = offset == 0 ? pieces[first] : Array(pieces[first][offset...])
        advance(piece.count)
        return piece
    }

    /// The next `length` bytes, which must be there.
    mutating func take(_ length: Int) -> [UInt8] {
        precondition(length <= count, "more than there is")
        if length > 0, offset == 0, pieces[first].count == length {
            let piece = pieces[first]
            advance(length)
            return piece
        }
        return [UInt8](unsafeUninitializedCapacity: length) { buffer, initialized in
            take(into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<length]))
            initialized = length
        }
    }

    /// Fills `memory`, which wants no more than there is.
    mutating func take(into memory: UnsafeMutableRawBufferPointer) {
        precondition(memory.count <= count, "more than there is")
        var place = 0
        while place < memory.count {
            let length = min(memory.count - place, pieces[first].count - offset)
            pieces[first].withUnsafeBytes { bytes in
                let target = UnsafeMutableRawBufferPointer(rebasing: memory[place..<(place + length)])
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)]))
            }
            place += length
            advance(length)
        }
    }

    /// Passes over bytes of the first piece.
    private mutating func advance(_ length: Int) {
        count -= length
        offset += length
        guard offset == pieces[first].count else { return }
        pieces[first] = []
        offset = 0
        first += 1
        if first == pieces.count {
            pieces.removeAll(keepingCapacity: true)
            first = 0
        } else if first >= 64, first * 2 >= pieces.count {
            pieces.removeFirst(first)
            first = 0
        }
    }
}
