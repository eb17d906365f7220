import Cache

/// What a completion belongs to: the 64 bits that the reactor carries for its owner.
///
/// Eight bits of role, 24 of generation, 32 of index.
struct Tag {
    enum Role: UInt8 {
        case client = 1
        case origin
        case listener
        case admin
        case signal
        case resolver
        /// A connection of pgcache's own; the index is `LinkRole`.
        case link
        /// A timer; the index is `Clock`.
        case clock
        /// Connections, timers and children of the row tier.
        case rows
    }

    let value: UInt64

    init(_ role: Role, _ number: SessionNumber) {
        value = UInt64(role.rawValue) << 56 | UInt64(number.generation & 0xFF_FFFF) << 32
            | UInt64(number.index)
    }

    init(_ role: Role, index: UInt32 = 0) {
        value = UInt64(role.rawValue) << 56 | UInt64(index)
    }

    init(value: UInt64) { self.value = value }

    var role: Role? { Role(rawValue: UInt8(truncatingIfNeeded: value >> 56)) }
    var index: UInt32 { UInt32(truncatingIfNeeded: value) }
    var generation: UInt32 { UInt32(truncatingIfNeeded: value >> 32) & 0xFF_FFFF }
}

/// The connections that pgcache opens for itself.
enum LinkRole: UInt32, CaseIterable {
    /// Beats, and nothing else: they must not wait behind anything [T8].
    case control
    case catalog
    /// ALTER PUBLICATION may wait for a lock; it holds the lock that marks this instance alive.
    case publication
    case replication
}

/// The timers of the turn.
enum Clock: UInt32 {
    case sweep
    case follow
    case beat
    case feed
    case publication
    case catalogPoll
    case reconnect
    case resolve
    case shutdown
    case admin
    case freshness
}
