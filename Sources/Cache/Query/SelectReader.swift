internal import CPgQuery
import PGProtocol

/// The structure of a SELECT: its levels, and of each the clauses, the joins of FROM, and the conjuncts of WHERE and
/// ON that could restrict one column [I1].
///
/// Reads only the top of each expression; what is inside of them is the walker's, which tells it of the SELECTs that it
/// finds there. Nested structures (joins, set operations, AND, OR) are taken apart with a list of what is left, not by
/// recursion, up to the limits of `ParsedSelect`. Leaving a conjunct out is always safe.
struct SelectReader {
    /// A common table expression, seen by its level and what is below.
    private struct Common {
        var name: Swift.String
        var level: Int
        var position: Int
        var query: Int
        var columnNames: [Swift.String]?
        var isRecursive: Bool
    }

    var select = ParsedSelect()
    /// The SELECT of each level, in the same order.
    private(set) var nodes: [NodePointer] = []
    private var numbers: [UnsafeRawPointer: Int] = [:]
    /// Set operations that are arms of another and have nothing of their own but arms.
    private var inner: Set<UnsafeRawPointer> = []
    private var commons: [Common] = []
    private var outputCount = 0

    /// The level of a SELECT that was met before; nil for one that is part of another level, or that is new.
    func level(of node: NodePointer) -> Int? { numbers[UnsafeRawPointer(node)] }
    func isInner(_ node: NodePointer) -> Bool { inner.contains(UnsafeRawPointer(node)) }

    /// Gives a SELECT a level; nil when there are too many.
    mutating func begin(_ node: NodePointer, parent: Int?) -> Int? {
        guard select.levels.count < ParsedSelect.levelsMax else { return nil }
        let level = select.levels.count
        numbers[UnsafeRawPointer(node)] = level
        nodes.append(node)
        select.levels.append(ParsedSelect.Level(parent: parent))
        return level
    }

    /// Adds what the clauses of a level say; returns the reason if they are not cacheable.
    mutating func read(_ level: Int) -> ForwardReason? {
        guard let statement = nodes[level].cast(to: SelectStmt.self, if: T_SelectStmt)?.pointee else {
            // The body of a function may be a value alone.
            return nodes[level].tag == T_ReturnStmt ? nil : .unsupportedExpression
        }
        if let reason = readCommons(statement.withClause, level) { return reason }
        noteClauses(statement, level)
        if statement.op != SETOP_NONE { return readArms(statement, level) }
        select.levels[level].isValues = statement.valuesLists != nil
        outputCount += NodeList(statement.targetList).count
        if outputCount > ParsedSelect.namesMax { return .tooLong }
        for item in NodeList(statement.targetList) {
            guard let target = item?.cast(to: ResTarget.self, if: T_ResTarget) else { continue }
            select.levels[level].outputs.append(Self.output(target, level))
        }
        if level == 0 { select.order = Self.order(NodeList(statement.sortClause)) }
        if let reason = readFrom(NodeList(statement.fromClause), level) { return reason }
        readConjuncts(statement.whereClause, .whole(level), level)
        return nil
    }

    private mutating func noteClauses(_ statement: SelectStmt, _ level: Int) {
        if statement.limitCount != nil || statement.limitOffset != nil { select.levels[level].hasLimit = true }
        if statement.groupClause != nil || statement.havingClause != nil || statement.distinctClause != nil {
            select.levels[level].hasGrouping = true
        }
        if statement.windowClause != nil { select.levels[level].hasWindow = true }
    }

    /// An item of the result, by the name that it has without being given one (manual, SELECT, "SELECT List").
    private static func output(_ target: UnsafeMutablePointer<ResTarget>, _ level: Int) -> ParsedSelect.Output {
        var output = ParsedSelect.Output(name: treeText(target.pointee.name), column: nil)
        guard let value = target.pointee.val else { return output }
        if let reference = value.cast(to: ColumnRef.self, if: T_ColumnRef) {
            let fields = NodeList(reference.pointee.fields)
            output.column = (StatementWalker.column(fields) ?? StatementWalker.star(fields))?.moved(to: level)
            if output.name == nil, !output.isStar { output.name = output.column?.name }
            return output
        }
        if output.name != nil { return output }
        var next: NodePointer? = value
        while let cast = next?.cast(to: TypeCast.self, if: T_TypeCast) { next = cast.pointee.arg }
        if let call = next?.cast(to: FuncCall.self, if: T_FuncCall) {
            output.name = NodeList(call.pointee.funcname).names?.last
        } else if let reference = next?.cast(to: ColumnRef.self, if: T_ColumnRef) {
            output.name = NodeList(reference.pointee.fields).names?.last
        } else if let cast = value.cast(to: TypeCast.self, if: T_TypeCast), let type = cast.pointee.typeName {
            output.name = NodeList(type.pointee.names).names?.last
        }
        return output
    }

