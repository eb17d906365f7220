import Testing

@testable import Cache

@Suite struct SlotIndexTests {
    private func slots(_ index: SlotIndex, _ hash: UInt64) -> Set<UInt32> {
        var found: Set<UInt32> = []
        var probe = index.probe(hash)
        while true {
            let slot = index.next(&probe)
            if slot == SlotIndex.none { return found }
            found.insert(slot)
        }
    }

    @Test func itAgreesWithADictionaryWhateverCollides() {
        var random = Seeded(state: 8)
        var index = SlotIndex()
        defer { index.free() }
        var model: [UInt32: UInt64] = [:]
        for step in 0..<20_000 {
            let slot = UInt32.random(in: 0..<400, using: &random)
            if let hash = model.removeValue(forKey: slot) {
                index.remove(hash, slot: slot)
            } else {
                // Homes side by side at the end of the table, so that clusters wrap around.
                let hash = UInt64.random(in: 0..<40, using: &random) &+ 0x7FFF_FFF0
                index.insert(hash, slot: slot)
                model[slot] = hash
            }
            guard step % 50 == 0 else { continue }
            for hash in 0x7FFF_FFF0..<0x7FFF_FFF0 + 40 as Range<UInt64> {
                #expect(slots(index, hash) == Set(model.filter { $0.value == hash }.keys))
            }
        }
        #expect(index.count == model.count)
        index.removeAll()
        #expect(index.count == 0)
        #expect(slots(index, 0x7FFF_FFF0).isEmpty)
    }
}
