import Loop

/// The yardstick of a forward: bytes of a client to the origin and back, without looking at them.
///
/// Each client has a connection of its own to the origin, as behind pgcache. A direction is either
/// receiving or sending, so that a slow receiver stops its sender.
///
/// Invariants: an end is open from its accept or connect until its `.closed`; a pair is free again
/// when both are closed. Tag of an end: pair × 2, plus 1 for the origin's.
/// Bounds: `pairsMax` pairs with two buffers of `bufferBytes` each.
struct TCPRelay: ~Copyable {
    private struct End {
        var socket = SocketID.none
        var isOpen = false
        /// What was received here and is being sent to the other end.
        var buffer: UnsafeMutableRawPointer
    }

    private static let pairsMax = 1024
    private static let bufferBytes = 16 << 10
    private static let listenerTag = UInt64.max

    private let reactor: Reactor
    private let origin: SocketAddress
    private let ends: UnsafeMutablePointer<End>
    private var free: [Int]

    init(port: UInt16, originPort: UInt16, on reactor: Reactor) throws(SystemError) {
        self.reactor = reactor
        origin = .tcp(address: "127.0.0.1", port: originPort)
        ends = .allocate(capacity: Self.pairsMax * 2)
        for index in 0..<Self.pairsMax * 2 {
            let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.bufferBytes, alignment: 64)
            (ends + index).initialize(to: End(buffer: buffer))
        }
        free = Array((0..<Self.pairsMax).reversed())
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
        case .connected: connected(index, completion.result)
        case .closed: closed(index)
        case .accepted, .ready, .timer, .signal, .exited: break
        }
    }

    private mutating func accepted(_ completion: Completion) {
        guard completion.result >= 0 else { return }
        guard let pair = free.popLast() else { return reactor.close(completion.socket) }
        let client = pair * 2
        reactor.setTag(completion.socket, UInt64(client))
        ends[client].socket = completion.socket
        ends[client].isOpen = true
        do {
            ends[client + 1].socket = try reactor.connect(to: origin, tag: UInt64(client + 1))
            ends[client + 1].isOpen = true
        } catch {
            reactor.close(completion.socket)
        }
    }

    private func connected(_ index: Int, _ result: Int) {
        guard result >= 0 else { return close(index) }
        receive(index)
        receive(index ^ 1)
    }

    private func receive(_ index: Int) {
        reactor.receive(ends[index].socket, into: ends[index].buffer, capacity: Self.bufferBytes)
    }

    private func received(_ index: Int, _ result: Int) {
        guard result > 0 else { return close(index) }
        var slice = Slice(base: UnsafeRawPointer(ends[index].buffer), count: result)
        withUnsafePointer(to: &slice) { slice in
            reactor.send(ends[index ^ 1].socket, UnsafeBufferPointer(start: slice, count: 1))
        }
    }

    private func sent(_ index: Int, _ result: Int) {
        guard result >= 0 else { return close(index) }
        receive(index ^ 1)
    }

    private func close(_ index: Int) {
        if ends[index].isOpen { reactor.close(ends[index].socket) }
        if ends[index ^ 1].isOpen { reactor.close(ends[index ^ 1].socket) }
    }

    private mutating func closed(_ index: Int) {
        ends[index].isOpen = false
        if !ends[index ^ 1].isOpen { free.append(index / 2) }
    }
}
