import Mutation
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

    /// The names that a DEALLOCATE drops.
    func deallocated(by id: StatementID, _ standardConformingStrings: Bool) -> [String] {
        guard let statement = statements[id] else { return [] }
        let parsed = StatementParser.parse(
            statement.pointee.text, standardConformingStrings: standardConformingStrings,
            bytesMax: limits.statementBytesMax)
        return if case .named(let names) = parsed.deallocation { names } else { [] }
    }

    /// Parses a text, once. Whether it may be cached, and whether it calls code that is not PostgreSQL's, may
    /// have to wait for the catalog.
    private func classify(
        _ statement: UnsafeMutablePointer<Statement>, _ standardConformingStrings: Bool
    ) {
        let text = statement.pointee.text
        if classifyByShape(statement) { return }
        counters.statementsParsed += 1
        let parsed = StatementParser.parse(
            text, standardConformingStrings: standardConformingStrings,
            bytesMax: limits.statementBytesMax)
        statement.pointee.effect = parsed.effect
        statement.pointee.verb = parsed.verb
        statement.pointee.settingChange = parsed.settingChange
        statement.pointee.deallocates = parsed.deallocation != .none
        statement.pointee.explainCall = parsed.explainCall
        statement.pointee.isExplain = parsed.explainCall != .none
        statement.pointee.hasNames = !parsed.mentions.isEmpty
        if case .select = parsed.body { statement.pointee.isRowWindow = RowWindow(text).isPart }
        // The settings are needed for either.
        if case .select = parsed.body { statement.pointee.mayBeCached = true }
        if statement.pointee.isExplain { statement.pointee.mayBeCached = true }
        if parsed.mentions.relations.isEmpty, !parsed.mentions.isIncomplete {
            statement.pointee.readsRows = false
        }
        if parsed.mentions.relations.contains(where: { $0.name == "pg_prepared_statements" }) {
            statement.pointee.effect.insert(.seesPrepared)
        }
        guard searchPaths[statement.pointee.profile] != nil else {
            // Nobody knows the settings: what its names mean, and where its strings end if there is a backslash in it.
            if statement.pointee.hasNames { statement.pointee.effect.insert(.callsUnknownCode) }
            if text.buffer.contains(UInt8(ascii: "\\")) {
                statement.pointee.effect = .anything
            } else if changesOnlyApplication(parsed) {
                statement.pointee.effect.remove(.changesSession)
            }
            if case .forward(let reason) = parsed.body {
                forward(statement, reason)
            } else {
                forward(statement, .pendingProfile)
            }
            learnShape(of: statement, parsed, nil) { _ in nil }
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
        func resolved(_ parsed: ParsedStatement) -> Resolution {
            parsed.resolved(
                with: view, declaredTypes: statement.pointee.declaredTypes, customSettings: declaredSettings,
                allows: { isAllowed($0) })
        }
        let resolution = resolved(parsed)
        if changesOnlyApplication(parsed) {
            statement.pointee.effect.remove(.changesSession)
            statement.pointee.settingChange = .none
        }
        switch resolution {
        case .needs(let names):
            if let request = catalog.request(names, searchPath: path) { ask(request) }
        case .forward(let reason, let callsUnknownCode):
            if callsUnknownCode { statement.pointee.effect.insert(.callsUnknownCode) }
            statement.pointee.readsRows = readsRows(parsed.mentions, view)
            forward(statement, reason)
        case .cacheable(let query):
            statement.pointee.isEffectPending = false
            followed(statement, query)
        }
        if statement.pointee.state != .pending { learnShape(of: statement, parsed, resolution, resolve: resolved) }
    }

    /// Whether it changes settings, and only such as no answer depends on: the application's, undeclared [K4].
    private func changesOnlyApplication(_ parsed: ParsedStatement) -> Bool {
        !parsed.customSettings.isEmpty && !parsed.plainEffect.contains(.changesSession)
            && parsed.customSettings.allSatisfy {
                catalog.isOfApplication(setting: $0) && !declaredSettings.contains($0)
            }
    }

    /// Whether an execution may show rows of users' relations [S5].
    private func readsRows(_ mentions: Mentions, _ view: some CatalogLookup) -> Bool {
        mentions.isIncomplete
            || mentions.relations.contains { name in
                if case .found(let relation) = view.relation(name) { !relation.isSystemCatalog } else { true }
            }
    }

    func isAllowed(_ relation: Relation) -> Bool {
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
        statement.pointee.projection = profiles[statement.pointee.profile].flatMap {
            projections.intern($0, statement.pointee.profile, on: query.classes)
        }
        statements.elect(statement)
    }

    // MARK: - Sharing

    /// The statement that holds what this one is answered from: entries, rights, descriptions, and whether the origin
    /// has parsed it. Whoever differs in nothing that the statement depends on shares it [K1].
    @inline(__always)
    func canonical(_ statement: UnsafeMutablePointer<Statement>) -> UnsafeMutablePointer<Statement> {
        let id = statement.pointee.canonical
        if id == statement.pointee.id { return statement }
        guard let canonical = statements[id] else { return statements.elect(statement) }
        canonical.pointee.isRecent = true
        return canonical
    }

    /// Something became known that pending statements may have waited for.
    func resolvePending() {
        defer { wakeExplaining() }
        pinned.isDue = true
        for (id, select) in pending {
            guard let statement = statements[id], statement.pointee.state == .pending else {
                pending[id] = nil
                continue
            }
            resolve(statement, select)
        }
    }

    func wakeExplaining() {
        woken += waitingForCatalog
        waitingForCatalog.removeAll()
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
        role < RoleSet.countMax && statement.pointee.rolesAllowed.contains(role) || Mutation.noRightsCheck.isOn
    }

    /// Asks for it, once for each role and set of objects; nil when it is proven, else why the statement
    /// is forwarded meanwhile.
    func askRights(_ statement: UnsafeMutablePointer<Statement>, _ role: UInt8) -> ForwardReason? {
        guard role < RoleSet.countMax, let name = roles.name(UInt32(role)), let query = statement.pointee.query
        else { return .rights }
        let subject = RightsSubject(role: role, query)
        if let isAllowed = knownRight(subject) {
            statement.pointee.rolesAsked.insert(role)
            if isAllowed {
                statement.pointee.rolesAllowed.insert(role)
                shapesSeen[statement.pointee.shape]?.rolesAllowed.insert(role)
            }
            return isAllowed ? nil : .rights
        }
        // Whoever may read all columns may read these: one question about a relation is enough to begin with.
        guard !statement.pointee.rolesAsked.contains(role), !rightsAsked.contains(subject.ofAllColumns) else {
            return .pendingRights
        }
        let question = Rights.query(
            role: name, needs: query.rights, reads: subject.reads, functions: query.functions)
        if questions.ask(.rights(subject), question) {
            statement.pointee.rolesAsked.insert(role)
            rightsAsked.insert(subject.ofAllColumns)
        }
        return .pendingRights
    }

    // MARK: - Questions to the catalog

    func ask(_ request: Catalog.Request) {
        if !questions.ask(.catalog(request), request.query) { catalog.failed(request) }
    }

    /// What must be known before anything can be resolved.
    func askBootstrap() {
        guard catalogIsConnected else { return }
        for request in catalog.bootstrapRequests() { ask(request) }
        askDatabaseFacts()
    }

    /// A cache database is made to be like the origin's.
    private func askDatabaseFacts() {
        guard limits.rows != nil, originDatabase == nil, let version = catalog.originFacts?.serverVersion else {
            return
        }
        _ = questions.ask(.database, DatabaseFacts.question(serverVersion: Int(version)))
    }

    /// The catalog connection is there: whatever was known may be old.
    public func catalogConnected() {
        questions = Questions()
        poll = CatalogPoll()
        hasPolled = false
        catalogIsConnected = true
        // It may be another server by now.
        originDatabase = nil
        likeness.forgetZones()
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
    public func pollDue() {
        let asks = questions.ask(.poll(proving: catalog.unproven), CatalogPoll.query(proving: catalog.unproven))
        if asks { catalog.unproven = CatalogPoll.Unproven() }
    }

    /// The next query for the catalog connection; one at a time.
    public func nextQuestion() -> OriginQuery? { questions.next() }

    public func questionAnswered(_ rows: [[String?]]) {
        switch questions.answered() {
        case .catalog(let request):
            switch catalog.absorb(rows, answering: request) {
            case .used, .stale:
                askDatabaseFacts()
                resolvePending()
            case .unusable: break
            case .contradictory: schemaChanged()
            }
        case .rights(let subject):
            // Roles are others than at the last poll: the next must tell, or what is learned now would outlive a change
            // back [P1].
            guard Rights.who(rows) == poll.who else { return rightsAreInDoubt() }
            if Rights.judge(rows) {
                unconfirmed.append(UnconfirmedRight(subject: subject, answer: rows))
            } else {
                learn(subject, isAllowed: false)
            }
            confirmRights()
        case .confirmation(let rights):
            for right in rights {
                guard Rights.confirms(rows, right),
                    Rights.versions(right.answer).map({ catalog.unproven.note(rights: $0) }) ?? true
                else { return rightsAreInDoubt() }
                learn(
                    Rights.coversAllColumns(right.answer) ? right.subject.ofAllColumns : right.subject,
                    isAllowed: true)
            }
        case .poll(let unproven):
            let wasFirst = !hasPolled
            hasPolled = true
            let change = poll.absorb(rows, proving: unproven)
            if change.contains(.sessions) { settingsEra &+= 1 }
            if change == .rights {
                rightsChanged()
            } else if !change.isEmpty, !wasFirst {
                schemaChanged(builtInsToo: change.contains(.builtIns))
            }
        case .pool(let oid):
            guard let relation = catalog.relation(oid) else { return }
            self.rows.schemaArrived(oid, RelationPool.answer(relation, rows))
            pinned.isDue = true
        case .database: originDatabase = DatabaseFacts(rows: rows)
        case .zone(let zone): likeness.zoneAnswered(zone, rows.first?.first.flatMap { $0 }, isOrigin: true)
        case .stale, nil:
            break
        }
    }

    /// Many are confirmed by one question: as many as are asked for one behind the other, up to a bound.
    private func confirmRights() {
        guard !unconfirmed.isEmpty, unconfirmed.count >= Self.unconfirmedMax || !questions.isAboutRightsNext
        else { return }
        questions.askNext(.confirmation(unconfirmed), Rights.confirmation(of: unconfirmed))
        unconfirmed.removeAll()
    }
    private static let unconfirmedMax = 32

    private func rightsAreInDoubt() {
        rightsChanged()
        pollDue()
    }

    private func learn(_ subject: RightsSubject, isAllowed: Bool) {
        defer { wakeExplaining() }
        rightsAsked.remove(subject.ofAllColumns)
        if rightsKnown.count >= CacheStore.pendingMax {
            // Who has asked and not looked yet asks once more.
            statements.forgetRights()
            rightsKnown.removeAll()
        }
        rightsKnown[subject] = isAllowed
        // What else is made of them needs no question.
        if isAllowed { for part in subject.parts { rightsKnown[part] = true } }
    }

    /// Nil where the origin has to be asked.
    private func knownRight(_ subject: RightsSubject) -> Bool? {
        let all = subject.ofAllColumns
        if let isAllowed = rightsKnown[all] ?? rightsKnown[subject] { return isAllowed }
        return all.parts.allSatisfy { rightsKnown[$0] ?? false } ? true : nil
    }

    public func questionFailed() {
        switch questions.answered() {
        case .catalog(let request): catalog.failed(request)
        case .rights(let subject):
            learn(subject, isAllowed: false)
            confirmRights()
        case .confirmation(let rights): for right in rights { learn(right.subject, isAllowed: false) }
        case .poll(let unproven): catalog.unproven.restore(unproven)
        case .pool(let oid): rows.schemaArrived(oid, .refused("its schema could not be read"))
        case .zone(let zone): likeness.zoneAnswered(zone, nil, isOrigin: true)
        case .database, .stale, nil: break
        }
        wakeExplaining()
    }

    // MARK: - Profiles

    /// The row that `profileSQL` brought; nil if it is none.
    func profileReading(_ row: [String?]) -> ProfileReading? {
        Profile.parse(row: row, database: limits.database, declared: declaredOrder.count)
    }

    /// The number of a session's settings, and with it what they make of it.
    func number(of reading: ProfileReading) -> UInt32 {
        knownSettings.number(reading) {
            if let refusal = reading.refusal { return .refused(refusal.forwardReason) }
            guard let profile = profiles.intern(reading.profile), let role = roles.intern(reading.role),
                role < RoleSet.countMax
            else { return .refused(.sessionState) }
            searchPaths[profile] = reading.profile.searchPath
            return .cacheable(profile: profile, role: UInt8(role))
        }
    }

    /// Whether sessions of this database may use the cache at all.
    func isFollowed(database: String) -> Bool { database == limits.database && memo.isOn }
}
