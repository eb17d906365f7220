import Mutation
import PGProtocol

/// What a statement that was sent to the origin reads, as far as it is known.
enum ReadSet: Equatable {
    case nothing
    case relations([OID])
    case everything
}

/// How old an answer from the cache may be for one session, by numbers of beats (`Beats`) [S1] [S5].
///
/// What the session wrote bounds every relation; what it read at the origin bounds the relations that it read,
/// because a hit at an earlier position could show an earlier version of what it has seen. A bound costs
/// nothing until a hit has to look at it: no beat is asked for before.
///
/// Owned by a session. Bounds: `relationsMax` relations have a bound of their own; beyond, one for all.
struct Bounds {
    /// The highest of all bounds: a hit needs to look no further when this one is reached.
    private(set) var highest: UInt64 = 0
    /// Of everything, because of what was written.
    private(set) var written: UInt64 = 0
    /// Of everything, because of what was read.
    private var read: UInt64 = 0
    private var relations: [(oid: OID, beat: UInt64)] = []
    /// Read at the origin since the last ReadyForQuery, so not bounding yet.
    private var isReadingEverything = false
    private var reading: [OID] = []

    static let relationsMax = 8

    /// Whatever was sent up to now may have written.
    mutating func wrote(before beat: UInt64) {
        written = beat
        highest = max(highest, beat)
    }

    /// A statement goes to the origin; `answered` follows with its answer.
    mutating func sent(_ set: ReadSet) {
        if Mutation.noReadBound.isOn { return }
        switch set {
        case .nothing: return
        case .everything: isReadingEverything = true
        case .relations(let oids): for oid in oids { sent(reading: oid) }
        }
    }

    mutating func sent(reading oid: OID) {
        if isReadingEverything || reading.contains(oid) { return }
        if reading.count < Bounds.relationsMax { reading.append(oid) } else { isReadingEverything = true }
    }

    /// The origin has answered. Unless that was all, what is still under way bounds again later.
    mutating func answered(before beat: UInt64, isAll: Bool) {
        if isReadingEverything {
            read = beat
            highest = max(highest, beat)
        } else {
            for oid in reading { bind(oid, before: beat) }
        }
        guard isAll else { return }
        isReadingEverything = false
        reading.removeAll(keepingCapacity: true)
    }

    /// The session has seen of this relation what is no older than anything before the beat.
    mutating func bind(_ oid: OID, before beat: UInt64) {
        highest = max(highest, beat)
        if let place = relations.firstIndex(where: { $0.oid == oid }) {
            relations[place].beat = beat
        } else if relations.count < Bounds.relationsMax {
            relations.append((oid, beat))
        } else {
            read = beat
            relations.removeAll(keepingCapacity: true)
        }
    }

    /// The bound of an answer over these relations.
    func bound(over uses: [RelationUse]) -> UInt64 {
        var bound = max(written, read)
        for one in relations where one.beat > bound && uses.contains(where: { $0.relation == one.oid }) {
            bound = one.beat
        }
        return bound
    }
}
