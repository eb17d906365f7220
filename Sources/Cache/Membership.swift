import PGProtocol

/// Which relations the change stream covers, as far as the cache cares.
///
///     unknown ─ask→ asked ─followed→ followed ─unfollowed→ unknown
///                     └─refused→ refused (until the schema changes)
struct Membership {
    private var followed: Set<OID> = []
    private var refused: Set<OID> = []
    private var asked: Set<OID> = []
    private var wanted: [OID] = []

    func isFollowed(_ relation: OID) -> Bool { followed.contains(relation) }
    func isRefused(_ relation: OID) -> Bool { refused.contains(relation) }
    var followedCount: Int { followed.count }

    /// Asks for a relation to be followed, once.
    mutating func ask(_ relation: OID) {
        guard !followed.contains(relation), !refused.contains(relation),
            asked.insert(relation).inserted
        else { return }
        wanted.append(relation)
    }

    var hasWanted: Bool { !wanted.isEmpty }
    mutating func nextWanted() -> OID? { wanted.popLast() }

    mutating func follow(_ relations: [OID]) {
        followed.formUnion(relations)
        asked.subtract(relations)
    }
    mutating func unfollow(_ relations: [OID]) {
        followed.subtract(relations)
        asked.subtract(relations)
    }
    mutating func refuse(_ relation: OID) {
        followed.remove(relation)
        asked.remove(relation)
        refused.insert(relation)
    }
    /// What was refused may be asked for again.
    mutating func reconsider() { refused.removeAll() }
}
