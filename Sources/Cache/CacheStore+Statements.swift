import PGProtocol

/// From a text to a cacheable statement: parsing, the catalog, following, rights.
extension CacheStore {
    /// The statement with this key under this profile, classified; nil where it is not remembered, since it is too
    /// long or there is no room: it may then do anything.
    ///
    /// - Parameter key: the text, its NUL, and what Parse has behind it.
    func statement(
        profile: UInt32, key: ByteView, _ standardConformingStrings: Bool
    ) -> UnsafeMutablePointer<Statement>? {
        let hash = statements.hash(profile: profile, key: key)
        if let found = statements.find(profile: profile, key: key, hash: hash) {
            if found.pointee.state == .fresh { classify(found, standardConformingStrings) }
            return found
        }
        guard key.count <= limits.statementBytesMax, let text = key.cString(at: 0),
            let statement = statements.insert(
                profile: profile, key: key, textCount: text.count, hash: hash, evictingFrom: memo)
        else { return nil }
        classify(statement, standardConformingStrings)
        return statement
    }

    /// A statement that a session has prepared, classified again if the schema has changed since.
    func statement(
        _ id: StatementID, _ standardConformingStrings: Bool
    ) -> UnsafeMutablePointer<Statement>? {
        guard let statement = statements[id] else { return nil }
        if statement.pointee.state == .fresh { classify(statement, standardConformingStrings) }
        return statement
    }

    /// What a text may do for which there is no room in the table.
    func effect(
        ofUnremembered key: ByteView, _ standardConformingStrings: Bool
    ) -> StatementEffect {
        guard let text = key.cString(at: 0) else { return .anything }
        counters.statementsParsed += 1
        return StatementParser.parse(
            text, standardConformingStrings: standardConformingStrings,
            bytesMax: limits.statementBytesMax
        ).effect
    }

    /// Parses a text, once. Whether it may be cached, and whether it calls code that is not PostgreSQL's, may
    /// have to wait for the catalog.
    private func classify(
        _ statement: UnsafeMutablePointer<Statement>, _ standardConformingStrings: Bool
    ) {
        counters.statementsParsed += 1
        let text = statement.pointee.text
        let parsed = StatementParser.parse(
            text, standardConformingStrings: standardConformingStrings,
            bytesMax: limits.statementBytesMax)
        statement.pointee.effect = parsed.effect
        if parsed.mentions.relations.isEmpty, !parsed.mentions.isIncomplete {
            statement.pointee.reads = .nothing
        }
        if parsed.mentions.relations.contains(where: { $0.name == "pg_prepared_statements" }) {
            statement.pointee.effect.insert(.seesPrepared)
        }
        guard searchPaths[statement.pointee.profile] != nil else {
            // Where strings end depends on a setting that nobody knows.
            if text.buffer.contains(UInt8(ascii: "\\")) { statement.pointee.effect = .anything }
            forward(statement, .sessionState)
            return
        }
        guard pending.count < CacheStore.pendingMax else {
            statement.pointee.effect.insert(.callsUnknownCode)
            forward(statement, .pendingCatalog)
            return
        }
        if !parsed.isASCII, !hasPlainEncodings {
            statement.pointee.effect.insert(.callsUnknownCode)
            forward(statement, .sessionState)
            return
        }
        statement.pointee.state = .pending
        statement.pointee.reason = .pendingCatalog
        if case .forward(let reason) = parsed.body { statement.pointee.reason = reason }
        statement.pointee.isEffectPending = true
        statement.pointee.isPinnedByCatalogRequest = true
        pending[statement.pointee.id] = parsed
        resolve(statement, parsed)
    }

    /// Text beyond ASCII means to the origin what it means to our parser [K1].
    private var hasPlainEncodings: Bool { catalog.originFacts?.serverEncoding == "UTF8" }

    private func forward(
        _ statement: UnsafeMutablePointer<Statement>, _ reason: ForwardReason
    ) {
        settle(statement)
        statement.pointee.state = .forward
        statement.pointee.reason = reason
    }

