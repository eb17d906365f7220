import Loop

/// A closed loop of connections that each ask, wait for the whole answer, pause if told so, and ask again.
///
/// All peers get the same load: one request in flight per connection, a fixed number of requests per
/// round, the same keys from the same seed. Connections stay open between rounds, so that a round costs
/// the server requests and nothing else. Latency is taken between the turns of our loop in which a request
/// was sent and its answer complete; no clock is read for it.
///
/// Invariants: a receive is in flight on a connection exactly while its answer is awaited; the request's
/// memory changes only after its send completed *and* it was answered.
/// Bounds: `connectionsMax` connections with `inputBytes` each; a longer answer ends the run.
final class LoadGenerator {
    private struct Connection {
        var socket = SocketID.none
        var input: UnsafeMutableRawPointer
        var read: UnsafeMutableRawPointer
        var write: UnsafeMutableRawPointer
        var isWriting = false
        /// Of the request that is not answered yet.
        var key: UInt64 = 0
        var filled = 0
        var isSending = false
        var isAwaiting = false
        /// Greetings that were answered; all of them before the first request.
        var greeted = 0
        var sentNanoseconds: UInt64 = 0
    }

    struct Keys {
        var first: UInt64
        var count: UInt64
        /// One after the other from `first` on and again from there, instead of random ones.
        var isSequential: Bool
        /// From a key to the next one.
        var stride: UInt64 = 1
        /// Keys in a range.
        var span: UInt64 = 1
    }

    struct Round {
        var requests: Int
        var nanoseconds: UInt64
        var responseBytes: Int
        /// Of the reads.
        var latencies: LatencyHistogram
        var writeLatencies: LatencyHistogram
        /// The same for the same answers to the same keys, in whatever order; p passes give p times as much.
        var digest: UInt64?
    }

    static let connectionsMax = 1024
    private static let inputBytes = 64 << 10

    private let reactor: Reactor
    private let dialogue: Dialogue
    private let connections: UnsafeMutablePointer<Connection>
    private let count: Int
    private let greetings: [UnsafeRawBufferPointer]
    private var keys = Keys(first: 0, count: 1, isSequential: true)
    private var random: UInt64
    private var isConnecting = true
    private var beganNanoseconds: UInt64 = 0
    private var toSend = 0
    private var toFinish = 0
    private var responseBytes = 0
    private var asked: UInt64 = 0
    private var writePercent: UInt64 = 0
    private var pauseMicroseconds: UInt64 = 0
    private var digest: UInt64?
    private var latencies = LatencyHistogram()
    private var writeLatencies = LatencyHistogram()
    private var failure: UsageError?

    init(_ dialogue: Dialogue, connections count: Int, seed: UInt64, on reactor: Reactor) {
        self.reactor = reactor
        self.dialogue = dialogue
        self.count = count
        random = seed
        greetings = dialogue.greetings.map { UnsafeRawBufferPointer(Self.copy($0)) }
        connections = .allocate(capacity: count)
        for index in 0..<count {
            let input = UnsafeMutableRawPointer.allocate(byteCount: Self.inputBytes, alignment: 64)
            let read = Self.copy(dialogue.read.bytes).baseAddress ?? input
            let write = dialogue.write.flatMap { Self.copy($0.bytes).baseAddress } ?? read
            (connections + index).initialize(to: Connection(input: input, read: read, write: write))
        }
    }

    /// Opens every connection and takes it through its greetings.
    func connect(to port: UInt16) throws {
        toFinish = count
        for index in 0..<count {
            connections[index].socket = try reactor.connect(
                to: .tcp(address: "127.0.0.1", port: port), tag: UInt64(index))
        }
        try finish()
        isConnecting = false
    }

    /// One round: returns when every answer is complete.
    ///
    /// Where answers are compared by their digest, their first column need not be the key.
    func run(
        requests: Int, keys: Keys, writePercent: Int, pauseMicroseconds: Int, hasDigest: Bool
    ) throws -> Round {
        self.keys = keys
        self.writePercent = UInt64(writePercent)
        self.pauseMicroseconds = UInt64(pauseMicroseconds)
        digest = hasDigest ? 0 : nil
        asked = 0
        latencies.reset()
        writeLatencies.reset()
        toSend = requests
        toFinish = requests
        // A completion of our own begins the round, so that the clock of its first turn is not an old one.
        reactor.enqueue(Completion(kind: .timer, socket: .none, tag: UInt64(count), result: 0))
        try finish()
        return Round(
            requests: requests, nanoseconds: reactor.nowNanoseconds - beganNanoseconds,
            responseBytes: responseBytes, latencies: latencies, writeLatencies: writeLatencies, digest: digest)
    }

    private func finish() throws {
        while toFinish > 0 {
            try reactor.wait()
            while let completion = reactor.next() { completed(completion) }
            if let failure { throw failure }
        }
    }

    private func completed(_ completion: Completion) {
        guard completion.result >= 0, completion.kind != .closed else {
            failure = UsageError("\(completion.kind) failed: \(completion.result)")
            return
        }
        let connection = connections + Int(truncatingIfNeeded: completion.tag)
        switch completion.kind {
        case .connected: greet(connection)
        case .received: received(connection, completion.result)
        case .sent:
            connection.pointee.isSending = false
            if !connection.pointee.isAwaiting { settled(connection) }
        case .timer where completion.tag == UInt64(count):
            beganNanoseconds = reactor.nowNanoseconds
            for index in 0..<count { askLater(connections + index) }
        case .timer: ask(connection)
        case .accepted, .closed, .ready, .signal, .exited: break
        }
    }

