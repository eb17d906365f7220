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
    /// What ended one of its entries last.
    var lastInvalidation: Invalidation?

    var state: State = .fresh
    var reason: ForwardReason = .pendingCatalog
    /// What it may do to its session and to the data.
    var effect = StatementEffect.anything
    /// Whether it calls code that is not PostgreSQL's is not known yet.
    var isEffectPending = false
    /// What it is to the block around it, and to the settings.
    var verb = TransactionVerb.none
    var settingChange = SettingChange.none
    /// It is a SELECT that could be cached, as far as its grammar tells.
    var mayBeCached = false
    /// It means something by a name that is looked up: another search path could make it mean something else.
    var hasNames = true
    /// Its answer is not the same under all settings, as far as is known.
    var dependsOnSettings: Bool { query.map { !$0.classes.isEmpty } ?? true }
    /// A constant in it may mean something else under other settings.
    var hasTextConstant: Bool {
        let bytes = text.buffer
        return bytes.indices.contains { index in
            if bytes[index] == UInt8(ascii: "'") { return true }
            // A dollar that does not begin a parameter begins a string.
            guard bytes[index] == UInt8(ascii: "$"), index + 1 < bytes.count else { return false }
            return !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index + 1])
        }
    }
    /// The cache database did not give what the origin would.
    var rowsRefusal: RowsRefusal?
    /// It may end with LIMIT or OFFSET: other texts may hold its rows.
    var isRowWindow = false
    /// Its shape, if it was known when the statement came.
    var shape = ShapeID.none
    /// Prepared, it may go on to depend on the settings of that time.
    var keepsSettings: Bool {
        dependsOnSettings && !isExplain && (hasTextConstant || query?.callsBodies ?? false)
    }
    /// It drops prepared statements by their SQL names, or makes one.
    var namesPrepared: Bool { effect.contains(.namesPrepared) || deallocates }
    var deallocates = false
    /// It asks pgcache about another statement.
    var isExplain = false
    var explainCall = ExplainCall.none
    /// The origin has parsed this text under this profile: its Parse may be answered without it.
    var wasParsed = false
    /// A resolution that is under way refers to it: it is not evicted.
    var isPinnedByCatalogRequest = false
    /// Was looked up since the clock's hand came by.
    var isRecent = true
    /// Roles whose right to this statement is proven [P1].
    var rolesAllowed = RoleSet()
    /// Roles of which the catalog was asked, whatever it said or will say.
    var rolesAsked = RoleSet()
    /// The statement that holds the entries, the rights and the descriptions of all that share them: the same text
    /// under another profile that differs in nothing this statement depends on [K1]. Itself unless it found one.
    var canonical: StatementID
    /// What its profile and its relations amount to; nil while it is not cacheable, or is not to be shared.
    var projection: UInt32?

    /// The effect, with what is not known yet taken for granted.
    var possibleEffect: StatementEffect {
        isEffectPending ? effect.union([.mayWrite, .callsUnknownCode]) : effect
    }

    /// The same for a block that is open: what ends or marks it does not ask whether it has read.
    var effectInBlock: StatementEffect { verb == .none ? possibleEffect : .mayWrite }

    /// An execution at the origin may show rows of relations [S5].
    var readsRows = true
    /// What it reads; there exactly while `state` is `cacheable`.
    var query: ResolvedQuery?
    /// ParameterDescription and RowDescription or NoData, as the origin sent them.
    var describeReply: [UInt8]?
    /// `ByteView.rowShape` of its RowDescription, from a description of the statement or of a portal.
    var rowShape: [UInt8]?

    init(id: StatementID, hash: UInt64, profile: UInt32, key: KeyBytes, textCount: Int) {
        self.id = id
        canonical = id
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
        rolesAllowed = RoleSet()
        rolesAsked = RoleSet()
        canonical = id
        projection = nil
        readsRows = true
        rowsRefusal = nil
        shape = .none
        query = nil
        describeReply = nil
        rowShape = nil
    }
}
