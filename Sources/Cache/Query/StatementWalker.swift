internal import CPgQuery
import PGProtocol

/// One pass over the whole tree of a SELECT or of a statement that changes rows: which names are in
/// it, what it may do, and the first construct that is not cacheable.
///
/// The tree is as deep as the client likes, so nothing here recurses: nodes to visit wait on a
/// stack, which is no larger than the tree itself. Nodes come in the order of the text, except that
/// children follow their parent. The whole tree is always seen, also after the first construct that
/// forwards it, because the effects and the mentions of a forwarded statement count, too.
/// Owned by `StatementParser` for one text; must not outlive the tree.
struct StatementWalker {
    var effect: StatementEffect = []
    /// Settings with a dot in their names that `set_config` is called for, in lower case.
    var customSettings: Set<Swift.String> = []
    var mentions = Mentions()
    /// The first reason met, if any.
    private(set) var reason: ForwardReason?
    /// What is collected for resolution; meaningful while there is no reason.
    var reader = SelectReader()
    /// The level whose text is walked; nil in what is no cacheable SELECT, of which only the names count.
    private(set) var level: Int?

    mutating func forward(_ reason: ForwardReason) {
        if self.reason == nil { self.reason = reason }
    }

    /// Walks a SELECT, level by level.
    mutating func walk(select root: NodePointer) {
        var next = reader.begin(root, parent: nil)
        while let level = next {
            if let reason = reader.read(level) { forward(reason) }
            self.level = level
            walk(reader.nodes[level])
            next = level + 1 < reader.nodes.count ? level + 1 : nil
        }
        level = nil
    }

    /// Walks the tree below `start`, but for what is a level of its own.
    mutating func walk(_ start: NodePointer?) {
        var stack = PgNodeStack()
        defer { pgcache_free(&stack) }
        pgcache_push(&stack, start)
        while let next = pgcache_pop(&stack) {
            if visit(next), !pgcache_push_children(&stack, next) {
                mentions.isIncomplete = true
                forward(.unsupportedExpression)
            }
            // The tree walker of PostgreSQL leaves them out.
            if let cycle = next.cast(to: CommonTableExpr.self, if: T_CommonTableExpr)?.pointee.cycle_clause {
                pgcache_push(&stack, cycle.pointee.cycle_mark_value)
                pgcache_push(&stack, cycle.pointee.cycle_mark_default)
            }
        }
        if stack.failed {
            effect = .anything
            mentions.isIncomplete = true
            forward(.tooDeep)
        }
    }

    /// Takes note of one node; true when its children are to be visited.
    private mutating func visit(_ node: NodePointer) -> Bool {
        switch node.tag {
        case T_ColumnRef: visitColumn(node)
        case T_A_Const: visitConstant(node)
        case T_ParamRef: visitParameter(node)
        case T_A_Expr: visitOperator(node.cast(to: A_Expr.self))
        case T_FuncCall: visitCall(node.cast(to: FuncCall.self))
        case T_TypeCast: visitCast(node.cast(to: TypeCast.self))
        case T_ResTarget: return visitTarget(node.cast(to: ResTarget.self))
        case T_TypeName: visitType(node.cast(to: TypeName.self))
        case T_CollateClause:
            reader.select.namesCollation = true
            visitCollation(node.cast(to: CollateClause.self))
        case T_MinMaxExpr: reader.select.ordersValues = true
        case T_SortBy:
            reader.select.ordersValues = true
            let names = NodeList(node.cast(to: SortBy.self).pointee.useOp).names ?? []
            if names.count > 1 { forward(.userOperator) }
            if let name = names.last { mentions.add(operator: name) }
        case T_A_ArrayExpr, T_A_Indices: reader.select.classes.insert(.rest)
        case T_A_Indirection: visitIndirection(node.cast(to: A_Indirection.self))
        case T_CaseExpr: mentions.add(operator: "=")  // `CASE x WHEN y`
        case T_SQLValueFunction:
            forward(reason(for: node.cast(to: SQLValueFunction.self).pointee.op))
        case T_SelectStmt: return visitSelect(node)
        default: visitClause(node)
        }
        return true
    }

    /// Nodes of which no cacheable statement has any, and those of FROM.
    private mutating func visitClause(_ node: NodePointer) {
        switch node.tag {
        case T_InsertStmt, T_UpdateStmt, T_DeleteStmt, T_MergeStmt:
            effect.insert(.mayWrite)
            forward(.dataModifyingCTE)
        case T_RangeVar: visitRelation(node.cast(to: RangeVar.self))
        case T_JoinExpr:
            let join = node.cast(to: JoinExpr.self).pointee
            if join.isNatural || join.usingClause != nil { mentions.add(operator: "=") }
        case T_SubLink:
            let names = NodeList(node.cast(to: SubLink.self).pointee.operName).names ?? []
            if names.count > 1 { forward(.userOperator) }
            if let name = names.last { mentions.add(operator: name) }
            mentions.add(operator: "=")  // IN
        case T_CommonTableExpr:
            let query = node.cast(to: CommonTableExpr.self).pointee.ctequery
            if let query, query.tag != T_SelectStmt { forward(.dataModifyingCTE) }
        case T_RangeTableSample: forward(.tableSample)
        case T_WindowDef:
            if let level { reader.select.levels[level].hasWindow = true }
        case T_RangeTableFunc, T_XmlExpr, T_XmlSerialize, T_SetToDefault, T_CurrentOfExpr, T_MultiAssignRef:
            forward(.unsupportedExpression)
        default: break
        }
    }

    private func reason(for function: SQLValueFunctionOp) -> ForwardReason {
        switch function {
        case SVFOP_CURRENT_ROLE, SVFOP_CURRENT_USER, SVFOP_USER, SVFOP_SESSION_USER,
            SVFOP_CURRENT_CATALOG, SVFOP_CURRENT_SCHEMA:
            .volatileFunction
        default: .timeDependent
        }
    }

    /// True unless it is a level of its own, which waits for its turn.
    private mutating func visitSelect(_ node: NodePointer) -> Bool {
        if let level, reader.nodes[level] != node, !reader.isInner(node) {
            if reader.level(of: node) != nil { return false }
            if reader.begin(node, parent: level) != nil { return false }
            forward(.tooDeep)
        }
        let clauses = node.cast(to: SelectStmt.self).pointee
        if clauses.intoClause != nil {
            effect.formUnion([.mayWrite, .changesSchema])
            forward(.selectInto)
        }
        if clauses.lockingClause != nil {
            effect.insert(.mayWrite)
            forward(.locking)
        }
        return true
    }

    private mutating func visitRelation(_ relation: UnsafeMutablePointer<RangeVar>) {
        guard let name = treeText(relation.pointee.relname) else { return }
        if let level, reason != .tooDeep, reader.isCommon(relation, in: level) { return }
        mentions.add(relation: RelationName(schema: treeText(relation.pointee.schemaname), name: name))
        // `database.schema.table`
        if relation.pointee.catalogname != nil { forward(.unsupportedExpression) }
    }
}
