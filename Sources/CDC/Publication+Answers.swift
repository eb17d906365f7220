import Mutation
import PGProtocol

/// What the answers of an open publication link mean for the relations.
extension Publication {
    /// The rows of the members' query, by what they say.
    struct Membership: Equatable {
        /// The publication sends every kind of change, leaf by leaf; nil if it does not exist.
        var isFit: Bool?
        var identities: [OID: String] = [:]
        /// The event trigger is there and enabled; nil where none was asked for.
        var hasEventTrigger: Bool?

        init(rows: [[String?]]) {
            for row in rows where row.count == 3 {
                switch row[0] {
                case "publication": isFit = row[1] == "true"
                case "event trigger": hasEventTrigger = row[1] == "2"
                case "member":
                    if let relation = row[1].flatMap({ OID($0) }) { identities[relation] = row[2] }
                default: break
                }
            }
        }
    }

    mutating func workAnswered(
        _ work: Work, _ rows: [[String?]], _ now: Instant
    ) -> [PublicationAction] {
        state = .open(.none)
        switch work {
        case .none: return []
        case .adding(let relations): return ask(.open(.identifying(relations)), membersQuery, now)
        case .identifying(let relations):
            return compare(Membership(rows: rows), expecting: relations, now)
        case .fencing(let relations):
            guard let text = rows.first?.last ?? nil, let fence = UInt64(text) else {
                return restart(SQLState.protocolViolation.code, "no transaction number", now)
            }
            return fenced(relations, TransactionID(fence), now)
        case .refreshing(let relations):
            for relation in relations where members[relation]?.phase == .settled {
                members[relation]?.phase = .refreshed
            }
            return next(now)
        case .polling:
            pollAt = now.advanced(byMilliseconds: configuration.pollMilliseconds)
            let membership = Membership(rows: rows)
            return compareEventTrigger(membership) + compare(membership, expecting: [], now)
        }
    }

    /// The operator's publication at first sight.
    mutating func examined(_ rows: [[String?]], _ now: Instant) -> [PublicationAction] {
        let membership = Membership(rows: rows)
        guard let isFit = membership.isFit else {
            return restart(
                SQLState.undefinedObject.code,
                "publication \(configuration.name) does not exist", now)
        }
        guard isFit else { return unfit(now) }
        published = membership.identities
        return opened(isNew: false, now)
    }

    private mutating func unfit(_ now: Instant) -> [PublicationAction] {
        restart(
            SQLState.featureNotSupported.code,
            "publication \(configuration.name) must publish insert, update, delete and truncate, and "
                + "not via the partition root", now)
    }

    private mutating func fenced(
        _ relations: [OID], _ fence: TransactionID, _ now: Instant
    ) -> [PublicationAction] {
        if Mutation.noT3Wait.isOn {
            for relation in relations { members[relation]?.phase = .followed }
            return [.followed(relations)] + next(now)
        }
        for relation in relations {
            switch members[relation]?.phase {
            case .added: members[relation]?.phase = .joined(fence: fence)
            case .refreshed: members[relation]?.phase = .renewed(fence: fence)
            case .wanted, .joined, .settled, .renewed, .followed, nil: break
            }
        }
        beatMilliseconds = Self.beatMillisecondsMin
        beatAt = now
        return next(now)
    }

    /// Meets what is in the publication with what should be [T3].
    private mutating func compare(
        _ membership: Membership, expecting added: [OID], _ now: Instant
    ) -> [PublicationAction] {
        guard membership.isFit == true else {
            if configuration.isAdopted {
                return membership.isFit == nil
                    ? restart(SQLState.undefinedObject.code, "the publication is gone", now)
                    : unfit(now)
            }
            let forgotten = forgetAll()
            return forgotten
                + (membership.isFit == nil
                    ? create(now)
                    : ask(.dropping, Leftovers.dropPublication(configuration.name), now))
        }
        var grown: [PublicationAction] = []
        if configuration.isAdopted {
            if membership.identities.keys.contains(where: { published[$0] == nil }) { grown = [.grown] }
            published = membership.identities
        }
        var gone: [OID] = []
        for (relation, member) in members {
            let identity = membership.identities[relation]
            if added.contains(relation) {
                members[relation]?.identity = identity
                members[relation]?.phase = .added
                if identity == nil { gone.append(relation) }
            } else if let known = member.identity, known != identity {
                gone.append(relation)
            }
        }
        for relation in gone { members[relation] = nil }
        return grown + (gone.isEmpty ? [] : [.unfollowed(gone.sorted())]) + next(now)
    }

    /// Somebody may drop the event trigger, or switch it off, and on again. It is not made anew: who did it meant it.
    private mutating func compareEventTrigger(_ membership: Membership) -> [PublicationAction] {
        guard let isThere = membership.hasEventTrigger, isThere != hasEventTrigger else { return [] }
        hasEventTrigger = isThere
        return isThere ? [.eventTriggerReady] : [.eventTriggerMissing(state: "", message: "dropped or disabled")]
    }

    mutating func addFailed(
        _ relations: [OID], _ sqlState: String, _ message: String, _ now: Instant
    ) -> [PublicationAction] {
        state = .open(.none)
        guard relations.count == 1, let relation = relations.first else {
            // One of them is to blame; alone, it does not stop the others.
            for relation in relations {
                members[relation]?.phase = .wanted(attempts: 0, alone: true, notBefore: nil)
            }
            return next(now)
        }
        let reason: RefusalReason
        switch sqlState {
        case "42710":  // Already a member: ours from before, or somebody added it.
            return ask(.open(.identifying([relation])), membersQuery, now)
        case SQLState.undefinedObject.code:  // The publication itself was dropped.
            return forgetAll() + create(now)
        case SQLState.lockNotAvailable.code:
            if let later = laterAttempt(relation, now) {
                members[relation]?.phase = later
                return next(now)
            }
            reason = .locked
        case SQLState.insufficientPrivilege.code: reason = .notOwner(message)
        case PublicationSQL.stateRenamed, "42P01", "3F000": reason = .renamed
        case PublicationSQL.stateWithoutIdentity: reason = .withoutReplicaIdentity
        default: reason = .failed(state: sqlState, message: message)
        }
        members[relation] = nil
        return [.refused(relation, reason)] + next(now)
    }

    private func laterAttempt(_ relation: OID, _ now: Instant) -> Phase? {
        guard case .wanted(let attempts, _, _) = members[relation]?.phase,
            attempts + 1 < configuration.lockAttemptsMax
        else { return nil }
        let delay = configuration.retryMillisecondsMin << UInt64(min(attempts, 16))
        return .wanted(
            attempts: attempts + 1, alone: true,
            notBefore: now.advanced(
                byMilliseconds: min(delay, configuration.retryMillisecondsMax)))
    }
}
