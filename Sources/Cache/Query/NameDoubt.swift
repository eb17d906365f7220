import PGProtocol

/// Whether the names of a statement all mean what PostgreSQL brought, and what it brought is a
/// function of the rows and of the session's settings alone [C1].
///
/// Overloads are not resolved: a name is as good as the worst function that bears it.
struct NameDoubt {
    private(set) var callsUnknownCode = false
    /// Of the worst name, if any is not good enough to be cached.
    private(set) var reason: ForwardReason?
    /// All functions that the calls could mean, in order.
    private(set) var functions: [OID] = []
    /// Functions by whose call rows of a result are not rows of its FROM: aggregates and those that return sets.
    private(set) var reshaping: Set<String> = []
    /// Functions of users are called whose bodies are judged here, too.
    private(set) var callsBodies = false
    /// What these bodies read.
    private(set) var hidden: [Relation] = []
    /// What they name that is not loaded yet.
    private(set) var missing: [RelationName] = []
    private let customSettings: Set<String>
    private var callsVolatileBody = false
    private var bodies: [OID: FunctionBody] = [:]
    /// Of `bodies`, those that are not judged yet.
    private var unread: [FunctionBody] = []

    /// More functions of users are not looked into.
    private static let bodiesMax = 64

    init(
        mentions: Mentions, catalog: some CatalogLookup, relations: [RelationName: Relation],
        customSettings: Set<String>, isWrite: Bool
    ) {
        self.customSettings = customSettings
        if mentions.isIncomplete { runsUnknownCode(.tooLong) }
        var oids: Set<OID> = []
        // In order, so that the reason does not depend on a hash.
        for call in mentions.calls.sorted(by: { $0.name < $1.name }) {
            judge(call, catalog, &oids)
        }
        // `(value).name` can be a call.
        for field in mentions.valueFields.sorted() where !catalog.functions(named: field).isEmpty {
            judge(ParsedCall(schema: nil, name: field, argumentCount: 1, setting: nil), catalog, &oids)
        }
        judgeNames(mentions, catalog)
        judgeBodies(catalog, &oids)
        functions = oids.sorted()
        for relation in relations.values
        where relation.hidesCode || isWrite && relation.runsCodeWhenWritten
            || !relation.hasOnlyKnownTypes && !mentions.operators.isEmpty
        {
            callsUnknownCode = true
        }
        for field in mentions.fields
        where catalog.functions(named: field).contains(where: { !$0.isBuiltIn }) {
            let isColumn = relations.values.contains { relation in
                relation.columns.contains { $0.name == field }
            }
            if !isColumn { callsUnknownCode = true }
        }
    }

    private mutating func judgeNames(_ mentions: Mentions, _ catalog: some CatalogLookup) {
        for name in mentions.operators.sorted() {
            if catalog.hasUserOperator(named: name) { runsUnknownCode(.userOperator) }
            if !catalog.foreignTextSearch.isDisjoint(with: Volatility.textSearch(name)) { forward(.catalogDependent) }
        }
        for type in mentions.types where Self.isUserType(type, catalog) {
            runsUnknownCode(.userType)
        }
        let readsMoments = mentions.types.contains { DateTimeText.types.contains(String($0.name.drop { $0 == "_" })) }
        if readsMoments, mentions.calls.contains(where: { Volatility.buildsRecords.contains($0.name) }) {
            forward(.timeDependent)
        }
    }

    private mutating func runsUnknownCode(_ reason: ForwardReason) {
        callsUnknownCode = true
        forward(reason)
    }

    private mutating func forward(_ reason: ForwardReason) {
        if self.reason == nil { self.reason = reason }
    }

    private static func isUserType(_ type: ParsedTypeName, _ catalog: some CatalogLookup) -> Bool {
        guard let schema = type.schema else { return catalog.isUserType(named: type.name) }
        if schema == "pg_catalog" { return false }
        return !catalog.isEnum(named: type.name) || catalog.isUserType(named: type.name)
    }

    private mutating func judge(
        _ call: ParsedCall, _ catalog: some CatalogLookup, _ oids: inout Set<OID>
    ) {
        var facts = catalog.functions(named: call.name)
        if let schema = call.schema {
            facts.removeAll { $0.schema != schema }
        } else if call.argumentCount == 1, catalog.isUserType(named: call.name) {
            return runsUnknownCode(.userType)  // `name(x)` may be a cast
        }
        if facts.isEmpty { return runsUnknownCode(.unknownFunction) }
        for fact in facts where !fact.isPostgreSQLs { judge(fact, named: call.name, catalog) }
        if Volatility.executingSQL.contains(call.name) { return runsUnknownCode(.volatileFunction) }
        oids.formUnion(facts.map(\.oid))
        if facts.contains(where: { $0.isAggregate || $0.isWindow || $0.returnsSet }) { reshaping.insert(call.name) }
        facts.removeAll { !$0.isPostgreSQLs }
        if !catalog.foreignTextSearch.isDisjoint(with: Volatility.textSearch(call.name)) { forward(.catalogDependent) }
        if let reason = reason(call, facts) { forward(reason) }
    }

