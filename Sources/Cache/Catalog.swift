import PGProtocol

/// What pgcache knows of the origin's catalog.
///
/// Functions, and the names of operators and types that users made, are loaded whole before
/// anything is resolved; relations are loaded when a statement first names one. A relation is kept
/// under each pair (schema, name) that was asked for, and that there is none is kept as well: a
/// search path is walked pair by pair, and a name resolves only when every schema before the one
/// that holds it is known to lack it, so a relation that shadows another one cannot be overlooked.
///
/// A pure value: it says what to ask (`bootstrapRequests`, `request`) and takes the rows
/// (`absorb`). Every request carries the generation it belongs to. `forgetAll` begins a new one,
/// and an answer that was asked for before is dropped, since it may describe what is no longer.
///
/// Invariants: `relations` holds exactly the OIDs that a `.found` entry of `names` refers to, and those below them;
/// nothing is looked up unless `isReady`. Owner: the cache store. Bounds: `namesMax` pairs,
/// `relationsMax` relations; functions, operators and types are as many as the origin has.
public struct Catalog: Sendable {
    /// What an answer will describe.
    public enum Subject: Equatable, Sendable {
        case originFacts
        case functions(builtIn: Bool)
        case userNames
        case relations([QualifiedName])
    }

    /// A query for the control connection; hand it back with its rows.
    public struct Request: Equatable, Sendable {
        public let subject: Subject
        public let query: OriginQuery
        let generation: UInt64
    }

    public struct QualifiedName: Hashable, Sendable {
        public var schema: String
        public var name: String
    }

    /// What the origin is, and who pgcache is there.
    public struct OriginFacts: Equatable, Sendable {
        public var databaseOID: OID
        public var database: String
        /// server_version_num, e.g. 150018.
        public var serverVersion: Int32
        public var walLevel: String
        public var serverEncoding: String
        /// A standby: it has no logical decoding before PostgreSQL 16.
        public var isInRecovery: Bool
        /// pgcache's own role and its attributes.
        public var role: String
        public var isSuperuser: Bool
        public var hasReplication: Bool
        public var bypassesRowSecurity: Bool
    }

    private enum Entry: Sendable {
        case loading
        case absent
        /// There is one, but no room for it. Unlike `absent` it ends the walk along a search path:
        /// what a later schema holds under this name is not what the statement means.
        case excess
        case found(OID)
    }

    /// What became of an answer.
    public enum Absorption: Equatable, Sendable {
        case used
        /// Asked before the catalog was emptied; ask again.
        case stale
        /// Not what the query asks for; what was asked is unknown again.
        case unusable
        /// It was used, but describes a relation otherwise than before: the schema has changed and
        /// nobody has noticed yet. The caller empties the cache and calls `forgetAll`.
        case contradictory
    }

    public let relationsMax: Int
    public let namesMax: Int
    /// nil until asked.
    public private(set) var originFacts: OriginFacts?
    /// Why no statement can be resolved on this origin although all is loaded: a cast or a
    /// privilege of PostgreSQL's own objects was changed so that names mean more than resolution
    /// sees.
    public private(set) var doubt: String?

    private var generation: UInt64 = 0
    private var builtInFunctions: [String: [FunctionFact]]?
    private var userFunctions: [String: [FunctionFact]]?
    private var userOperators: Set<String>?
    private var userTypes: Set<String> = []
    private var enums: Set<String> = []
    fileprivate private(set) var foreignTextSearch: ForeignTextSearch = []
    /// What settings begin with that a loaded library, or one that may be loaded, knows; `*` for all.
    private var settingPrefixes: Set<String> = []
    private var names: [QualifiedName: Entry] = [:]
    /// How many entries of `names` are `.absent`: the only ones that can be given up for others.
    private var absentCount = 0
    private var relations: [OID: Relation] = [:]
    /// What was told since the last poll, of relations and of rights to them.
    var unproven = CatalogPoll.Unproven()

    public init(relationsMax: Int = 10_000, namesMax: Int = 50_000) {
        precondition(relationsMax > 0 && namesMax > 0, "a catalog needs room")
        self.relationsMax = relationsMax
        self.namesMax = namesMax
    }

    // MARK: Asking

    /// Everything but relations is loaded.
    public var isReady: Bool {
        originFacts != nil && builtInFunctions != nil && userFunctions != nil && userOperators != nil
    }

