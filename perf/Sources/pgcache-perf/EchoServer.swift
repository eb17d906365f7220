import Loop

/// The yardstick of a hit: the least that any server on our loop can do per request.
///
/// A request begins with two little-endian 16-bit numbers: its own length and the length of the answer
/// that is wanted, so that one server stands in for every protocol. The answer is the same memory for all.
///
/// Invariants: a receive is always in flight on an open connection; one send at most.
/// Bounds: `connectionsMax` connections of `inputBytes` each; what is owed to a client fits `answer`.
struct EchoServer: ~Copyable {
    private struct Connection {
        var socket = SocketID.none
        var input: UnsafeMutableRawPointer
        var filled = 0
        /// Answer bytes that wait for the send in flight.
        var owed = 0
        var isSending = false
    }

    private static let connectionsMax = 1024
    private static let inputBytes = 16 << 10
    private static let answerBytes = 256 << 10
    private static let listenerTag = UInt64.max

    private let reactor: Reactor
    private let connections: UnsafeMutablePointer<Connection>
    private let answer: UnsafeMutableRawPointer
    private var free: [Int]

    init(port: UInt16, on reactor: Reactor) throws(SystemError) {
        self.reactor = reactor
        connections = .allocate(capacity: Self.connectionsMax)
        for index in 0..<Self.connectionsMax {
            let input = UnsafeMutableRawPointer.allocate(byteCount: Self.inputBytes, alignment: 64)
            (connections + index).initialize(to: Connection(input: input))
        }
        answer = .allocate(byteCount: Self.answerBytes, alignment: 64)
        answer.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "e"), count: Self.answerBytes)
        free = Array((0..<Self.connectionsMax).reversed())
        _ = try reactor.listen(
            on: .tcp(address: "127.0.0.1", port: port), backlog: 512, tag: Self.listenerTag)
    }

    mutating func run() throws(SystemError) {
        while true {
            try reactor.wait()
            while let completion = reactor.next() { completed(completion) }
        }
    }

    private mutating func completed(_ completion: Completion) {
        if completion.kind == .accepted { return accepted(completion) }
        let index = Int(truncatingIfNeeded: completion.tag)
        switch completion.kind {
        case .received: received(index, completion.result)
        case .sent: sent(index, completion.result)
        case .closed: free.append(index)
        case .accepted, .connected, .ready, .timer, .signal, .exited: break
        }
    }

    private mutating func accepted(_ completion: Completion) {
        guard completion.result >= 0 else { return }
        guard let index = free.popLast() else { return reactor.close(completion.socket) }
        reactor.setTag(completion.socket, UInt64(index))
        connections[index].socket = completion.socket
        connections[index].filled = 0
        connections[index].owed = 0
        connections[index].isSending = false
        receive(index)
    }

    private func receive(_ index: Int) {
        let connection = connections + index
        reactor.receive(
            connection.pointee.socket, into: connection.pointee.input + connection.pointee.filled,
            capacity: Self.inputBytes - connection.pointee.filled)
    }

    private func received(_ index: Int, _ result: Int) {
        let connection = connections + index
        guard result > 0 else { return reactor.close(connection.pointee.socket) }
        let input = connection.pointee.input
        let filled = connection.pointee.filled + result
        var start = 0
        while filled - start >= 4 {
            let length = Int(UInt16(littleEndian: (input + start).loadUnaligned(as: UInt16.self)))
            let wanted = Int(UInt16(littleEndian: (input + start + 2).loadUnaligned(as: UInt16.self)))
            guard length >= 4, length <= Self.inputBytes else {
                return reactor.close(connection.pointee.socket)
            }
            guard filled - start >= length else { break }
            connection.pointee.owed += wanted
            start += length
        }
        if start > 0, filled > start { input.copyMemory(from: input + start, byteCount: filled - start) }
        connection.pointee.filled = filled - start
        guard connection.pointee.owed <= Self.answerBytes else {
            return reactor.close(connection.pointee.socket)
        }
        send(connection)
        receive(index)
    }

    private func send(_ connection: UnsafeMutablePointer<Connection>) {
        guard connection.pointee.owed > 0, !connection.pointee.isSending else { return }
        var slice = Slice(base: UnsafeRawPointer(answer), count: connection.pointee.owed)
        connection.pointee.owed = 0
        connection.pointee.isSending = true
        withUnsafePointer(to: &slice) { slice in
            reactor.send(connection.pointee.socket, UnsafeBufferPointer(start: slice, count: 1))
        }
    }

    private func sent(_ index: Int, _ result: Int) {
        let connection = connections + index
        connection.pointee.isSending = false
        guard result >= 0 else { return reactor.close(connection.pointee.socket) }
        send(connection)
    }
}
