internal import CPgQuery
import PGProtocol

/// The structure of a SELECT: its clauses, the joins of FROM, and the conjuncts of WHERE and ON that
/// could restrict one column [I1].
///
/// Reads only the top of each expression; what is inside of them is the walker's. Nested structures
/// (joins, AND, OR) are taken apart with a list of what is left, not by recursion, up to the limits
/// of `ParsedSelect`. Leaving a conjunct out is always safe.
struct SelectReader {
    var select = ParsedSelect()

    /// The reason why the clauses of a SELECT are not cacheable, most telling first.
    static func reason(_ clauses: UnsafeMutablePointer<SelectStmt>) -> ForwardReason? {
        let clauses = clauses.pointee
        // The walker tells a data-modifying CTE from another.
        if clauses.withClause != nil { return nil }
        if clauses.op != SETOP_NONE { return .setOperation }
        if clauses.intoClause != nil { return .selectInto }
        if clauses.lockingClause != nil { return .locking }
        if clauses.valuesLists != nil || clauses.fromClause == nil { return .noRelation }
        if clauses.windowClause != nil { return .windowFunction }
        if clauses.groupDistinct { return .groupingSets }
        return nil
    }

    /// Adds what the clauses say; returns the reason if FROM is not cacheable.
    mutating func read(_ clauses: UnsafeMutablePointer<SelectStmt>) -> ForwardReason? {
        let statement = clauses.pointee
        select.hasLimit = statement.limitCount != nil || statement.limitOffset != nil
        select.hasGrouping = statement.groupClause != nil || statement.havingClause != nil
            || statement.distinctClause != nil
        if let reason = readFrom(NodeList(statement.fromClause)) { return reason }
        readConjuncts(statement.whereClause, .whole)
        return nil
    }

    private mutating func readFrom(_ items: NodeList) -> ForwardReason? {
        var waiting = items.reversed().map { (node: $0, path: [ParsedSelect.Step]()) }
        if waiting.count > ParsedSelect.sourcesMax { return .tooDeep }
        while let (item, path) = waiting.popLast() {
            guard let item, path.count < ParsedSelect.sourcesMax,
                select.sources.count < ParsedSelect.sourcesMax
            else { return .tooDeep }
            if let relation = item.cast(to: RangeVar.self, if: T_RangeVar) {
                guard let name = treeText(relation.pointee.relname) else {
                    return .unsupportedExpression
                }
                let schema = treeText(relation.pointee.schemaname)
                select.sources.append(
                    ParsedSelect.Source(
                        name: RelationName(schema: schema, name: name),
                        alias: treeText(relation.pointee.alias?.pointee.aliasname), path: path))
                continue
            }
            // What else can be in FROM has its reason from the walker.
            guard let join = item.cast(to: JoinExpr.self, if: T_JoinExpr)?.pointee else { continue }
            guard join.jointype == JOIN_INNER || join.jointype == JOIN_LEFT,
                join.alias == nil, join.join_using_alias == nil,
                let using = NodeList(join.usingClause).names
            else { return .joinKind }
            let number = select.joins.count
            select.joins.append(join.jointype == JOIN_LEFT ? .left : .inner)
            select.usingColumns.formUnion(using)
            if join.isNatural { select.hasNaturalJoin = true }
            readConjuncts(join.quals, .on(number))
            waiting.append((join.rarg, path + [.init(join: number, isRightArm: true)]))
            waiting.append((join.larg, path + [.init(join: number, isRightArm: false)]))
        }
        return nil
    }

    private mutating func readConjuncts(_ condition: NodePointer?, _ scope: ParsedSelect.Scope) {
        var waiting = [condition]
        while let next = waiting.popLast() {
            guard let next, select.conditions.count < ParsedSelect.conditionsMax else { continue }
            if let both = next.cast(to: BoolExpr.self, if: T_BoolExpr),
                both.pointee.boolop == AND_EXPR
            {
                waiting.append(contentsOf: NodeList(both.pointee.args).reversed())
            } else if let (column, test) = Self.test(next) {
                select.conditions.append(.init(scope: scope, column: column, test: test))
            } else if let (left, right) = Self.equality(next),
                select.equalities.count < ParsedSelect.conditionsMax
            {
                select.equalities.append(.init(scope: scope, left: left, right: right))
            }
        }
    }
}

