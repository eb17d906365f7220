import PGProtocol

/// What the cache wants to know of the origin's catalog, in order; one question is under way at a time.
///
/// Bounded: `countMax`; a question that finds no room is asked again when it comes up again.
struct Questions {
    enum Subject {
        case catalog(Catalog.Request)
        case rights(RightsSubject)
        /// What these were judged by, once more in a later snapshot.
        case confirmation([UnconfirmedRight])
        case poll(proving: CatalogPoll.Unproven)
        /// What a cache database has to be like.
        case database
        /// What a time zone is like.
        case zone(String)
        /// What a relation's pool would be like.
        case pool(OID)
        /// Asked before the schema changed: whatever is answered may be old.
        case stale
    }

    static let countMax = 10_000

    private var waiting: [(Subject, OriginQuery)] = []
    private var first = 0
    private(set) var current: Subject?

    var isEmpty: Bool { first == waiting.count }

    /// False without room.
    mutating func ask(_ subject: Subject, _ query: OriginQuery) -> Bool {
        guard waiting.count - first < Questions.countMax else { return false }
        waiting.append((subject, query))
        return true
    }

    /// The same before all that wait: for what does not wait without end, and is asked in place of others.
    mutating func askNext(_ subject: Subject, _ query: OriginQuery) {
        if first == 0 {
            waiting.insert((subject, query), at: 0)
        } else {
            first -= 1
            waiting[first] = (subject, query)
        }
    }

    /// Whether the next in line is about rights.
    var isAboutRightsNext: Bool {
        guard first < waiting.count, case .rights = waiting[first].0 else { return false }
        return true
    }

    /// The next question to send; `answered` ends it.
    mutating func next() -> OriginQuery? {
        guard current == nil, first < waiting.count else { return nil }
        let (subject, query) = waiting[first]
        first += 1
        if first == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            first = 0
        }
        current = subject
        return query
    }

    /// The schema has changed: what was asked before says nothing any more. A poll compares with what comes
    /// later, so it may stay; there is nothing left that it could prove.
    mutating func schemaChanged() {
        let nothing = Subject.poll(proving: CatalogPoll.Unproven())
        waiting = waiting[first...].compactMap { if case .poll = $0.0 { (nothing, $0.1) } else { nil } }
        first = 0
        switch current {
        case .catalog, .rights, .confirmation, .pool, .database, .zone: current = .stale
        case .poll: current = nothing
        case .stale, nil: break
        }
    }

    /// Privileges have changed: what was asked of them before says nothing any more.
    mutating func rightsChanged() {
        waiting = waiting[first...].compactMap { subject, query in
            Self.withoutRights(subject).map { ($0, query) }
        }
        first = 0
        current = current.map { Self.withoutRights($0) ?? .stale }
    }

    private static func withoutRights(_ subject: Subject) -> Subject? {
        switch subject {
        case .rights, .confirmation: return nil
        case .catalog, .pool, .database, .zone, .stale: return subject
        case .poll(var unproven):
            unproven.forgetRights()
            return .poll(proving: unproven)
        }
    }

    mutating func answered() -> Subject? {
        defer { current = nil }
        return current
    }
}

/// A yes that counts once a later snapshot shows what it was judged by.
struct UnconfirmedRight {
    var subject: RightsSubject
    var answer: [[String?]]
}

/// A role, and the objects on which it, or the owner of a view, must have rights.
struct RightsSubject: Hashable {
    var role: UInt8
    var needs: Set<RightsNeed>
    /// Relations that are read, on whosever behalf.
    var reads: Set<OID>
    var functions: Set<OID>
    /// The needs name no columns, and mean all.
    var isOfAllColumns = false

    init(role: UInt8, _ query: ResolvedQuery) {
        self.role = role
        needs = Set(query.rights)
        reads = Set(query.uses.map(\.relation))
        functions = Set(query.functions)
    }

    /// The right to whole relations, which is one to each of their columns.
    var ofAllColumns: RightsSubject {
        var all = self
        all.isOfAllColumns = true
        all.needs = Set(needs.map { RightsNeed(role: $0.role, relations: $0.relations, columns: []) })
        return all
    }

    /// Who has each of these has all of it, and the other way round; nothing is said of single columns.
    var parts: [RightsSubject] {
        var parts: [RightsSubject] = []
        func part(_ change: (inout RightsSubject) -> Void) {
            var part = RightsSubject(role: role, needs: [], reads: [], functions: [], isOfAllColumns: true)
            change(&part)
            parts.append(part)
        }
        if isOfAllColumns {
            for need in needs {
                for relation in need.relations {
                    part { $0.needs = [RightsNeed(role: need.role, relations: [relation], columns: [])] }
                }
            }
        }
        for relation in reads { part { $0.reads = [relation] } }
        for function in functions { part { $0.functions = [function] } }
        return parts
    }

    private init(role: UInt8, needs: Set<RightsNeed>, reads: Set<OID>, functions: Set<OID>, isOfAllColumns: Bool) {
        self.role = role
        self.needs = needs
        self.reads = reads
        self.functions = functions
        self.isOfAllColumns = isOfAllColumns
    }
}