    /// Nothing more is to be found out about the statement.
    private func settle(_ statement: UnsafeMutablePointer<Statement>) {
        pending[statement.pointee.id] = nil
        statement.pointee.isPinnedByCatalogRequest = false
        statement.pointee.isEffectPending = false
    }

    /// Brings a pending statement as far as what is known allows.
    private func resolve(_ statement: UnsafeMutablePointer<Statement>, _ parsed: ParsedStatement) {
        guard let path = searchPaths[statement.pointee.profile],
            let view = catalog.view(searchPath: path)
        else {
            if catalog.isReady {
                statement.pointee.effect.insert(.callsUnknownCode)
                forward(statement, .sessionState)
            }
            return
        }
        let resolution = parsed.resolved(
            with: view, declaredTypes: statement.pointee.declaredTypes, allows: { isAllowed($0) })
        switch resolution {
        case .needs(let names):
            if let request = catalog.request(names, searchPath: path) { ask(request) }
        case .forward(let reason, let callsUnknownCode):
            if callsUnknownCode { statement.pointee.effect.insert(.callsUnknownCode) }
            statement.pointee.reads = reads(parsed.mentions, view)
            forward(statement, reason)
        case .cacheable(let query):
            statement.pointee.isEffectPending = false
            statement.pointee.reads = .relations(query.uses.map(\.relation))
            followed(statement, query)
        }
    }

    /// What a statement that is never cached reads: its relations, unless one of them stands for others.
    private func reads(_ mentions: Mentions, _ view: some CatalogLookup) -> ReadSet {
        var relations: [OID] = []
        for name in mentions.relations {
            guard case .found(let relation) = view.relation(name), !relation.isSystemCatalog else { continue }
            guard relation.kind == UInt8(ascii: "r"), !relation.hidesCode else { return .everything }
            relations.append(relation.oid)
        }
        return mentions.isIncomplete ? .everything : relations.isEmpty ? .nothing : .relations(relations)
    }

    private func isAllowed(_ relation: Relation) -> Bool {
        if limits.allowedTables.isEmpty { return true }
        let name = relation.name.lowercased()
        return limits.allowedTables.contains(name)
            || limits.allowedTables.contains(relation.schema.lowercased() + "." + name)
    }

    /// The last step: every relation that it reads must be in the stream.
    private func followed(
        _ statement: UnsafeMutablePointer<Statement>, _ query: ResolvedQuery
    ) {
        var isComplete = true
        for use in query.uses where !membership.isFollowed(use.relation) {
            if membership.isRefused(use.relation) {
                forward(statement, .notFollowed)
                return
            }
            membership.ask(use.relation)
            isComplete = false
        }
        statement.pointee.reason = .notFollowed
        guard isComplete else { return }
        settle(statement)
        statement.pointee.query = query
        statement.pointee.state = .cacheable
    }

    /// Something became known that pending statements may have waited for.
    func resolvePending() {
        for (id, select) in pending {
            guard let statement = statements[id], statement.pointee.state == .pending else {
                pending[id] = nil
                continue
            }
            resolve(statement, select)
        }
    }

    // MARK: - Following

    /// The next relation that should be in the stream.
    public func nextFollow() -> (oid: OID, schema: String, name: String)? {
        while let oid = membership.nextWanted() {
            if let relation = catalog.relation(oid) { return (oid, relation.schema, relation.name) }
            membership.unfollow([oid])
        }
        return nil
    }

    public var followedCount: Int { membership.followedCount }

    public func relationsFollowed(_ relations: [OID]) {
        membership.follow(relations)
        resolvePending()
    }

    /// Changes of these may no longer reach us: whatever reads them is dropped.
    public func relationsUnfollowed(_ relations: [OID]) {
        membership.unfollow(relations)
        schemaChanged()
    }

    public func relationRefused(_ relation: OID) {
        membership.refuse(relation)
        resolvePending()
    }

    // MARK: - Rights

    /// Whether the role's right to everything that the statement names is proven [P1].
    @inline(__always)
    func mayRead(_ statement: UnsafeMutablePointer<Statement>, _ role: UInt8) -> Bool {
        role < 64 && statement.pointee.rolesAllowed & (1 << UInt64(role)) != 0
    }

