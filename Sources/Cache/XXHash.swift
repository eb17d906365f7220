import CXXHash
import PGProtocol

/// The project's one hash function: XXH3 with 64 bits and a seed.
///
/// It only finds candidates: whoever looks something up compares the key in full [K1].
enum XXHash {
    @inline(__always)
    static func hash(_ view: ByteView, seed: UInt64) -> UInt64 {
        pgcache_xxh3(view.base, view.count, seed)
    }
}