    /// What is still to be asked before anything can be resolved, in this order; empty when
    /// `isReady`. Does not remember what is being asked: the caller asks each once and waits.
    public func bootstrapRequests() -> [Request] {
        var requests: [Request] = []
        func ask(_ subject: Subject, _ sql: String) {
            requests.append(Request(subject: subject, query: OriginQuery(sql), generation: generation))
        }
        if originFacts == nil { ask(.originFacts, CatalogQueries.originFacts) }
        if builtInFunctions == nil {
            ask(.functions(builtIn: true), CatalogQueries.functions(builtIn: true))
        }
        if userFunctions == nil {
            ask(.functions(builtIn: false), CatalogQueries.functions(builtIn: false))
        }
        if userOperators == nil { ask(.userNames, CatalogQueries.userNames) }
        return requests
    }

    /// The query for those of `wanted` that are neither known nor being loaded; nil when there are
    /// none, and for more names than one statement should take room for.
    public mutating func request(_ wanted: [RelationName], searchPath: [String]) -> Request? {
        let pairsAtMost = wanted.reduce(0) { $0 + ($1.schema == nil ? searchPath.count : 1) }
        guard pairsAtMost <= namesMax / 2 else { return nil }
        var pairs: [QualifiedName] = []
        for relation in wanted {
            for schema in relation.schema.map({ [$0] }) ?? searchPath {
                let pair = QualifiedName(schema: schema, name: relation.name)
                guard names[pair] == nil else { continue }
                if names.count >= namesMax { forgetAbsent() }
                guard names.count < namesMax else { break }
                names[pair] = .loading
                pairs.append(pair)
            }
        }
        guard !pairs.isEmpty else { return nil }
        let query = OriginQuery(
            CatalogQueries.relations,
            [SQLText.array(pairs.map(\.schema)), SQLText.array(pairs.map(\.name))])
        return Request(subject: .relations(pairs), query: query, generation: generation)
    }

    // MARK: Taking answers

    /// Takes the rows that answer `request`.
    public mutating func absorb(_ rows: [[String?]], answering request: Request) -> Absorption {
        guard request.generation == generation else { return .stale }
        switch request.subject {
        case .originFacts:
            originFacts = rows.first.flatMap(OriginFacts.init(row:))
            return originFacts == nil ? .unusable : .used
        case .functions(let builtIn):
            guard let functions = Self.functions(rows) else { return .unusable }
            if builtIn { builtInFunctions = functions } else { userFunctions = functions }
            return .used
        case .userNames:
            return absorbUserNames(rows) ? .used : .unusable
        case .relations(let pairs):
            let absorption = absorbRelations(rows)
            for pair in pairs {
                if case .loading = names[pair] { names[pair] = nil }
            }
            return absorption
        }
    }

    /// The query failed or its connection went away: what it asked for is unknown again.
    public mutating func failed(_ request: Request) {
        guard request.generation == generation, case .relations(let pairs) = request.subject else { return }
        for pair in pairs {
            if case .loading = names[pair] { names[pair] = nil }
        }
    }

    /// The schema changed, or may have: nothing that users can change is known any more [D1].
    /// - Parameter builtInsToo: also what only a superuser could have changed, and the origin's own facts;
    ///   for a new connection, or when the poll says so.
    public mutating func forgetAll(builtInsToo: Bool = false) {
        generation &+= 1
        names.removeAll(keepingCapacity: true)
        absentCount = 0
        relations.removeAll(keepingCapacity: true)
        unproven = CatalogPoll.Unproven()
        userFunctions = nil
        userOperators = nil
        userTypes = []
        enums = []
        foreignTextSearch = []
        settingPrefixes = []
        doubt = nil
        if builtInsToo {
            builtInFunctions = nil
            originFacts = nil
        }
    }

    // MARK: Answering

    /// The catalog as a session with this search path sees it.
    /// - Parameter searchPath: schemas in order of search, as `Profile.searchPath` has them.
    /// - Returns: nil while not ready or in doubt, and for a path that does not begin with pg_catalog or
    ///   holds a temporary schema: there a name could mean another object than resolution takes it for.
    public func view(searchPath: [String]) -> CatalogView? {
        guard isReady, doubt == nil, Profile.isPlain(searchPath: searchPath) else { return nil }
        return CatalogView(catalog: self, searchPath: searchPath)
    }

    /// A loaded relation by its OID.
    public func relation(_ oid: OID) -> Relation? { relations[oid] }
    func knows(_ oid: OID) -> Bool { relations.index(forKey: oid) != nil }

