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
    private(set) var effect: StatementEffect = []
    /// Settings with a dot in their names that `set_config` is called for, in lower case.
    private(set) var customSettings: Set<Swift.String> = []
    private(set) var mentions = Mentions()
    /// The first reason met, if any.
    private(set) var reason: ForwardReason?
    /// What is collected for resolution; meaningful while there is no reason.
    var select = ParsedSelect()

    /// ColumnRefs that may name an output column.
    private var outputReferences: Set<UnsafeRawPointer> = []
    /// The SELECT whose facts are collected; any other is a subquery.
    private var root: NodePointer?

    mutating func forward(_ reason: ForwardReason) {
        if self.reason == nil { self.reason = reason }
    }

    /// Walks the tree below `start`; `root` is the SELECT that may be cacheable, if there is one.
    mutating func walk(_ start: NodePointer?, root: NodePointer? = nil) {
        self.root = root
        if let root { noteOutputReferences(root.cast(to: SelectStmt.self)) }
        var stack = PgNodeStack()
        defer { pgcache_free(&stack) }
        pgcache_push(&stack, start)
        while let next = pgcache_pop(&stack) {
            if visit(next), !pgcache_push_children(&stack, next) {
                mentions.isIncomplete = true
                forward(.unsupportedExpression)
            }
        }
        if stack.failed {
            effect = .anything
            mentions.isIncomplete = true
            forward(.tooDeep)
        }
        select.mentions = mentions
    }

    /// ORDER BY, GROUP BY and DISTINCT ON accept the name of an output column by itself
    /// (manual, SELECT, "ORDER BY Clause").
    private mutating func noteOutputReferences(_ select: UnsafeMutablePointer<SelectStmt>) {
        func note(_ candidate: NodePointer?) {
            guard let candidate, let column = candidate.cast(to: ColumnRef.self, if: T_ColumnRef),
                NodeList(column.pointee.fields).count == 1
            else { return }
            outputReferences.insert(UnsafeRawPointer(candidate))
        }
        for sort in NodeList(select.pointee.sortClause) {
            note(sort?.cast(to: SortBy.self, if: T_SortBy)?.pointee.node)
        }
        for group in NodeList(select.pointee.groupClause) { note(group) }
        for distinct in NodeList(select.pointee.distinctClause) { note(distinct) }
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
        case T_CollateClause: visitCollation(node.cast(to: CollateClause.self))
        case T_SortBy:
            if node.cast(to: SortBy.self).pointee.useOp != nil {
                mentions.isIncomplete = true
                forward(.userOperator)
            }
        case T_A_ArrayExpr, T_A_Indices: select.classes.insert(.rest)
        case T_A_Indirection:
            for step in NodeList(node.cast(to: A_Indirection.self).pointee.indirection)
            where step?.tag != T_A_Indices {
                // A field of a value can be a function of it, too (manual, 8.16.5).
                mentions.isIncomplete = true
                forward(step?.tag == T_A_Star ? .wholeRow : .unsupportedExpression)
            }
        case T_CaseExpr: mentions.add(operator: "=")  // `CASE x WHEN y`
        case T_SQLValueFunction:
            forward(reason(for: node.cast(to: SQLValueFunction.self).pointee.op))
        default: visitClause(node)
        }
        return true
    }

    /// Nodes of which no cacheable statement has any, and those of FROM.
    private mutating func visitClause(_ node: NodePointer) {
        switch node.tag {
        case T_SelectStmt: visitSelect(node)
        case T_InsertStmt, T_UpdateStmt, T_DeleteStmt, T_MergeStmt:
            effect.insert(.mayWrite)
            forward(.dataModifyingCTE)
        case T_RangeVar: visitRelation(node.cast(to: RangeVar.self))
        case T_JoinExpr:
            let join = node.cast(to: JoinExpr.self).pointee
            if join.isNatural || join.usingClause != nil { mentions.add(operator: "=") }
        case T_SubLink:
            if let names = NodeList(node.cast(to: SubLink.self).pointee.operName).names?.last {
                mentions.add(operator: names)
            }
            mentions.add(operator: "=")  // IN
            forward(.subquery)
        case T_RangeSubselect:
            let isLateral = node.cast(to: RangeSubselect.self).pointee.lateral
            forward(isLateral ? .lateral : .subquery)
        case T_RangeFunction:
            let isLateral = node.cast(to: RangeFunction.self).pointee.lateral
            forward(isLateral ? .lateral : .rangeFunction)
        case T_RangeTableFunc: forward(.rangeFunction)
        case T_RangeTableSample: forward(.tableSample)
        case T_WithClause: forward(withReason(node.cast(to: WithClause.self)))
        case T_WindowDef: forward(.windowFunction)
        case T_GroupingSet, T_GroupingFunc: forward(.groupingSets)
        case T_XmlExpr, T_XmlSerialize, T_SetToDefault, T_CurrentOfExpr, T_MultiAssignRef:
            forward(.unsupportedExpression)
        default: break
        }
    }

    private func withReason(_ with: UnsafeMutablePointer<WithClause>) -> ForwardReason {
        for expression in NodeList(with.pointee.ctes) {
            let query = expression?.cast(to: CommonTableExpr.self, if: T_CommonTableExpr)?
                .pointee.ctequery
            if let query, query.tag != T_SelectStmt { return .dataModifyingCTE }
        }
        return .commonTableExpression
    }

    private func reason(for function: SQLValueFunctionOp) -> ForwardReason {
        switch function {
        case SVFOP_CURRENT_ROLE, SVFOP_CURRENT_USER, SVFOP_USER, SVFOP_SESSION_USER,
            SVFOP_CURRENT_CATALOG, SVFOP_CURRENT_SCHEMA:
            .volatileFunction
        default: .timeDependent
        }
    }

    private mutating func visitSelect(_ node: NodePointer) {
        let clauses = node.cast(to: SelectStmt.self).pointee
        if clauses.intoClause != nil {
            effect.formUnion([.mayWrite, .changesSchema])
            forward(.selectInto)
        }
        if clauses.lockingClause != nil {
            effect.insert(.mayWrite)
            forward(.locking)
        }
        if clauses.withClause.map({ withReason($0) }) == .dataModifyingCTE {
            forward(.dataModifyingCTE)
        }
        if node != root { forward(.subquery) }
    }

    private mutating func visitRelation(_ relation: UnsafeMutablePointer<RangeVar>) {
        guard let name = treeText(relation.pointee.relname) else { return }
        mentions.add(relation: RelationName(schema: treeText(relation.pointee.schemaname), name: name))
        // `database.schema.table`; column aliases would rename what constraints refer to.
        if relation.pointee.catalogname != nil || relation.pointee.alias?.pointee.colnames != nil {
            forward(.unsupportedExpression)
        }
    }
}

