/// The queue of completions: a ring in raw memory.
///
/// An Array would do, were it not on the path of every hit: here a push and a pop are a few loads and stores, with no
/// reference counting and no check for exclusive access, since all of it lies behind one constant pointer.
///
/// Invariant: `tail - head` completions are queued, at most the capacity, which is a power of two.
/// Owner: a reactor. Bounds: the operations in flight bound it (one receive, send and poll per socket, and
/// one entry per timer, signal, child and client that was accepted); it doubles when full and never shrinks.
struct CompletionQueue: ~Copyable {
    private struct State {
        var storage: UnsafeMutablePointer<Completion>
        var mask: Int
        var head: Int
        var tail: Int
    }
    private let state: UnsafeMutablePointer<State>

    init(capacity: Int = 1024) {
        precondition(capacity > 0 && capacity & (capacity - 1) == 0, "a power of two")
        state = .allocate(capacity: 1)
        state.initialize(
            to: State(storage: .allocate(capacity: capacity), mask: capacity - 1, head: 0, tail: 0))
    }

    deinit {
        state.pointee.storage.deallocate()  // completions are plain bytes
        state.deallocate()
    }

    @inline(__always) var isEmpty: Bool { state.pointee.head == state.pointee.tail }
    var count: Int { state.pointee.tail - state.pointee.head }

    @inline(__always) func push(_ completion: Completion) {
        if state.pointee.tail - state.pointee.head > state.pointee.mask { grow() }
        let place = state.pointee.tail & state.pointee.mask
        (state.pointee.storage + place).initialize(to: completion)
        state.pointee.tail += 1
    }

    @inline(__always) func pop() -> Completion? {
        guard state.pointee.head != state.pointee.tail else { return nil }
        let place = state.pointee.head & state.pointee.mask
        state.pointee.head += 1
        return state.pointee.storage[place]
    }

    private func grow() {
        let capacity = (state.pointee.mask + 1) * 2
        let larger = UnsafeMutablePointer<Completion>.allocate(capacity: capacity)
        let count = self.count
        for offset in 0..<count {
            let place = (state.pointee.head + offset) & state.pointee.mask
            (larger + offset).initialize(to: state.pointee.storage[place])
        }
        state.pointee.storage.deallocate()
        state.pointee = State(storage: larger, mask: capacity - 1, head: 0, tail: count)
    }
}
