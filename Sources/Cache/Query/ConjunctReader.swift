internal import CPgQuery
import PGProtocol

/// One conjunct of WHERE or ON: what it says about one column, or that two columns are equal [I1].
///
/// Nil is the answer to everything that is not plainly one of the forms below; leaving a conjunct out is always safe.
extension SelectReader {
    typealias ColumnTest = (column: ParsedColumn, test: ParsedSelect.Test)

    static func test(_ node: NodePointer) -> ColumnTest? {
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

    /// `a = 1 or a < 5 and b is null or …`: what each alternative says about single columns; nil where one says
    /// nothing, and where there are too many. All conditions of one alternative hold together.
    static func disjunction(_ node: NodePointer) -> [[ColumnTest]]? {
        guard let either = node.cast(to: BoolExpr.self, if: T_BoolExpr)?.pointee, either.boolop == OR_EXPR else {
            return nil
        }
        let arguments = NodeList(either.args)
        guard arguments.count <= ParsedSelect.alternativesMax else { return nil }
        var alternatives: [[ColumnTest]] = []
        for argument in arguments {
            var tests: [ColumnTest] = []
            var waiting = [argument]
            var visited = 0
            while let next = waiting.popLast(), visited < ParsedSelect.conditionsMax {
                visited += 1
                guard let next else { continue }
                if let both = next.cast(to: BoolExpr.self, if: T_BoolExpr), both.pointee.boolop == AND_EXPR {
                    waiting.append(contentsOf: NodeList(both.pointee.args).reversed())
                } else if let test = test(next) {
                    tests.append(test)
                }
            }
            if tests.isEmpty { return nil }
            alternatives.append(tests)
        }
        return alternatives
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
            return column(expression.lexpr).flatMap { anyTest($0, expression.rexpr) }
        case AEXPR_NOT_DISTINCT where names[0] == "=":
            // With a constant that is not NULL it is `=`, except that it is false where that is NULL.
            return comparison("=", expression.lexpr, expression.rexpr)
        case AEXPR_LIKE where names[0] == "~~":
            guard let column = column(expression.lexpr), let pattern = operand(expression.rexpr) else { return nil }
            return (column, .like(pattern))
        case AEXPR_BETWEEN, AEXPR_BETWEEN_SYM:
            guard let column = column(expression.lexpr),
                let list = expression.rexpr?.cast(to: List.self, if: T_List)
            else { return nil }
            let bounds = NodeList(list)
            guard bounds.count == 2, let lower = operand(bounds[0]), let upper = operand(bounds[1])
            else { return nil }
            if expression.kind == AEXPR_BETWEEN_SYM { return (column, .symmetric(lower, upper)) }
            return (
                column,
                .range(
                    lower: .init(operand: lower, isInclusive: true),
                    upper: .init(operand: upper, isInclusive: true))
            )
        default: return nil
        }
    }

    /// `= ANY (…)` of an array: spelled out, or in one constant or parameter, by itself or under a cast.
    private static func anyTest(_ column: ParsedColumn, _ array: NodePointer?) -> ColumnTest? {
        var cast: ParsedTypeName?
        var spelledOut = array?.cast(to: A_ArrayExpr.self, if: T_A_ArrayExpr)
        if let outer = array?.cast(to: TypeCast.self, if: T_TypeCast)?.pointee,
            let inner = outer.arg?.cast(to: A_ArrayExpr.self, if: T_A_ArrayExpr)
        {
            guard let name = outer.typeName, let type = StatementWalker.typeName(name), type.isArray else { return nil }
            cast = type
            cast?.isArray = false
            spelledOut = inner
        }
        guard let spelledOut else {
            guard let operand = operand(array) else { return nil }
            switch operand.literal {
            case .string, .parameter: return (column, .elements(operand))
            case .integer, .decimal, .boolean: return nil
            }
        }
        guard let (_, test) = among(column, NodeList(spelledOut.pointee.elements)), case .among(var operands) = test,
            // The elements get their type from each other or from the cast, not from the column.
            operands.allSatisfy({ $0.hasTypeOfItsOwn }),
            operands.allSatisfy({ $0.isString == operands[0].isString })
        else { return nil }
        for index in operands.indices { operands[index].cast = cast }
        return (column, .among(operands))
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

    static func equality(_ node: NodePointer) -> (ParsedColumn, ParsedColumn)? {
        guard let expression = node.cast(to: A_Expr.self, if: T_A_Expr)?.pointee,
            expression.kind == AEXPR_OP, NodeList(expression.name).names == ["="],
            let left = column(expression.lexpr), let right = column(expression.rexpr)
        else { return nil }
        return (left, right)
    }

    static func column(_ node: NodePointer?) -> ParsedColumn? {
        guard let reference = node?.cast(to: ColumnRef.self, if: T_ColumnRef) else { return nil }
        return StatementWalker.column(NodeList(reference.pointee.fields))
    }

    /// A constant or a parameter, by itself or under one cast; nil for NULL, whose comparison is
    /// transform_null_equals' business.
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

    /// A number as it is written, with its sign.
    static func literal(number: Swift.String) -> ParsedSelect.Operand.Literal {
        Int64(number).map { .integer($0) } ?? .decimal(Array(number.utf8))
    }

    static func literal(_ node: NodePointer?) -> ParsedSelect.Operand.Literal? {
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
        case T_Float: return treeText(constant.val.fval.fval).map { literal(number: $0) }
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