    /// Whether this setting is the application's alone: its name has a dot, and what is before it is no extension's and
    /// no library's, which could act on it [K4].
    func isOfApplication(setting name: String) -> Bool {
        guard isReady, !settingPrefixes.contains("*"), Profile.isCustomName(name) else { return false }
        return !settingPrefixes.contains(String(name.prefix { $0 != "." }))
    }

    /// Number of loaded relations, and of pairs (schema, name) that are known or being loaded.
    public var relationCount: Int { relations.count }
    public var nameCount: Int { names.count }

    fileprivate func lookup(_ schemas: [String], _ name: String) -> RelationLookup {
        for schema in schemas {
            switch names[QualifiedName(schema: schema, name: name)] {
            case .found(let oid):
                // An entry without its relation cannot be; if it were, asking again would be right.
                return relations[oid].map { .found($0) } ?? .unknown
            case .absent: continue
            case .loading: return .unknown
            case .excess: return .unknowable
            // No room to learn more.
            case nil: return names.count >= namesMax && absentCount == 0 ? .unknowable : .unknown
            }
        }
        return .absent
    }

    fileprivate func functions(_ name: String) -> [FunctionFact] {
        (builtInFunctions?[name] ?? []) + (userFunctions?[name] ?? [])
    }
    fileprivate func hasOperator(_ name: String) -> Bool { userOperators?.contains(name) ?? true }
    fileprivate func hasType(_ name: String) -> Bool { userTypes.contains(name) }
    fileprivate func hasEnum(_ name: String) -> Bool { enums.contains(name) }

    // MARK: Rows

    /// Pairs known to name nothing are the only ones that can be given up: they are asked for
    /// again.
    private mutating func forgetAbsent() {
        guard absentCount > 0 else { return }
        names = names.filter { if case .absent = $0.value { false } else { true } }
        absentCount = 0
    }

    private static func functions(_ rows: [[String?]]) -> [String: [FunctionFact]]? {
        var functions: [String: [FunctionFact]] = [:]
        for row in rows {
            guard row.count == 6 || row.count == 9, let name = row[0], let oid = row[1].flatMap({ OID($0) }),
                let schema = row[2], let volatility = SQLText.character(row[3]),
                let kind = row[4], let returnsSet = SQLText.boolean(row[5])
            else { return nil }
            var fact = FunctionFact(
                oid: oid, schema: schema, volatility: volatility, isAggregate: kind == "a",
                isWindow: kind == "w", returnsSet: returnsSet)
            if row.count == 9, let source = row[6] {
                guard let isDefinition = SQLText.boolean(row[7]),
                    let types = row[8]?.split(separator: " ").compactMap({ OID(String($0)) })
                else { return nil }
                fact.body = FunctionBody(source: source, isDefinition: isDefinition, types: types)
            }
            functions[name, default: []].append(fact)
        }
        return functions
    }

    private mutating func absorbUserNames(_ rows: [[String?]]) -> Bool {
        var operators: Set<String> = []
        var types: Set<String> = []
        var enums: Set<String> = []
        var prefixes: Set<String> = []
        var textSearch: ForeignTextSearch = []
        var found: String?
        for row in rows {
            guard row.count == 2, let tag = row[0], let name = row[1] else { return false }
            switch tag {
            case "o": operators.insert(name)
            case "t": types.insert(name)
            case "e": enums.insert(name)
            case "c": found = "a cast of \(name) was added to PostgreSQL's own types"
            case "p": prefixes.insert(name.lowercased())
            case "s": textSearch.insert(.configurations)
            case "d": textSearch.insert(.dictionaries)
            case "l": prefixes.formUnion(SQLText.libraries(name))
            case "x": found = "the right to execute \(name), behind an operator or cast, was restricted"
            default: return false
            }
        }
        userOperators = operators
        userTypes = types
        self.enums = enums
        settingPrefixes = prefixes
        foreignTextSearch = textSearch
        doubt = found
        return true
    }