    /// Asks for it, once for each role and set of objects; nil when it is proven, else why the statement
    /// is forwarded meanwhile.
    func askRights(_ statement: UnsafeMutablePointer<Statement>, _ role: UInt8) -> ForwardReason? {
        guard role < 64, let name = roles.name(UInt32(role)), let query = statement.pointee.query else {
            return .rights
        }
        let bit: UInt64 = 1 << UInt64(role)
        let subject = RightsSubject(
            role: role, relations: Set(query.uses.map(\.relation)), functions: Set(query.functions))
        if let isAllowed = rightsKnown[subject] {
            statement.pointee.rolesAsked |= bit
            if isAllowed { statement.pointee.rolesAllowed |= bit }
            return isAllowed ? nil : .rights
        }
        if statement.pointee.rolesAsked & bit != 0 { return .pendingRights }
        let question = Rights.query(
            role: name, relations: query.uses.map(\.relation), functions: query.functions)
        if questions.ask(.rights(subject), question) { statement.pointee.rolesAsked |= bit }
        return .pendingRights
    }

    // MARK: - Questions to the catalog

    private func ask(_ request: Catalog.Request) {
        if !questions.ask(.catalog(request), request.query) { catalog.failed(request) }
    }

    /// What must be known before anything can be resolved.
    func askBootstrap() {
        guard catalogIsConnected else { return }
        for request in catalog.bootstrapRequests() { ask(request) }
    }

    /// The catalog connection is there: whatever was known may be old.
    public func catalogConnected() {
        questions = Questions()
        poll = CatalogPoll()
        hasPolled = false
        catalogIsConnected = true
        // First, so that whatever changes while the rest is read differs from it at the next poll.
        pollDue()
        schemaChanged(builtInsToo: true)
    }

    /// Nobody notices changes of the schema by others any more: everything is forgotten, and forwarded
    /// until the connection is there again.
    public func catalogLost() {
        questions = Questions()
        catalogIsConnected = false
        schemaChanged()
    }

    /// Time to look whether the schema has changed.
    public func pollDue() { _ = questions.ask(.poll, CatalogPoll.query) }

    /// The next query for the catalog connection; one at a time.
    public func nextQuestion() -> OriginQuery? { questions.next() }

    public func questionAnswered(_ rows: [[String?]]) {
        switch questions.answered() {
        case .catalog(let request):
            switch catalog.absorb(rows, answering: request) {
            case .used, .stale: resolvePending()
            case .unusable: break
            case .contradictory: schemaChanged()
            }
        case .rights(let subject):
            learn(subject, isAllowed: Rights.judge(rows))
        case .poll:
            let wasFirst = !hasPolled
            hasPolled = true
            let change = poll.absorb(rows)
            if !change.isEmpty, !wasFirst { schemaChanged(builtInsToo: change.contains(.builtIns)) }
        case .stale, nil:
            break
        }
    }

    private func learn(_ subject: RightsSubject, isAllowed: Bool) {
        if rightsKnown.count >= CacheStore.pendingMax { rightsKnown.removeAll() }
        rightsKnown[subject] = isAllowed
    }

    public func questionFailed() {
        switch questions.answered() {
        case .catalog(let request): catalog.failed(request)
        case .rights(let subject): learn(subject, isAllowed: false)
        case .poll, .stale, nil: break
        }
    }

    // MARK: - Profiles

    enum Interned {
        case cacheable(profile: UInt32, role: UInt8)
        case bypass(ForwardReason)
    }

    /// What a session's settings make of it.
    func intern(_ reading: ProfileReading) -> Interned {
        if let refusal = reading.refusal { return .bypass(refusal.forwardReason) }
        guard let profile = profiles.intern(reading.profile), let role = roles.intern(reading.role),
            role < 64
        else { return .bypass(.sessionState) }
        searchPaths[profile] = reading.profile.searchPath
        return .cacheable(profile: profile, role: UInt8(role))
    }

    /// Whether sessions of this database may use the cache at all.
    func isFollowed(database: String) -> Bool { database == limits.database && memo.isOn }
}