    /// The next greeting, or done with connecting.
    private func greet(_ connection: UnsafeMutablePointer<Connection>) {
        let next = connection.pointee.greeted
        guard next < greetings.count else {
            toFinish -= 1
            return
        }
        send(connection, greetings[next])
    }

    private func ask(_ connection: UnsafeMutablePointer<Connection>) {
        let isWriting = writePercent > 0 && nextRandom() % 100 < writePercent
        connection.pointee.isWriting = isWriting
        let request = isWriting ? dialogue.write ?? dialogue.read : dialogue.read
        let bytes = isWriting ? connection.pointee.write : connection.pointee.read
        if request.keyOffset >= 0 {
            let key = nextKey()
            connection.pointee.key = key
            write(key, to: bytes + request.keyOffset)
            if request.lastKeyOffset >= 0 { write(key + keys.span - 1, to: bytes + request.lastKeyOffset) }
        }
        connection.pointee.sentNanoseconds = reactor.nowNanoseconds
        send(connection, UnsafeRawBufferPointer(start: bytes, count: request.bytes.count))
    }

    private func send(
        _ connection: UnsafeMutablePointer<Connection>, _ bytes: UnsafeRawBufferPointer
    ) {
        guard let base = bytes.baseAddress else { return }
        var slice = Slice(base: base, count: bytes.count)
        connection.pointee.isSending = true
        connection.pointee.isAwaiting = true
        connection.pointee.filled = 0
        withUnsafePointer(to: &slice) { slice in
            reactor.send(connection.pointee.socket, UnsafeBufferPointer(start: slice, count: 1))
        }
        receive(connection)
    }

    private func receive(_ connection: UnsafeMutablePointer<Connection>) {
        reactor.receive(
            connection.pointee.socket, into: connection.pointee.input + connection.pointee.filled,
            capacity: Self.inputBytes - connection.pointee.filled)
    }

    private func received(_ connection: UnsafeMutablePointer<Connection>, _ bytes: Int) {
        connection.pointee.filled += bytes
        let hasKey = !isConnecting && dialogue.read.keyOffset >= 0 && !connection.pointee.isWriting && digest == nil
        let key = hasKey ? UnsafeRawPointer(connection.pointee.read + dialogue.read.keyOffset) : nil
        let length = dialogue.answerLength(
            connection.pointee.input, connection.pointee.filled, key: key)
        guard bytes > 0, length >= 0, connection.pointee.filled < Self.inputBytes else {
            failure = UsageError("a wrong answer: \(shown(connection))")
            return
        }
        guard length > 0 else { return receive(connection) }
        connection.pointee.isAwaiting = false
        if !isConnecting {
            let nanoseconds = reactor.nowNanoseconds - connection.pointee.sentNanoseconds
            if connection.pointee.isWriting {
                writeLatencies.record(nanoseconds: nanoseconds)
            } else {
                responseBytes = length
                latencies.record(nanoseconds: nanoseconds)
                if let sum = digest { digest = sum &+ hash(connection, length) }
            }
        }
        if !connection.pointee.isSending { settled(connection) }
    }

    /// Sent and answered: the connection may speak again.
    private func settled(_ connection: UnsafeMutablePointer<Connection>) {
        if isConnecting {
            connection.pointee.greeted += 1
            greet(connection)
        } else {
            toFinish -= 1
            askLater(connection)
        }
    }

    /// After a pause of half to one and a half of what was told: else all would soon ask together.
    private func askLater(_ connection: UnsafeMutablePointer<Connection>) {
        guard toSend > 0 else { return }
        toSend -= 1
        guard pauseMicroseconds > 0 else { return ask(connection) }
        let pause = pauseMicroseconds / 2 + nextRandom() % (pauseMicroseconds + 1)
        _ = reactor.startTimer(nanoseconds: pause * 1000, tag: UInt64(connection - connections))
    }

    /// What came instead of an answer, as far as it is text.
    private func shown(_ connection: UnsafeMutablePointer<Connection>) -> String {
        let bytes = UnsafeRawBufferPointer(
            start: connection.pointee.input, count: min(connection.pointee.filled, 300))
        return String(decoding: bytes.map { $0 < 32 || $0 > 126 ? 46 : $0 }, as: UTF8.self)
    }

    private func nextKey() -> UInt64 {
        let number = keys.isSequential ? asked : nextRandom()
        asked += 1
        return keys.first + number % keys.count * keys.stride
    }

    private func nextRandom() -> UInt64 {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        return random
    }

    /// FNV-1a of the answer, begun with its key (http://www.isthe.com/chongo/tech/comp/fnv/).
    private func hash(_ connection: UnsafeMutablePointer<Connection>, _ length: Int) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ connection.pointee.key
        for byte in UnsafeRawBufferPointer(start: connection.pointee.input, count: length) {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        return hash
    }

    private func write(_ key: UInt64, to digits: UnsafeMutableRawPointer) {
        var rest = key
        for position in (0..<Dialogue.keyDigits).reversed() {
            digits.storeBytes(of: UInt8(ascii: "0") + UInt8(rest % 10), toByteOffset: position, as: UInt8.self)
            rest /= 10
        }
    }

    /// Memory that lives as long as the process: requests are in flight until it ends.
    private static func copy(_ bytes: [UInt8]) -> UnsafeMutableRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
        memory.copyBytes(from: bytes)
        return memory
    }
}