    private mutating func absorbRelations(_ rows: [[String?]]) -> Absorption {
        var isContradictory = false
        var start = 0
        while start < rows.count {
            guard rows[start].count == Relation.rowCount, let schema = rows[start][0], let name = rows[start][1]
            else { return .unusable }
            var end = start + 1
            while end < rows.count, rows[end].count == Relation.rowCount, rows[end][0] == schema,
                rows[end][1] == name
            {
                end += 1
            }
            let pair = QualifiedName(schema: schema, name: name)
            // Only what is being asked for: a row cannot bring more than the request.
            guard case .loading = names[pair] else { return .unusable }
            if rows[start][2] == nil {
                names[pair] = .absent
                absentCount += 1
            } else {
                guard let relation = Relation(tree: rows[start..<end]), relation.schema == schema,
                    relation.name == name
                else { return .unusable }
                switch insert(relation) {
                case .none: names[pair] = .excess
                case .some(let agrees):
                    names[pair] = .found(relation.oid)
                    if !agrees { isContradictory = true }
                }
            }
            start = end
        }
        return isContradictory ? .contradictory : .used
    }

    /// Keeps a relation and all below it; whether that agrees with what was known of each. Nil without room.
    private mutating func insert(_ relation: Relation) -> Bool? {
        let all = [relation] + relation.descendants
        guard relations.count + all.count(where: { relations[$0.oid] == nil }) <= relationsMax else { return nil }
        var agrees = true
        for new in all {
            guard let known = relations[new.oid] else {
                relations[new.oid] = new
                unproven.note(new)
                continue
            }
            // What is below it is known of a relation that was asked for by its own name only.
            if known.alone != new.alone { agrees = false }
            if !new.descendants.isEmpty || known.alone != new.alone { relations[new.oid] = new }
        }
        return agrees
    }
}

/// The catalog through one session's search path.
public struct CatalogView: CatalogLookup, Sendable {
    let catalog: Catalog
    let searchPath: [String]

    public func relation(_ name: RelationName) -> RelationLookup {
        catalog.lookup(name.schema.map { [$0] } ?? searchPath, name.name)
    }
    public func functions(named name: String) -> [FunctionFact] { catalog.functions(name) }
    public func hasUserOperator(named name: String) -> Bool { catalog.hasOperator(name) }
    public func isUserType(named name: String) -> Bool { catalog.hasType(name) }
    public func isEnum(named name: String) -> Bool { catalog.hasEnum(name) }
    public var foreignTextSearch: ForeignTextSearch { catalog.foreignTextSearch }
}

extension Catalog.OriginFacts {
    /// From the row of `CatalogQueries.originFacts`.
    init?(row: [String?]) {
        guard row.count == 10, let databaseOID = row[0].flatMap({ OID($0) }), let database = row[1],
            let serverVersion = row[2].flatMap({ Int32($0) }), let walLevel = row[3],
            let serverEncoding = row[4], let isInRecovery = SQLText.boolean(row[5]), let role = row[6],
            let isSuperuser = SQLText.boolean(row[7]), let hasReplication = SQLText.boolean(row[8]),
            let bypassesRowSecurity = SQLText.boolean(row[9])
        else { return nil }
        self.init(
            databaseOID: databaseOID, database: database, serverVersion: serverVersion,
            walLevel: walLevel, serverEncoding: serverEncoding, isInRecovery: isInRecovery, role: role,
            isSuperuser: isSuperuser, hasReplication: hasReplication,
            bypassesRowSecurity: bypassesRowSecurity)
    }
}

extension Column {
    /// From columns 10 to 15, and the 20th, of a row of `CatalogQueries.relations`.
    init?(row: [String?]) {
        guard let number = row[9].flatMap({ Int16($0) }), let name = row[10],
            let type = row[11].flatMap({ OID($0) }), let isGenerated = SQLText.boolean(row[12]),
            let isNotNull = SQLText.boolean(row[13]), let isDeterministic = SQLText.boolean(row[14]),
            let baseType = row[19].flatMap({ OID($0) })
        else { return nil }
        self.init(
            name: name, number: number, type: type, baseType: baseType,
            kind: ValueKind(type: type, isDeterministic: isDeterministic), isGenerated: isGenerated,
            isNotNull: isNotNull)
    }
}

extension ValueKind {
    /// The kind of a type of PostgreSQL's own (pg_type.dat); a domain is opaque, whatever it is
    /// over.
    init(type: OID, isDeterministic: Bool) {
        self =
            switch type.value {
            case 20, 21, 23, 26: .integer
            case 25, 1043: isDeterministic ? .text : .opaque
            case 2950: .uuid
            case 16: .boolean
            case 1082: .date
            case 1114: .timestamp
            case 1184: .timestampWithZone
            case 1700: .numeric
            default: .opaque
            }
    }
}