    /// A function of users': as good as its body.
    ///
    /// One that is declared immutable may be computed when a prepared statement is planned, with the rows of that
    /// moment: so it must read none. (And under the settings of that moment: see `ResolvedQuery.callsBodies`.) One that
    /// is declared volatile sees rows that were committed after the statement began; so it must read none, nor call
    /// what does.
    private mutating func judge(_ fact: FunctionFact, named name: String, _ catalog: some CatalogLookup) {
        guard let body = fact.body else { return runsUnknownCode(.userFunction) }
        // What is known by the name alone is known of PostgreSQL's own.
        if DateTimeText.functions.contains(name) { forward(.userFunction) }
        callsBodies = true
        if fact.volatility == UInt8(ascii: "i") {
            let callsUsers = body.mentions.calls.contains { call in
                catalog.functions(named: call.name).contains { !$0.isBuiltIn }
            }
            if callsUsers || !body.mentions.relations.isEmpty { forward(.userFunction) }
        } else if fact.volatility != UInt8(ascii: "s") {
            callsVolatileBody = true
        }
        guard bodies.updateValue(body, forKey: fact.oid) == nil else { return }
        guard bodies.count <= Self.bodiesMax else { return runsUnknownCode(.userFunction) }
        unread.append(body)
    }

    /// Until no body calls one that was not judged.
    private mutating func judgeBodies(_ catalog: some CatalogLookup, _ oids: inout Set<OID>) {
        var names: Set<RelationName> = []
        while let body = unread.popLast() {
            if let reason = body.reason { forward(reason) }
            for call in body.mentions.calls.sorted(by: { $0.name < $1.name }) {
                // Settings of the application would be classes of the statement.
                if call.name == "current_setting" { forward(.stableFunction) }
                judge(call, catalog, &oids)
            }
            // Where `t` has no such column, `t.name` calls a function.
            let fields = body.mentions.fields.union(body.mentions.valueFields)
            for field in fields.sorted() where !catalog.functions(named: field).isEmpty {
                judge(ParsedCall(schema: nil, name: field, argumentCount: 1), catalog, &oids)
            }
            judgeNames(body.mentions, catalog)
            names.formUnion(body.mentions.relations)
        }
        for name in names.sorted(by: { ($0.schema ?? "", $0.name) < ($1.schema ?? "", $1.name) }) {
            switch catalog.relation(name) {
            case .unknown: missing.append(name)
            case .absent: break  // a common table expression; or the call fails
            case .unknowable: runsUnknownCode(.tooLong)
            case .found(let relation): read(relation)
            }
        }
        if callsVolatileBody, !names.isEmpty { forward(.volatileFunction) }
    }

    /// A relation that a body reads: all of it.
    private mutating func read(_ relation: Relation) {
        if relation.kind == UInt8(ascii: "v") || relation.hidesCode || !relation.hasOnlyKnownTypes {
            return runsUnknownCode(.userFunction)
        }
        hidden.append(relation)
        for part in [relation] + relation.descendants {
            if let reason = part.forwardReason { forward(reason) }
            if part.columns.contains(where: { DateTimeText.timeWithZoneTypes.contains($0.type) }) {
                forward(.timeDependent)
            }
        }
    }

    private func reason(_ call: ParsedCall, _ facts: [FunctionFact]) -> ForwardReason? {
        if let setting = call.setting, customSettings.contains(setting) { return nil }  // in the profile
        if Volatility.isOfTime(call) { return .timeDependent }
        if Volatility.isOfCatalogs(call.name) { return .catalogDependent }
        if call.name == "age" { return nil }  // of two moments
        let immutable = UInt8(ascii: "i")
        let stable = UInt8(ascii: "s")
        for fact in facts where fact.volatility != immutable {
            if fact.volatility != stable { return .volatileFunction }
            if !Volatility.settingsOnly.contains(call.name) { return .stableFunction }
        }
        return nil
    }
}

extension ResolvedQuery {
    /// With what the functions that it calls read beside it, as whoever calls them.
    func with(hidden: [Relation]) -> ResolvedQuery {
        var uses = uses
        var columns: Set<ColumnName> = []
        for relation in hidden {
            columns.formUnion(relation.columns.map { ColumnName(relation: relation.oid, number: $0.number) })
            for part in [relation] + relation.descendants where part.kind == UInt8(ascii: "r") {
                uses.append(RelationUse(relation: part.oid, constraints: []))
            }
        }
        let need = RightsNeed(role: nil, relations: Set(hidden.map(\.oid)), columns: columns)
        return ResolvedQuery(
            uses: uses, functions: functions, isRowForRow: isRowForRow && hidden.isEmpty,
            parameterCount: parameterCount, columns: self.columns.union(columns),
            rights: hidden.isEmpty ? rights : rights + [need], classes: classes.union([.all, .path]),
            callsBodies: true)
    }
}

extension FunctionFact {
    /// PostgreSQL brought it, and it is where the grammar and everybody looks for it first.
    fileprivate var isPostgreSQLs: Bool { isBuiltIn && schema == "pg_catalog" }
}
