internal import CPgQuery
import PGProtocol

/// What the walker learns of each expression: the names in it, and what of it depends on more than rows.
extension StatementWalker {
    mutating func visitColumn(_ node: NodePointer) {
        let fields = NodeList(node.cast(to: ColumnRef.self).pointee.fields)
        guard let column = Self.column(fields) else {
            if fields.count > 3 { mentions.isIncomplete = true }
            guard let star = Self.star(fields) else { return forward(.unsupportedExpression) }
            reader.select.classes.formUnion(.all)  // a row as one value
            return add(star: star)
        }
        if column.relation != nil { mentions.add(field: column.name) }
        guard let level else { return }
        reader.select.columns.insert(column.moved(to: level))
        if reader.select.columns.count > ParsedSelect.namesMax { forward(.tooLong) }
    }

    private mutating func add(star: ParsedColumn) {
        guard let level else { return }
        reader.select.stars.insert(star.moved(to: level))
        if reader.select.stars.count > ParsedSelect.namesMax { forward(.tooLong) }
    }

    /// `(value).name` and the like.
    mutating func visitIndirection(_ expression: UnsafeMutablePointer<A_Indirection>) {
        for step in NodeList(expression.pointee.indirection) {
            guard let name = step?.stringValue else { continue }
            reader.select.classes.formUnion(.all)
            mentions.add(valueField: name)
        }
    }

    /// The column that a ColumnRef's fields name; nil for a star, or with more names than three.
    static func column(_ fields: NodeList) -> ParsedColumn? {
        guard let names = fields.names, let name = names.last, names.count <= 3 else { return nil }
        return ParsedColumn(
            schema: names.count == 3 ? names[0] : nil,
            relation: names.count > 1 ? names[names.count - 2] : nil, name: name)
    }

    /// What a ColumnRef means that ends in a star: `*`, `t.*` or `s.t.*`.
    static func star(_ fields: NodeList) -> ParsedColumn? {
        guard fields.last??.tag == T_A_Star, fields.count <= 3, let names = Array(fields.dropLast()).names else {
            return nil
        }
        return ParsedColumn(schema: names.count == 2 ? names[0] : nil, relation: names.last, name: "*")
    }

    mutating func visitConstant(_ node: NodePointer) {
        guard let bytes = node.stringConstant else { return }
        reader.select.hasTextConstant = true
        if DateTimeText.isTimeDependent(bytes) { forward(.timeDependent) }
    }

    mutating func visitParameter(_ node: NodePointer) {
        let number = Int(node.cast(to: ParamRef.self).pointee.number)
        // Bind counts its parameters in 16 bits. Number 0 is a bare `?` of libpg_query's own dialect.
        guard number >= 1, number <= 65535 else { return forward(.unparsable) }
        reader.select.parameterUses[number, default: 0] += 1
    }

    /// An item of the result, where a star means columns and not a row.
    mutating func visitTarget(_ target: UnsafeMutablePointer<ResTarget>) -> Bool {
        if target.pointee.indirection != nil { forward(.unsupportedExpression) }
        guard let value = target.pointee.val, let column = value.cast(to: ColumnRef.self, if: T_ColumnRef),
            let star = Self.star(NodeList(column.pointee.fields))
        else { return true }
        add(star: star)
        return false
    }

    mutating func visitOperator(_ expression: UnsafeMutablePointer<A_Expr>) {
        let names = NodeList(expression.pointee.name).names ?? []
        if names.count != 1 { forward(.userOperator) }
        // A constant without a type becomes double precision behind a sign.
        if expression.pointee.lexpr == nil, names.last == "+" { reader.select.classes.formUnion(.all) }
        switch expression.pointee.kind {
        case AEXPR_OP_ANY, AEXPR_OP_ALL:
            reader.select.classes.insert(.rest)  // a constant becomes an array
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
        }
    }

    mutating func visitCall(_ call: UnsafeMutablePointer<FuncCall>) {
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
                setting: name == "current_setting" ? setting : nil))
        if let level {
            reader.select.levels[level].calls.insert(name)
            if call.pointee.over != nil { reader.select.levels[level].hasWindow = true }
        }
        if arguments.count == 1 || name == "timezone" {
            let type = ParsedTypeName(
                schema: names.count == 2 ? names[0] : nil, name: name, isArray: false, hasModifier: false)
            add(cast: type, arguments.last ?? nil)
        }
        if call.pointee.func_variadic { reader.select.classes.insert(.rest) }
        if name == "set_config", let setting, setting.utf8.contains(UInt8(ascii: ".")) {
            customSettings.insert(setting)
        } else {
            effect.formUnion(Volatility.effect(ofCalling: name))
        }
    }

    mutating func visitType(_ type: UnsafeMutablePointer<TypeName>) {
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

    mutating func visitCast(_ cast: UnsafeMutablePointer<TypeCast>) {
        guard let typeName = cast.pointee.typeName, let type = Self.typeName(typeName) else {
            return forward(.userType)
        }
        add(cast: type, cast.pointee.arg)
    }

    private mutating func add(cast type: ParsedTypeName, _ value: NodePointer?) {
        guard let level else { return }
        let source = Self.source(value).map { $0.moved(to: level) }
        reader.select.casts.insert(ParsedCast(type: type, source: source))
        if reader.select.casts.count > ParsedSelect.namesMax { forward(.tooLong) }
    }

    /// Looks no further than at what can be the value: what is below a cast or a call is judged when it is visited
    /// itself.
    private static func source(_ node: NodePointer?, depth: Int = 0) -> ValueSource {
        guard let node, depth < 4 else { return .other }
        func oneOf(_ nodes: [NodePointer?]) -> ValueSource {
            nodes.count > 32 ? .other : .oneOf(nodes.map { source($0, depth: depth + 1) })
        }
        switch node.tag {
        case T_CoalesceExpr: return oneOf(Array(NodeList(node.cast(to: CoalesceExpr.self).pointee.args)))
        case T_MinMaxExpr: return oneOf(Array(NodeList(node.cast(to: MinMaxExpr.self).pointee.args)))
        case T_CaseExpr:
            let cases = node.cast(to: CaseExpr.self).pointee
            let results = NodeList(cases.args).map {
                treeNode($0?.cast(to: CaseWhen.self, if: T_CaseWhen)?.pointee.result)
            }
            return oneOf(results + (treeNode(cases.defresult).map { [$0] } ?? []))
        case T_A_Expr:
            let expression = node.cast(to: A_Expr.self).pointee
            if expression.kind == AEXPR_NULLIF { return oneOf([expression.lexpr]) }
            let names = NodeList(expression.name).names ?? []
            let isArithmetic = expression.kind == AEXPR_OP && names.count == 1 && expression.lexpr != nil
                && ["+", "-", "*", "/"].contains(names[0])
            return isArithmetic ? .computed : .other
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
            if name == "min" || name == "max" {
                return oneOf(Array(NodeList(node.cast(to: FuncCall.self).pointee.args)))
            }
            return DateTimeText.functions.contains(name) ? .dateTime : .other
        default: return .other
        }
    }

    mutating func visitCollation(_ clause: UnsafeMutablePointer<CollateClause>) {
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
