import Testing

@testable import Loop

@Suite("Slots and the queue")
struct SlotsTests {
    /// The macros do not take calls on a value that cannot be copied.
    private func taken(
        _ result: (socket: SocketID, slot: UnsafeMutablePointer<Slot>)?
    ) throws -> (socket: SocketID, slot: UnsafeMutablePointer<Slot>) {
        try #require(result)
    }

    @Test("A number finds its slot until it is retired; the slot comes back under a new one")
    func generations() throws {
        let slots = Slots()
        let first = try taken(slots.take())
        first.slot.pointee.tag = 7
        let found = slots.find(first.socket)
        #expect(found == first.slot)
        slots.retire(first.socket.index)
        let stale = slots.find(first.socket)
        #expect(stale == nil)
        let other = try taken(slots.take())
        #expect(other.socket.index != first.socket.index, "retired is not free")
        slots.free(first.socket.index)
        let second = try taken(slots.take())
        #expect(second.socket.index == first.socket.index)
        #expect(second.socket.generation != first.socket.generation)
        #expect(second.slot.pointee.tag == 0)
        let nothing = slots.find(.none)
        let live = slots.live
        #expect(nothing == nil && live == 2)
    }

    @Test("Slots do not move while the table grows")
    func stablePlaces() throws {
        let slots = Slots()
        let first = try taken(slots.take())
        for _ in 0..<5000 { _ = slots.take() }
        let found = slots.find(first.socket)
        #expect(found == first.slot)
    }

    @Test("A send's progress is counted across slices, empty ones too")
    func progress() {
        var slot = Slot(generation: 1)
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: 100, alignment: 1)
        defer { bytes.deallocate() }
        let slices = [10, 0, 20, 30].map { Slice(base: UnsafeRawPointer(bytes), count: $0) }
        slices.withUnsafeBufferPointer { slot.keep($0) }
        // Not done even at the end of the first slice.
        let steps = [4, 6, 19, 30, 1].map { slot.advance(by: $0) }
        #expect(steps == [false, false, false, false, true])
        #expect(slot.sliceFirst == 4)
        #expect(slot.sent == 60)
        slot.dropSlices()
    }

    @Test("The queue keeps its order while it wraps and grows")
    func queueOrder() {
        let queue = CompletionQueue(capacity: 4)
        var pushed = 0
        var popped = 0
        for step in 1...40 {
            for _ in 0..<step {
                queue.push(Completion(kind: .sent, socket: .none, tag: 0, result: pushed))
                pushed += 1
            }
            for _ in 0..<(step - step / 4) {
                let result = queue.pop()?.result
                #expect(result == popped)
                popped += 1
            }
        }
        let left = queue.count
        #expect(left == pushed - popped)
        while let completion = queue.pop() {
            #expect(completion.result == popped)
            popped += 1
        }
        #expect(popped == pushed)
    }
}
