import Testing

@testable import Loop

@Suite("The queue of what is to be sent")
struct SendQueueTests {
    /// Keeps what is sent, and completes nothing by itself.
    private final class Recorder: Reactor {
        var sends: [[[UInt8]]] = []
        override func send(_ socket: SocketID, _ slices: UnsafeBufferPointer<Slice>) {
            sends.append(slices.map { [UInt8](UnsafeRawBufferPointer(start: $0.base, count: $0.count)) })
        }
    }

    private final class Store {
        let bytes: UnsafeMutableRawBufferPointer
        init(_ count: Int, _ byte: UInt8) {
            bytes = .allocate(byteCount: count, alignment: 1)
            bytes.initializeMemory(as: UInt8.self, repeating: byte)
        }
        var view: UnsafeRawBufferPointer { UnsafeRawBufferPointer(bytes) }
        deinit { bytes.deallocate() }
    }

    private let reactor = Recorder()
    private let long = Store(SendQueue.copiedMax + 1, 7)
    private let short = Store(SendQueue.copiedMax, 8)

    @Test("Short bytes are copied and leave as one slice")
    func copied() {
        var queue = SendQueue()
        queue.append([1, 2])
        let isBorrowed = queue.append(short.view, pin: 5)
        queue.append([3])
        #expect(!isBorrowed && queue.count == SendQueue.copiedMax + 3)
        queue.flush(.none, reactor)
        #expect(reactor.sends == [[[1, 2] + [UInt8](short.view) + [3]]])
        var pins: [UInt64] = []
        queue.sent { pins.append($0) }
        #expect(pins.isEmpty && queue.isEmpty)
        queue.free { _ in }
    }

    @Test("Long bytes stay where they are, in order between our own, and their pins come back")
    func borrowed() {
        var queue = SendQueue()
        queue.append([1])
        let first = queue.append(long.view, pin: 5)
        let second = queue.append(long.view, pin: 6)
        queue.append([2])
        queue.append([3])
        #expect(first && second)
        queue.flush(.none, reactor)
        let bytes = [UInt8](long.view)
        #expect(reactor.sends == [[[1], bytes, bytes, [2, 3]]])
        var pins: [UInt64] = []
        queue.sent { pins.append($0) }
        #expect(pins == [5, 6])
        queue.free { _ in }
    }

    @Test("While a send is in flight the next batch gathers behind it")
    func twoBatches() {
        var queue = SendQueue()
        queue.append([1])
        queue.flush(.none, reactor)
        queue.append([2])
        queue.flush(.none, reactor)
        #expect(reactor.sends == [[[1]]] && queue.hasMore && queue.isSending)
        queue.sent { _ in }
        queue.flush(.none, reactor)
        queue.flush(.none, reactor)
        #expect(reactor.sends == [[[1]], [[2]]] && !queue.hasMore)
        queue.sent { _ in }
        queue.free { _ in }
    }

    @Test("A send never has more slices than the reactor takes; the rest is copied")
    func bounded() {
        var queue = SendQueue()
        var borrowed = 0
        for index in 0..<100 {
            queue.append([UInt8(index)])
            if queue.append(long.view, pin: UInt64(index)) { borrowed += 1 }
        }
        queue.append([255])
        #expect(borrowed < 100)
        queue.flush(.none, reactor)
        #expect(reactor.sends[0].count <= Reactor.slicesMax)
        var expected: [UInt8] = []
        for index in 0..<100 { expected += [UInt8(index)] + [UInt8](long.view) }
        #expect(Array(reactor.sends[0].joined()) == expected + [255])
        queue.sent { _ in }
        queue.free { _ in }
    }

    @Test("What was never sent gives its pins back too")
    func freed() {
        var queue = SendQueue()
        _ = queue.append(long.view, pin: 1)
        queue.flush(.none, reactor)
        _ = queue.append(long.view, pin: 2)
        var pins: Set<UInt64> = []
        queue.free { pins.insert($0) }
        #expect(pins == [1, 2] && queue.isEmpty)
    }
}