    private static func order(_ items: NodeList) -> ParsedSelect.Order? {
        guard let first = items.first ?? nil, let sort = first.cast(to: SortBy.self, if: T_SortBy)?.pointee,
            sort.sortby_dir != SORTBY_USING, let node = sort.node
        else { return nil }
        let isDescending = sort.sortby_dir == SORTBY_DESC
        let item: ParsedSelect.Order.Item
        if let column = column(node) {
            item = .column(column)
        } else if case .integer(let position)? = literal(node), let position = Int(exactly: position) {
            item = .position(position)
        } else {
            return nil
        }
        let putsNullsFirst = sort.sortby_nulls == SORTBY_NULLS_DEFAULT
            ? isDescending : sort.sortby_nulls == SORTBY_NULLS_FIRST
        return .init(item: item, isDescending: isDescending, putsNullsFirst: putsNullsFirst)
    }

    // MARK: WITH and set operations

    private mutating func readCommons(
        _ with: UnsafeMutablePointer<WithClause>?, _ level: Int
    ) -> ForwardReason? {
        guard let with else { return nil }
        for (position, item) in NodeList(with.pointee.ctes).enumerated() {
            // What is no SELECT has its reason from the walker.
            guard let expression = item?.cast(to: CommonTableExpr.self, if: T_CommonTableExpr)?.pointee,
                let name = treeText(expression.ctename), let query = expression.ctequery,
                query.tag == T_SelectStmt
            else { continue }
            guard let number = begin(query, parent: level) else { return .tooDeep }
            select.levels[number].commonPosition = position
            select.levels[number].isRecursive = with.pointee.recursive
            select.levels[number].hasHiddenOutputs =
                expression.search_clause != nil || expression.cycle_clause != nil
            commons.append(
                Common(
                    name: name, level: level, position: position, query: number,
                    columnNames: NodeList(expression.aliascolnames).isEmpty
                        ? nil : NodeList(expression.aliascolnames).names,
                    isRecursive: with.pointee.recursive))
        }
        return nil
    }

    /// The common table expression that a name without a schema means in a level (manual, SELECT, "WITH Clause"): of
    /// the innermost WITH that has one; inside of WITH, without RECURSIVE, only those before.
    private func common(named name: Swift.String, in level: Int) -> Common? {
        if commons.isEmpty { return nil }
        var next: Int? = level
        var position: Int?
        while let level = next {
            let found = commons.last {
                $0.level == level && $0.name == name && ($0.isRecursive || $0.position < position ?? .max)
            }
            if let found { return found }
            position = select.levels[level].commonPosition
            next = select.levels[level].parent
        }
        return nil
    }

    /// Whether a relation in FROM is a common table expression.
    func isCommon(_ relation: UnsafeMutablePointer<RangeVar>, in level: Int) -> Bool {
        guard relation.pointee.schemaname == nil, let name = treeText(relation.pointee.relname) else { return false }
        return common(named: name, in: level) != nil
    }

    /// Chains of UNION and the like are one level, whose arms are levels of their own.
    private mutating func readArms(_ statement: SelectStmt, _ level: Int) -> ForwardReason? {
        select.levels[level].isSetOperation = true
        var waiting = [statement.rarg, statement.larg]
        while let next = waiting.popLast() {
            guard let arm = treeNode(next), let clauses = next?.pointee else { continue }
            if clauses.op != SETOP_NONE, clauses.withClause == nil {
                inner.insert(UnsafeRawPointer(arm))
                noteClauses(clauses, level)
                waiting += [clauses.rarg, clauses.larg]
                continue
            }
            guard let number = begin(arm, parent: level) else { return .tooDeep }
            if select.levels[level].firstArm == nil { select.levels[level].firstArm = number }
        }
        return nil
    }

    // MARK: FROM

    private mutating func readFrom(_ items: NodeList, _ level: Int) -> ForwardReason? {
        if items.count > ParsedSelect.sourcesMax { return .tooDeep }
        var waiting = items.reversed().map { (node: $0, path: [ParsedSelect.Step]()) }
        while let (item, path) = waiting.popLast() {
            guard let item, path.count < ParsedSelect.sourcesMax,
                select.sources.count < ParsedSelect.sourcesMax
            else { return .tooDeep }
            guard let join = item.cast(to: JoinExpr.self, if: T_JoinExpr)?.pointee else {
                guard let source = source(item, level, path) else { return .tooDeep }
                select.sources.append(source)
                continue
            }
            let number = select.joins.count
            guard let read = Self.join(join, level) else { return .unsupportedExpression }
            select.joins.append(read)
            readConjuncts(join.quals, .on(number), level)
            waiting.append((join.rarg, path + [.init(join: number, isRightArm: true)]))
            waiting.append((join.larg, path + [.init(join: number, isRightArm: false)]))
        }
        return nil
    }