// MARK: - Expressions

extension StatementWalker {
    private mutating func visitColumn(_ node: NodePointer) {
        let fields = NodeList(node.cast(to: ColumnRef.self).pointee.fields)
        guard var column = Self.column(fields) else {
            if fields.count > 3 { mentions.isIncomplete = true }
            forward(fields.last??.tag == T_A_Star ? .wholeRow : .unsupportedExpression)
            return
        }
        if column.relation != nil { mentions.add(field: column.name) }
        column.mayBeOutput = outputReferences.contains(UnsafeRawPointer(node))
        select.columns.insert(column)
        if select.columns.count > ParsedSelect.namesMax { forward(.tooLong) }
    }

    /// The column that a ColumnRef's fields name; nil for a star, or with more names than three.
    static func column(_ fields: NodeList) -> ParsedColumn? {
        guard let names = fields.names, let name = names.last, names.count <= 3 else { return nil }
        return ParsedColumn(
            schema: names.count == 3 ? names[0] : nil,
            relation: names.count > 1 ? names[names.count - 2] : nil, name: name)
    }

    private mutating func visitConstant(_ node: NodePointer) {
        if let bytes = node.stringConstant, DateTimeText.isTimeDependent(bytes) {
            forward(.timeDependent)
        }
    }

    private mutating func visitParameter(_ node: NodePointer) {
        let number = Int(node.cast(to: ParamRef.self).pointee.number)
        // Bind counts its parameters in 16 bits. Number 0 is a bare `?` of libpg_query's own dialect.
        guard number >= 1, number <= 65535 else { return forward(.unparsable) }
        select.parameterUses[number, default: 0] += 1
    }

    /// An item of the result. `*` and `t.*` are allowed only here, where they mean columns.
    private mutating func visitTarget(_ target: UnsafeMutablePointer<ResTarget>) -> Bool {
        if target.pointee.indirection != nil { forward(.unsupportedExpression) }
        if let name = treeText(target.pointee.name) { select.outputNames.insert(name) }
        guard let value = target.pointee.val else { return true }
        if let call = value.cast(to: FuncCall.self, if: T_FuncCall) {
            // What an unnamed column is called (manual, SELECT, "SELECT List").
            if let name = NodeList(call.pointee.funcname).names?.last {
                select.outputNames.insert(name)
            }
            return true
        }
        guard let column = value.cast(to: ColumnRef.self, if: T_ColumnRef) else { return true }
        let fields = NodeList(column.pointee.fields)
        guard fields.last??.tag == T_A_Star else { return true }
        guard fields.count <= 3, let names = Array(fields.dropLast()).names else {
            forward(.unsupportedExpression)
            return false
        }
        select.starred.insert(
            ParsedColumn(
                schema: names.count == 2 ? names[0] : nil, relation: names.last, name: "*"))
        return false
    }

