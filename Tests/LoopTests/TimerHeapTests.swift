import Testing

@testable import Loop

@Suite("The heap of timers")
struct TimerHeapTests {
    @Test("Ten thousand timers, a third of them cancelled, expire in order of deadline and start")
    func order() {
        var heap = TimerHeap()
        var random = SystemRandomNumberGenerator()
        var expected: [(deadline: UInt64, tag: UInt64)] = []
        var cancelled: [TimerID] = []
        for tag in UInt64(0)..<10_000 {
            let deadline = UInt64.random(in: 0..<500, using: &random)
            let timer = heap.start(deadline: deadline, purpose: .completion(tag: tag))
            if tag % 3 == 0 { cancelled.append(timer) } else { expected.append((deadline, tag)) }
        }
        for timer in cancelled.shuffled() {
            heap.cancel(timer)
            heap.cancel(timer)
        }
        expected.sort { ($0.deadline, $0.tag) < ($1.deadline, $1.tag) }
        #expect(heap.count == expected.count)
        for (deadline, tag) in expected {
            #expect(heap.earliestDeadline == deadline)
            let early = deadline == 0 ? nil : heap.expire(nowNanoseconds: deadline - 1)
            #expect(early == nil)
            let expired = heap.expire(nowNanoseconds: deadline)
            #expect(expired?.purpose == .completion(tag: tag))
            let isDelivered = expired.map { heap.deliver($0.timer) }
            #expect(isDelivered == true)
        }
        #expect(heap.isEmpty && heap.earliestDeadline == nil)
    }

    @Test("An old number does not cancel the timer that took its place")
    func staleNumber() {
        var heap = TimerHeap()
        let first = heap.start(deadline: 1, purpose: .completion(tag: 1))
        heap.cancel(first)
        let second = heap.start(deadline: 1, purpose: .completion(tag: 2))
        #expect(first != second)
        heap.cancel(first)
        heap.cancel(TimerID(.max))
        #expect(heap.count == 1)
    }

    @Test("Between expiry and delivery a cancellation still counts, once")
    func lateCancel() {
        var heap = TimerHeap()
        let timer = heap.start(deadline: 1, purpose: .completion(tag: 1))
        let expired = heap.expire(nowNanoseconds: 1)
        #expect(expired?.timer == timer)
        heap.cancel(timer)
        let deliveries = [heap.deliver(timer), heap.deliver(timer)]
        #expect(deliveries == [false, false])
    }
}