    private static func join(_ join: JoinExpr, _ level: Int) -> ParsedSelect.Join? {
        let kind: ParsedSelect.JoinKind
        switch join.jointype {
        case JOIN_INNER: kind = .inner
        case JOIN_LEFT: kind = .left
        case JOIN_RIGHT: kind = .right
        case JOIN_FULL: kind = .full
        default: return nil
        }
        // Names for the columns of a whole join are not followed.
        guard let using = NodeList(join.usingClause).names, using.count <= ParsedSelect.usingMax,
            join.alias?.pointee.colnames == nil
        else { return nil }
        var read = ParsedSelect.Join(kind: kind, level: level)
        read.isNatural = join.isNatural
        read.using = using
        read.alias = treeText(join.alias?.pointee.aliasname)
        read.usingAlias = treeText(join.join_using_alias?.pointee.aliasname)
        return read
    }

    /// An item of FROM that is no join; nil when it holds one SELECT too many.
    private mutating func source(
        _ item: NodePointer, _ level: Int, _ path: [ParsedSelect.Step]
    ) -> ParsedSelect.Source? {
        var source = ParsedSelect.Source(content: .opaque, level: level, name: nil, hasAlias: false, path: path)
        var alias: UnsafeMutablePointer<Alias>?
        switch item.tag {
        case T_RangeVar:
            let relation = item.cast(to: RangeVar.self).pointee
            let name = treeText(relation.relname) ?? ""
            let schema = treeText(relation.schemaname)
            source.name = name
            source.isOnly = !relation.inh
            if schema == nil, let common = common(named: name, in: level) {
                source.content = .derived(common.query)
                source.columnNames = common.columnNames
            } else {
                source.content = .relation(RelationName(schema: schema, name: name))
            }
            alias = relation.alias
        case T_RangeSubselect:
            let subquery = item.cast(to: RangeSubselect.self).pointee
            guard let node = subquery.subquery, node.tag == T_SelectStmt else { break }
            guard let number = begin(node, parent: level) else { return nil }
            source.content = .derived(number)
            alias = subquery.alias
        case T_RangeFunction:
            let function = item.cast(to: RangeFunction.self).pointee
            source.name = Self.functionName(function)
            alias = function.alias
        default: break  // what else can be in FROM has its reason from the walker
        }
        if let alias {
            source.name = treeText(alias.pointee.aliasname)
            source.hasAlias = true
            let names = NodeList(alias.pointee.colnames)
            if !names.isEmpty { source.columnNames = names.names ?? [] }
        }
        return source
    }

    /// What a function in FROM is called without an alias.
    private static func functionName(_ function: RangeFunction) -> Swift.String? {
        guard let first = NodeList(function.functions).first ?? nil, let pair = first.cast(to: List.self, if: T_List),
            let call = NodeList(pair).first ?? nil, let names = call.cast(to: FuncCall.self, if: T_FuncCall)
        else { return nil }
        return NodeList(names.pointee.funcname).names?.last
    }

    // MARK: Conditions

    private mutating func readConjuncts(_ condition: NodePointer?, _ scope: ParsedSelect.Scope, _ level: Int) {
        var waiting = [condition]
        while let next = waiting.popLast() {
            guard let next else { continue }
            guard select.conditions.count < ParsedSelect.conditionsMax else {
                select.hasFurtherConditions = true
                continue
            }
            if let both = next.cast(to: BoolExpr.self, if: T_BoolExpr),
                both.pointee.boolop == AND_EXPR
            {
                waiting.append(contentsOf: NodeList(both.pointee.args).reversed())
                continue
            }
            if let (column, test) = Self.test(next) {
                select.conditions.append(.init(scope: scope, column: column.moved(to: level), test: test))
                continue
            }
            select.hasFurtherConditions = true
            if let alternatives = Self.disjunction(next) {
                guard select.disjunctions.count < ParsedSelect.disjunctionsMax else { continue }
                select.disjunctions.append(
                    .init(
                        scope: scope,
                        alternatives: alternatives.map { $0.map { .init(column: $0.moved(to: level), test: $1) } }))
            } else if let (left, right) = Self.equality(next),
                select.equalities.count < ParsedSelect.conditionsMax
            {
                select.equalities.append(
                    .init(scope: scope, left: left.moved(to: level), right: right.moved(to: level)))
            }
        }
    }
}
