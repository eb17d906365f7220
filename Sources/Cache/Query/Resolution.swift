import Mutation
import PGProtocol

/// What became of a statement whose names were looked up in the catalog.
public enum Resolution {
    /// These relations are not loaded yet; ask again once they are.
    case needs([RelationName])
    /// Not cacheable. `callsUnknownCode`: it may run code that PostgreSQL did not bring, which can
    /// write and can change the session, whatever the statement's own effect is [K3].
    case forward(ForwardReason, callsUnknownCode: Bool)
    case cacheable(ResolvedQuery)
}

extension ParsedStatement {
    /// Looks up every name of the statement, forwarded ones included.
    ///
    /// `declaredTypes`: those of the Parse message, 0 where the client left one open; empty for a
    /// simple query. `customSettings`: those of the application that statements may read [K4]. `allows`: whether
    /// the operator lets a relation be cached.
    /// The caller checks each parameter's bytes with `StatementParser.isTimeDependentText` and,
    /// for bytes above 127, drops the constraints that depend on the parameter unless the
    /// encodings of client, server and change stream are one.
    public func resolved(
        with catalog: some CatalogLookup, declaredTypes: [OID] = [], customSettings: Set<String> = [],
        allows: (Relation) -> Bool
    ) -> Resolution {
        var mentions = mentions
        var relations: [RelationName: Relation] = [:]
        var missing: [RelationName] = []
        for name in mentions.relations {
            switch catalog.relation(name) {
            case .unknown: missing.append(name)
            case .absent: break
            case .unknowable: mentions.isIncomplete = true
            case .found(let relation): relations[name] = relation
            }
        }
        if !missing.isEmpty {
            return .needs(missing.sorted { ($0.schema ?? "", $0.name) < ($1.schema ?? "", $1.name) })
        }
        let doubt = NameDoubt(
            mentions: mentions, catalog: catalog, relations: relations, customSettings: customSettings,
            isWrite: effect.contains(.mayWrite))
        switch body {
        case .forward(let reason):
            return .forward(
                reason, callsUnknownCode: doubt.callsUnknownCode || hidesCode(declaredTypes))
        case .select(let select):
            var resolver = SelectResolver(
                select: select, relations: relations, declaredTypes: declaredTypes)
            if let reason = resolver.findRelations(allows) ?? doubt.reason
                ?? resolver.findColumns() ?? resolver.checkCasts()
                ?? resolver.checkParameters()
            {
                return .forward(
                    reason,
                    callsUnknownCode: doubt.callsUnknownCode || resolver.mayCallField
                        || hidesCode(declaredTypes))
            }
            return .cacheable(resolver.query(functions: doubt.functions, doubt.hasAggregate))
        }
    }
}

/// The functions and operators of a type that PostgreSQL did not bring may be anybody's.
private func hidesCode(_ declaredTypes: [OID]) -> Bool {
    declaredTypes.contains { !$0.isBuiltIn }
}

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
    private(set) var hasAggregate = false
    private let customSettings: Set<String>

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
        functions = oids.sorted()
        for name in mentions.operators where catalog.hasUserOperator(named: name) {
            runsUnknownCode(.userOperator)
        }
        for type in mentions.types where Self.isUserType(type, catalog) {
            runsUnknownCode(.userType)
        }
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

    private mutating func runsUnknownCode(_ reason: ForwardReason) {
        callsUnknownCode = true
        forward(reason)
    }

    private mutating func forward(_ reason: ForwardReason) {
        if self.reason == nil { self.reason = reason }
    }

    private static func isUserType(_ type: ParsedTypeName, _ catalog: some CatalogLookup) -> Bool {
        guard let schema = type.schema else { return catalog.isUserType(named: type.name) }
        return schema != "pg_catalog"
    }

    private mutating func judge(
        _ call: ParsedCall, _ catalog: some CatalogLookup, _ oids: inout Set<OID>
    ) {
        var facts = catalog.functions(named: call.name)
        if let schema = call.schema {
            guard schema == "pg_catalog" else { return runsUnknownCode(.userFunction) }
            facts.removeAll { $0.schema != schema }
        } else if call.argumentCount == 1, catalog.isUserType(named: call.name) {
            return runsUnknownCode(.userType)  // `name(x)` may be a cast
        }
        if facts.isEmpty { return runsUnknownCode(.unknownFunction) }
        if facts.contains(where: { !$0.isBuiltIn || $0.schema != "pg_catalog" }) {
            return runsUnknownCode(.userFunction)
        }
        if Volatility.executingSQL.contains(call.name) { return runsUnknownCode(.volatileFunction) }
        oids.formUnion(facts.map(\.oid))
        if facts.contains(where: \.isAggregate) { hasAggregate = true }
        if let reason = reason(call, facts) { forward(reason) }
    }

    private func reason(_ call: ParsedCall, _ facts: [FunctionFact]) -> ForwardReason? {
        if let setting = call.setting, customSettings.contains(setting) { return nil }  // in the profile
        if Volatility.isOfTime(call) { return .timeDependent }
        if Volatility.isOfCatalogs(call.name) { return .catalogDependent }
        if call.name == "age" { return nil }  // of two moments
        if facts.contains(where: \.isWindow) { return .windowFunction }
        if facts.contains(where: \.returnsSet) { return .rangeFunction }
        let immutable = UInt8(ascii: "i")
        let stable = UInt8(ascii: "s")
        for fact in facts where fact.volatility != immutable {
            if fact.volatility != stable { return .volatileFunction }
            if !Volatility.settingsOnly.contains(call.name) { return .stableFunction }
        }
        return nil
    }
}

extension Relation {
    var isSystemCatalog: Bool {
        schema == "pg_catalog" || schema == "information_schema" || schema == "pg_toast"
    }

    /// Reading it may run expressions that are not in the statement: the query of a view, policies,
    /// rules, the code of a foreign data wrapper.
    var hidesCode: Bool {
        if isSystemCatalog { return false }
        return kind == UInt8(ascii: "v") || kind == UInt8(ascii: "f") || hasRowSecurity || hasRules
    }

    /// Whether a statement that writes to it may run code that is not in the statement.
    var runsCodeWhenWritten: Bool {
        runsCode || kind != UInt8(ascii: "r") || isInherited || hasRules || hasRowSecurity
            || !hasOnlyKnownTypes
    }

    /// Why its changes cannot be followed, or its rows depend on more than its changes [C2, P2].
    var forwardReason: ForwardReason? {
        if isSystemCatalog { return .systemCatalog }
        if persistence == UInt8(ascii: "t") || schema.hasPrefix("pg_temp") { return .temporary }
        switch kind {
        case UInt8(ascii: "r"): break
        case UInt8(ascii: "p"): return .inheritance
        default: return .notATable
        }
        if persistence == UInt8(ascii: "u") { return .unlogged }
        if persistence != UInt8(ascii: "p") { return .notATable }
        if hasRowSecurity, !Mutation.rowSecurityCached.isOn { return .rowSecurity }
        if isInherited { return .inheritance }
        if hasRules { return .rules }
        if !hasOnlyKnownTypes { return .userType }
        if columns.contains(where: { Volatility.catalogTypeOIDs.contains($0.type.value) }) {
            return .catalogDependent
        }
        switch replicaIdentity {
        case UInt8(ascii: "f"): return nil
        case UInt8(ascii: "d"): return primaryKey.isEmpty ? .noReplicaIdentity : nil
        // Without columns its index was dropped, which leaves nothing.
        case UInt8(ascii: "i"): return identityColumns.isEmpty ? .noReplicaIdentity : nil
        default: return .noReplicaIdentity
        }
    }
}
