import PGProtocol

/// Names a statement; goes stale when the statement is evicted, and is then recognised as such.
struct StatementID: Hashable, Sendable {
    var index: UInt32
    var generation: UInt32
}

/// One SQL text under one profile, classified once.
///
/// Lives in the raw memory of `StatementTable`; a pointer to it is valid until the next insertion.
/// The fields that a hit reads are plain numbers: `query` and `describeReply` are counted
/// references and are left alone on that path.
struct Statement {
    enum State: UInt8 {
        /// Not classified yet, or no longer: see `StatementTable.reset`.
        case fresh
        /// Waits for the catalog.
        case pending
        /// Never answered from the cache, for `reason`.
        case forward
        /// `query` says what it reads.
        case cacheable
    }

    let id: StatementID
    /// Of profile and key, see `StatementTable.hash`. Stays the same when the statement is evicted
    /// and comes back, so entries' hashes and admission counts build on it.
    let hash: UInt64
    let profile: UInt32
    /// SQL text, NUL, and for prepared statements the body of Parse behind it.
    let key: KeyBytes
    /// Bytes of the SQL text, without its NUL.
    let textCount: Int

    /// Sessions that hold it as a prepared statement.
    var references: UInt32 = 0
    /// First of its memo entries, written by `Memo`; `SlotIndex.none` without any.
    var firstEntry: UInt32 = SlotIndex.none
    /// The memo entry with an empty tail, written by `Memo`; `SlotIndex.none` without one.
    var soleEntry: UInt32 = SlotIndex.none
    var hits: UInt64 = 0
    var misses: UInt64 = 0

    var state: State = .fresh
    var reason: ForwardReason = .pendingCatalog
    /// What it may do to its session and to the data.
    var effect = StatementEffect.anything
    /// Whether it calls code that is not PostgreSQL's is not known yet.
    var isEffectPending = false
    /// The origin has parsed this text under this profile: its Parse may be answered without it.
    var wasParsed = false
    /// A resolution that is under way refers to it: it is not evicted.
    var isPinnedByCatalogRequest = false
    /// Was looked up since the clock's hand came by.
    var isRecent = true
    /// By role number, 0 to 63: the role's right to this statement is proven [P1]. Roles with higher
    /// numbers are never allowed.
    var rolesAllowed: UInt64 = 0
    /// By role number: the catalog was asked, whatever it said or will say.
    var rolesAsked: UInt64 = 0

    /// The effect, with what is not known yet taken for granted.
    var possibleEffect: StatementEffect {
        isEffectPending ? effect.union([.mayWrite, .callsUnknownCode]) : effect
    }

    /// The relations whose rows an execution at the origin may show [S5].
    var reads = ReadSet.everything
    /// What it reads; there exactly while `state` is `cacheable`.
    var query: ResolvedQuery?
    /// ParameterDescription and RowDescription or NoData, as the origin sent them.
    var describeReply: [UInt8]?
    /// RowDescription with all formats as text, from a description of the statement or of a portal.
    var rowDescription: [UInt8]?

    init(id: StatementID, hash: UInt64, profile: UInt32, key: KeyBytes, textCount: Int) {
        self.id = id
        self.hash = hash
        self.profile = profile
        self.key = key
        self.textCount = textCount
    }

    /// The SQL text, valid as long as the statement.
    var text: ByteView { key.view.slice(from: 0, count: textCount) }

    /// What Parse carries behind the statement's name, valid as long as the statement.
    var parseTail: ByteView { key.view }

    /// The parameter types that Parse declared, zero where it left the type open (manual, 55.7
    /// Parse); empty for the simple protocol and where the bytes do not have that form.
    var declaredTypes: [OID] {
        var reader = ByteReader(key.view.dropFirst(min(textCount + 1, key.count)))
        do throws(ProtocolError) {
            let count = Int(try reader.uint16("number of parameter types"))
            var types: [OID] = []
            types.reserveCapacity(min(count, reader.remaining / 4))
            for _ in 0..<count { types.append(try reader.oid("parameter type")) }
            return types
        } catch {
            return []
        }
    }

    /// Back to `fresh`: whatever the catalog said about it may be wrong by now.
    mutating func forgetResolution() {
        state = .fresh
        reason = .pendingCatalog
        effect = .anything
        isEffectPending = false
        wasParsed = false
        isPinnedByCatalogRequest = false
        rolesAllowed = 0
        rolesAsked = 0
        reads = .everything
        query = nil
        describeReply = nil
        rowDescription = nil
    }
}