// MARK: - One conjunct

extension SelectReader {
    private typealias ColumnTest = (column: ParsedColumn, test: ParsedSelect.Test)

    private static func test(_ node: NodePointer) -> ColumnTest? {
        switch node.tag {
        case T_ColumnRef: return column(node).map { ($0, .truth(true)) }
        case T_A_Expr: return operatorTest(node.cast(to: A_Expr.self).pointee)
        case T_BoolExpr: return booleanTest(node.cast(to: BoolExpr.self).pointee)
        case T_NullTest:
            let nullTest = node.cast(to: NullTest.self).pointee
            guard let column = column(treeNode(nullTest.arg)) else { return nil }
            return (column, nullTest.nulltesttype == IS_NULL ? .isNull : .isNotNull)
        case T_BooleanTest:
            let truthTest = node.cast(to: BooleanTest.self).pointee
            guard let column = column(treeNode(truthTest.arg)) else { return nil }
            switch truthTest.booltesttype {
            case IS_TRUE: return (column, .truth(true))
            case IS_FALSE: return (column, .truth(false))
            case IS_UNKNOWN: return (column, .isNull)
            case IS_NOT_UNKNOWN: return (column, .isNotNull)
            default: return nil
            }
        default: return nil
        }
    }

    private static func booleanTest(_ expression: BoolExpr) -> ColumnTest? {
        let arguments = NodeList(expression.args)
        switch expression.boolop {
        case NOT_EXPR:
            guard arguments.count == 1, let column = column(arguments[0]) else { return nil }
            return (column, .truth(false))
        case OR_EXPR: return alternatives(arguments)
        default: return nil
        }
    }

    /// `a = 1 or a = 2 or a in (3, 4)`, all of the same column.
    private static func alternatives(_ arguments: NodeList) -> ColumnTest? {
        guard arguments.count <= ParsedSelect.operandsMax else { return nil }
        var column: ParsedColumn?
        var operands: [ParsedSelect.Operand] = []
        for argument in arguments {
            guard let argument, let expression = argument.cast(to: A_Expr.self, if: T_A_Expr),
                let (next, test) = operatorTest(expression.pointee),
                case .among(let some) = test, column == nil || column == next,
                operands.count + some.count <= ParsedSelect.operandsMax
            else { return nil }
            column = next
            operands += some
        }
        return column.map { ($0, .among(operands)) }
    }

    private static func operatorTest(_ expression: A_Expr) -> ColumnTest? {
        guard let names = NodeList(expression.name).names, names.count == 1 else { return nil }
        switch expression.kind {
        case AEXPR_OP: return comparison(names[0], expression.lexpr, expression.rexpr)
        case AEXPR_IN where names[0] == "=":
            guard let column = column(expression.lexpr),
                let list = expression.rexpr?.cast(to: List.self, if: T_List)
            else { return nil }
            return among(column, NodeList(list))
        case AEXPR_OP_ANY where names[0] == "=":
            guard let column = column(expression.lexpr),
                let array = expression.rexpr?.cast(to: A_ArrayExpr.self, if: T_A_ArrayExpr),
                let (_, test) = among(column, NodeList(array.pointee.elements)),
                case .among(let operands) = test,
                // The elements get their type from each other, not from the column.
                operands.allSatisfy({ $0.hasTypeOfItsOwn }), operands.allSatisfy({
                    $0.isString == operands[0].isString
                })
            else { return nil }
            return (column, test)
        case AEXPR_BETWEEN:
            guard let column = column(expression.lexpr),
                let list = expression.rexpr?.cast(to: List.self, if: T_List)
            else { return nil }
            let bounds = NodeList(list)
            guard bounds.count == 2, let lower = operand(bounds[0]), let upper = operand(bounds[1])
            else { return nil }
            return (
                column,
                .range(
                    lower: .init(operand: lower, isInclusive: true),
                    upper: .init(operand: upper, isInclusive: true))
            )
        default: return nil
        }
    }

