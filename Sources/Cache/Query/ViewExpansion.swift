import PGProtocol

/// A SELECT with its relations found and the queries of its views appended to it.
///
/// A view is a subquery whose columns are called as the view's are. What its query names is named by whoever owns the
/// view [P1].
struct ViewExpansion {
    private(set) var select: ParsedSelect
    /// Of each source, if it is a table or a view.
    private(set) var relations: [Relation?] = []
    /// Who reads what a level names: position in `roles`.
    private(set) var readers: [Int]
    /// Owners of views, by name; nil, the first, for whoever runs the statement.
    private(set) var roles: [String?] = [nil]
    /// How many views a level is inside of.
    private var depths: [Int]

    /// Views inside of one another are forwarded beyond this.
    static let depthMax = 16

    private init(_ select: ParsedSelect) {
        self.select = select
        readers = Array(repeating: 0, count: select.levels.count)
        depths = Array(repeating: 0, count: select.levels.count)
    }

    /// `named`: every relation whose name is in the statement or in one of its views. `allows`: whether the operator
    /// lets a table be cached.
    static func expand(
        _ select: ParsedSelect, named: [RelationName: Relation], allows: (Relation) -> Bool
    ) -> Result<ViewExpansion, ForwardReason> {
        var expansion = ViewExpansion(select)
        var next = 0
        while next < expansion.select.sources.count {
            var relation: Relation?
            if case .relation(let name) = expansion.select.sources[next].content {
                guard let found = named[name] else { return .failure(.unknownRelation) }
                if let reason = found.forwardReason { return .failure(reason) }
                if !expansion.select.sources[next].isOnly {
                    let reason = found.descendants.lazy.compactMap(\.forwardReason).first
                    if let reason { return .failure(reason) }
                }
                relation = found
                if let view = found.view {
                    if let reason = expansion.append(view, for: next) { return .failure(reason) }
                } else if !allows(found) {
                    return .failure(.notAllowed)
                }
            }
            expansion.relations.append(relation)
            next += 1
        }
        return expansion.relations.contains { $0 != nil && $0?.view == nil }
            ? .success(expansion) : .failure(.noRelation)
    }

    private mutating func append(_ view: ViewDefinition, for source: Int) -> ForwardReason? {
        guard case .select(let inner) = view.statement.body else {
            if case .forward(let reason) = view.statement.body { return reason }
            return .notATable
        }
        let depth = depths[select.sources[source].level] + 1
        guard depth <= Self.depthMax, select.levels.count + inner.levels.count <= ParsedSelect.levelsMax,
            select.sources.count + inner.sources.count <= ParsedSelect.sourcesMax
        else { return .tooDeep }
        var role = 0
        if let owner = view.owner {
            role = roles.firstIndex(of: owner) ?? roles.count
            if role == roles.count { roles.append(owner) }
        }
        select.sources[source].content = .derived(select.levels.count)
        readers += Array(repeating: role, count: inner.levels.count)
        depths += Array(repeating: depth, count: inner.levels.count)
        select.append(inner)
        return nil
    }
}

extension ForwardReason: Error {}

extension ParsedSelect {
    /// Adds another's levels and all that is in them behind the own ones.
    fileprivate mutating func append(_ other: ParsedSelect) {
        let levelStart = levels.count
        let joinStart = joins.count
        func moved(_ column: ParsedColumn) -> ParsedColumn { column.moved(to: column.level + levelStart) }
        func moved(_ scope: Scope) -> Scope {
            switch scope {
            case .whole(let level): .whole(level + levelStart)
            case .on(let join): .on(join + joinStart)
            }
        }
        for var level in other.levels {
            level.parent = level.parent.map { $0 + levelStart }
            level.firstArm = level.firstArm.map { $0 + levelStart }
            level.outputs = level.outputs.map { Output(name: $0.name, column: $0.column.map(moved)) }
            levels.append(level)
        }
        for var join in other.joins {
            join.level += levelStart
            joins.append(join)
        }
        for var source in other.sources {
            source.level += levelStart
            source.path = source.path.map { Step(join: $0.join + joinStart, isRightArm: $0.isRightArm) }
            if case .derived(let level) = source.content { source.content = .derived(level + levelStart) }
            sources.append(source)
        }
        conditions += other.conditions.map {
            Condition(scope: moved($0.scope), column: moved($0.column), test: $0.test)
        }
        disjunctions += other.disjunctions.map { disjunction in
            Disjunction(
                scope: moved(disjunction.scope),
                alternatives: disjunction.alternatives.map { $0.map { .init(column: moved($0.column),
                    test: $0.test) } })
        }
        equalities += other.equalities.map {
            Equality(scope: moved($0.scope), left: moved($0.left), right: moved($0.right))
        }
        columns.formUnion(other.columns.map(moved))
        stars.formUnion(other.stars.map(moved))
        casts.formUnion(
            other.casts.map { ParsedCast(type: $0.type, source: $0.source.map(moved)) })
        classes.formUnion(other.classes)
        ordersValues = ordersValues || other.ordersValues
        hasTextConstant = hasTextConstant || other.hasTextConstant
        namesCollation = namesCollation || other.namesCollation
    }
}