    private mutating func visitOperator(_ expression: UnsafeMutablePointer<A_Expr>) {
        let names = NodeList(expression.pointee.name).names ?? []
        if names.count != 1 { forward(.userOperator) }
        // A constant without a type becomes double precision behind a sign.
        if expression.pointee.lexpr == nil, names.last == "+" { select.classes.formUnion(.all) }
        switch expression.pointee.kind {
        case AEXPR_OP_ANY, AEXPR_OP_ALL:
            select.classes.insert(.rest)  // a constant becomes an array
        default: break
        }
        switch expression.pointee.kind {
        case AEXPR_BETWEEN, AEXPR_NOT_BETWEEN, AEXPR_BETWEEN_SYM, AEXPR_NOT_BETWEEN_SYM:
            for name in ["<", "<=", ">", ">="] { mentions.add(operator: name) }
        case AEXPR_DISTINCT, AEXPR_NOT_DISTINCT, AEXPR_NULLIF:
            mentions.add(operator: "=")
        default:
            guard let name = names.last else { return mentions.isIncomplete = true }
            mentions.add(operator: name)
            if name == "@@" || name == "@@@" {
                // Text search configurations and dictionaries are catalogs that anybody may alter.
                forward(.catalogDependent)
            }
        }
    }

    private mutating func visitCall(_ call: UnsafeMutablePointer<FuncCall>) {
        let names = NodeList(call.pointee.funcname).names ?? []
        guard let name = names.last, names.count <= 2 else {
            mentions.isIncomplete = true
            return forward(.unknownFunction)
        }
        let arguments = NodeList(call.pointee.args)
        let setting = (arguments.first ?? nil)?.stringConstant
            .map { HarmlessSettings.folded(Swift.String(decoding: $0, as: UTF8.self)) }
        mentions.add(
            call: ParsedCall(
                schema: names.count == 2 ? names[0] : nil, name: name,
                argumentCount: arguments.count,
                argument: arguments.count == 1 || name == "timezone"
                    ? Self.source(arguments.last ?? nil) : nil,
                setting: name == "current_setting" ? setting : nil))
        if call.pointee.over != nil { forward(.windowFunction) }
        if call.pointee.func_variadic { select.classes.insert(.rest) }
        if name == "set_config", let setting, setting.utf8.contains(UInt8(ascii: ".")) {
            customSettings.insert(setting)
        } else {
            effect.formUnion(Volatility.effect(ofCalling: name))
        }
    }

    private mutating func visitType(_ type: UnsafeMutablePointer<TypeName>) {
        guard let name = Self.typeName(type) else {
            mentions.isIncomplete = true
            return forward(.userType)
        }
        mentions.add(type: name)
    }

    /// nil for what is more than a plain type's name: `%TYPE`, SETOF.
    static func typeName(_ type: UnsafeMutablePointer<TypeName>) -> ParsedTypeName? {
        guard let names = NodeList(type.pointee.names).names, let name = names.last,
            names.count <= 2, !type.pointee.setof, !type.pointee.pct_type
        else { return nil }
        return ParsedTypeName(
            schema: names.count == 2 ? names[0] : nil, name: name,
            isArray: type.pointee.arrayBounds != nil, hasModifier: type.pointee.typmods != nil)
    }

    private mutating func visitCast(_ cast: UnsafeMutablePointer<TypeCast>) {
        guard let typeName = cast.pointee.typeName, let type = Self.typeName(typeName) else {
            return forward(.userType)
        }
        select.casts.insert(ParsedCast(type: type, source: Self.source(cast.pointee.arg)))
        if select.casts.count > ParsedSelect.namesMax { forward(.tooLong) }
    }

    /// Looks at the node alone: what is below a cast or a call is judged when it is visited itself.
    private static func source(_ node: NodePointer?) -> ValueSource {
        guard let node else { return .other }
        switch node.tag {
        case T_A_Const: return .constant
        case T_ParamRef: return .parameter
        case T_ColumnRef:
            let fields = NodeList(node.cast(to: ColumnRef.self).pointee.fields)
            return column(fields).map { .column($0) } ?? .other
        case T_TypeCast:
            guard let name = node.cast(to: TypeCast.self).pointee.typeName,
                let type = typeName(name), type.schema == nil || type.schema == "pg_catalog"
            else { return .other }
            let isMoment = ["date", "timestamp", "timestamptz"].contains(type.name)
            return isMoment && !type.isArray ? .dateTime : .other
        case T_FuncCall:
            let names = NodeList(node.cast(to: FuncCall.self).pointee.funcname).names ?? []
            guard let name = names.last, names.count == 1 || names.first == "pg_catalog" else {
                return .other
            }
            return DateTimeText.functions.contains(name) ? .dateTime : .other
        default: return .other
        }
    }

    private mutating func visitCollation(_ clause: UnsafeMutablePointer<CollateClause>) {
        let names = NodeList(clause.pointee.collname).names ?? []
        let isBuiltIn = names.count == 1 || names.count == 2 && names[0] == "pg_catalog"
        if !isBuiltIn || !["C", "POSIX", "default"].contains(names.last) {
            forward(.unsupportedExpression)
        }
    }
}

extension Array where Element == NodePointer? {
    fileprivate var names: [Swift.String]? {
        var names: [Swift.String] = []
        for element in self {
            guard let name = element?.stringValue else { return nil }
            names.append(name)
        }
        return names
    }
}