    private static func among(_ column: ParsedColumn, _ elements: NodeList) -> ColumnTest? {
        guard !elements.isEmpty, elements.count <= ParsedSelect.operandsMax else { return nil }
        var operands: [ParsedSelect.Operand] = []
        operands.reserveCapacity(elements.count)
        for element in elements {
            guard let operand = operand(element) else { return nil }
            operands.append(operand)
        }
        return (column, .among(operands))
    }

    private static func comparison(
        _ name: Swift.String, _ left: NodePointer?, _ right: NodePointer?
    ) -> ColumnTest? {
        if let column = column(left), let operand = operand(right) {
            return test(name, operand).map { (column, $0) }
        }
        guard let column = column(right), let operand = operand(left) else { return nil }
        let mirrored = ["=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="]
        return mirrored[name].flatMap { test($0, operand) }.map { (column, $0) }
    }

    private static func test(
        _ name: Swift.String, _ operand: ParsedSelect.Operand
    ) -> ParsedSelect.Test? {
        switch name {
        case "=": .among([operand])
        case "<": .range(lower: nil, upper: .init(operand: operand, isInclusive: false))
        case "<=": .range(lower: nil, upper: .init(operand: operand, isInclusive: true))
        case ">": .range(lower: .init(operand: operand, isInclusive: false), upper: nil)
        case ">=": .range(lower: .init(operand: operand, isInclusive: true), upper: nil)
        default: nil
        }
    }

    private static func equality(_ node: NodePointer) -> (ParsedColumn, ParsedColumn)? {
        guard let expression = node.cast(to: A_Expr.self, if: T_A_Expr)?.pointee,
            expression.kind == AEXPR_OP, NodeList(expression.name).names == ["="],
            let left = column(expression.lexpr), let right = column(expression.rexpr)
        else { return nil }
        return (left, right)
    }

    private static func column(_ node: NodePointer?) -> ParsedColumn? {
        guard let reference = node?.cast(to: ColumnRef.self, if: T_ColumnRef) else { return nil }
        return StatementWalker.column(NodeList(reference.pointee.fields))
    }

    /// A constant or a parameter, by itself or under one cast; nil for NULL, whose comparison is
    /// transform_null_equals' business, and for numbers that are no 64-bit integers.
    private static func operand(_ node: NodePointer?) -> ParsedSelect.Operand? {
        guard let node else { return nil }
        if let cast = node.cast(to: TypeCast.self, if: T_TypeCast)?.pointee {
            guard let name = cast.typeName, let type = StatementWalker.typeName(name),
                let literal = literal(cast.arg)
            else { return nil }
            return .init(literal: literal, cast: type)
        }
        return literal(node).map { .init(literal: $0, cast: nil) }
    }

    private static func literal(_ node: NodePointer?) -> ParsedSelect.Operand.Literal? {
        guard let node else { return nil }
        if node.tag == T_ParamRef {
            let number = Int(node.cast(to: ParamRef.self).pointee.number)
            return number > 0 ? .parameter(number) : nil
        }
        if let bytes = node.stringConstant { return .string(Array(bytes)) }
        guard let constant = node.cast(to: A_Const.self, if: T_A_Const)?.pointee,
            !constant.isnull
        else { return nil }
        switch constant.val.node.type {
        case T_Integer: return .integer(Int64(constant.val.ival.ival))
        case T_Float: return treeText(constant.val.fval.fval).flatMap { Int64($0) }.map { .integer($0) }
        case T_Boolean: return .boolean(constant.val.boolval.boolval)
        default: return nil
        }
    }
}

extension ParsedSelect.Operand {
    fileprivate var hasTypeOfItsOwn: Bool {
        if case .parameter = literal { return false }
        return cast == nil
    }
    fileprivate var isString: Bool {
        if case .string = literal { return true }
        return false
    }
}
