import PGProtocol
import Testing

@testable import Cache

@Suite struct XXHashTests {
    @Test func itIsXXH3() {
        // The value that the reference implementation gives for no bytes and no seed.
        withView([]) { #expect(XXHash.hash($0, seed: 0) == 0x2D06_8005_38D3_94C2) }
    }

    @Test func seedAndEveryByteCount() {
        let bytes = [UInt8](repeating: 1, count: 300)
        let hash = withView(bytes) { XXHash.hash($0, seed: 1) }
        #expect(withView(bytes) { XXHash.hash($0, seed: 1) } == hash)
        #expect(withView(bytes) { XXHash.hash($0, seed: 2) } != hash)
        for position in bytes.indices {
            var other = bytes
            other[position] = 2
            #expect(withView(other) { XXHash.hash($0, seed: 1) } != hash)
        }
    }
}
