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
        var reading = Reading()
        if let missing = reading.find(mentions, catalog) { return .needs(missing) }
        let relations = reading.relations
        var doubts = [
            NameDoubt(
                mentions: reading.mentions[0], catalog: catalog, relations: relations,
                customSettings: customSettings, isWrite: effect.contains(.mayWrite))
        ]
        doubts += reading.mentions.dropFirst().map {
            NameDoubt(
                mentions: $0, catalog: catalog, relations: relations, customSettings: customSettings,
                isWrite: false)
        }
        if let missing = Self.missing(doubts) { return .needs(missing) }
        func forward(_ reason: ForwardReason, _ mayCallField: Bool = false) -> Resolution {
            .forward(
                reason,
                callsUnknownCode: doubts.contains { $0.callsUnknownCode } || mayCallField || hidesCode(declaredTypes))
        }
        guard case .select(let select) = body else {
            if case .forward(let reason) = body { return forward(reason) }
            return forward(.notSelect)
        }
        let expansion: ViewExpansion
        switch ViewExpansion.expand(select, named: relations, allows: allows) {
        case .failure(let reason): return forward(reason)
        case .success(let expanded): expansion = expanded
        }
        var resolver = SelectResolver(
            expansion, mentions: reading.mentions, declaredTypes: declaredTypes,
            reshaping: doubts.reduce(into: []) { $0.formUnion($1.reshaping) })
        let unresolved = resolver.findColumns { !catalog.functions(named: $0).isEmpty }
        var fields = Mentions()
        for field in resolver.calledFields { fields.add(valueField: field) }
        doubts.append(
            NameDoubt(
                mentions: fields, catalog: catalog, relations: [:], customSettings: customSettings, isWrite: false))
        if let missing = Self.missing(doubts) { return .needs(missing) }
        let hidden = doubts.flatMap(\.hidden)
        let reason = doubts.lazy.compactMap(\.reason).first ?? unresolved ?? resolver.checkCasts()
            ?? resolver.checkParameters()
        if let reason { return forward(reason, resolver.mayCallField) }
        let query = resolver.query(
            functions: Set(doubts.flatMap(\.functions)).sorted(),
            isReshaped: doubts.contains { !$0.reshaping.isEmpty })
        switch query {
        case .failure(let reason): return forward(reason)
        case .success(let query):
            guard doubts.contains(where: \.callsBodies) else { return .cacheable(query) }
            if hidden.contains(where: { !allows($0) }) { return forward(.notAllowed) }
            return .cacheable(query.with(hidden: hidden))
        }
    }

    /// What functions of users read and is not loaded yet, in order; nil when there is nothing.
    private static func missing(_ doubts: [NameDoubt]) -> [RelationName]? {
        let missing = Set(doubts.flatMap(\.missing))
        return missing.isEmpty ? nil : missing.sorted { ($0.schema ?? "", $0.name) < ($1.schema ?? "", $1.name) }
    }
}

/// The relations that a statement names, itself or through its views.
private struct Reading {
    var relations: [RelationName: Relation] = [:]
    /// Of the statement, and of each view.
    var mentions: [Mentions] = []

    /// More views than this are as good as unknown.
    private static let viewsMax = 64

    /// The names that are not loaded yet, in order; nil when there are none.
    mutating func find(_ own: Mentions, _ catalog: some CatalogLookup) -> [RelationName]? {
        var missing: [RelationName] = []
        var seen: Set<OID> = []
        var waiting = [own]
        while var next = waiting.popLast() {
            for name in next.relations where relations[name] == nil {
                switch catalog.relation(name) {
                case .unknown: missing.append(name)
                case .absent: break
                case .unknowable: next.isIncomplete = true
                case .found(let relation):
                    relations[name] = relation
                    guard let view = relation.view, seen.insert(relation.oid).inserted else { continue }
                    if seen.count > Self.viewsMax {
                        next.isIncomplete = true
                    } else {
                        waiting.append(view.statement.mentions)
                    }
                }
            }
            mentions.append(next)
        }
        if missing.isEmpty { return nil }
        return Set(missing).sorted { ($0.schema ?? "", $0.name) < ($1.schema ?? "", $1.name) }
    }
}

/// The functions and operators of a type that PostgreSQL did not bring may be anybody's.
private func hidesCode(_ declaredTypes: [OID]) -> Bool {
    declaredTypes.contains { !$0.isBuiltIn }
}

extension Relation {
    var isSystemCatalog: Bool {
        schema == "pg_catalog" || schema == "information_schema" || schema == "pg_toast"
    }

    /// Reading it may run expressions that are not in the statement: the query of a view that cannot be read,
    /// policies, rules, the code of a foreign data wrapper.
    var hidesCode: Bool {
        if isSystemCatalog { return false }
        return kind == UInt8(ascii: "v") && view == nil || kind == UInt8(ascii: "f") || hasRowSecurity || hasRules
            || descendants.contains { $0.hidesCode } || !hasAllDescendants
    }

    /// Whether a statement that writes to it may run code that is not in the statement.
    var runsCodeWhenWritten: Bool {
        // A child checks what its parents' keys and constraints say.
        if isInherited { return true }
        return writesRunCode || !hasAllDescendants || descendants.contains { $0.writesRunCode }
    }

    private var writesRunCode: Bool {
        runsCode || kind != UInt8(ascii: "r") && kind != UInt8(ascii: "p") || hasRules || hasRowSecurity
            || !hasOnlyKnownTypes
    }

    /// Why its changes cannot be followed, or its rows depend on more than its changes [C2, P2]. Of itself: what is
    /// below it has its own reasons, and what a view reads.
    var forwardReason: ForwardReason? {
        if isSystemCatalog { return .systemCatalog }
        if persistence == UInt8(ascii: "t") || schema.hasPrefix("pg_temp") { return .temporary }
        switch kind {
        case UInt8(ascii: "v"): return view == nil ? .notATable : nil
        case UInt8(ascii: "r"), UInt8(ascii: "p"): break
        default: return .notATable
        }
        if persistence == UInt8(ascii: "u") { return .unlogged }
        if persistence != UInt8(ascii: "p") { return .notATable }
        if hasRowSecurity, !Mutation.rowSecurityCached.isOn { return .rowSecurity }
        if !hasAllDescendants { return .inheritance }
        if hasRules { return .rules }
        if !hasOnlyKnownTypes { return .userType }
        if columns.contains(where: { Volatility.catalogTypeOIDs.contains($0.type.value) }) {
            return .catalogDependent
        }
        // It has no rows of its own.
        if kind == UInt8(ascii: "p") { return nil }
        switch replicaIdentity {
        case UInt8(ascii: "f"): return nil
        case UInt8(ascii: "d"): return primaryKey.isEmpty ? .noReplicaIdentity : nil
        // Without columns its index was dropped, which leaves nothing.
        case UInt8(ascii: "i"): return identityColumns.isEmpty ? .noReplicaIdentity : nil
        default: return .noReplicaIdentity
        }
    }
}
