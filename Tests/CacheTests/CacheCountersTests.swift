import Testing

@testable import Cache

@Suite("What the cache counts")
struct CacheCountersTests {
    @Test("Every reason is counted in its own place, the one that it has in allCases")
    func reasons() {
        var counters = CacheCounters()
        for (place, reason) in ForwardReason.allCases.enumerated() {
            #expect(reason.position == place)
            for _ in 0...place { counters.forwarded(reason) }
        }
        #expect(counters.forwards == (1...ForwardReason.allCases.count).map { UInt64($0) })
    }
}
