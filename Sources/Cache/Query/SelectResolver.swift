import Mutation
import PGProtocol

/// Binds the names of a SELECT to the relations that it reads.
///
/// What is read is found by name alone and may be more than what PostgreSQL would read (see `SelectNames`); what the
/// statement must not depend on [C1] is looked for in all of it. Lives for one resolution. Its calls come in the order
/// in which they stand here.
struct SelectResolver {
    typealias Place = SelectNames.Place

    let expansion: ViewExpansion
    var select: ParsedSelect { expansion.select }
    var relations: [Relation?] { expansion.relations }
    /// Of the statement and of its views.
    private let mentions: [Mentions]
    let declaredTypes: [OID]
    let names: SelectNames
    let tree: JoinTree
    let results: SelectResults
    /// `t.name` was no column: it may be a call of a function.
    private(set) var mayCallField = false
    /// Such names that are calls, if there are functions of the name.
    private(set) var calledFields: Set<String> = []
    /// Every column of a table or view that the statement names, by `*` included.
    private var namedColumns: Set<Place> = []
    /// Those of them that could be in an expression.
    private var compared: Set<Place> = []
    private var classes: SettingClasses

    /// `reshaping`: see `JoinTree`.
    init(_ expansion: ViewExpansion, mentions: [Mentions], declaredTypes: [OID], reshaping: Set<String>) {
        self.expansion = expansion
        self.mentions = mentions
        self.declaredTypes = declaredTypes
        names = SelectNames(select: expansion.select, relations: expansion.relations)
        tree = JoinTree(expansion.select, reshaping: reshaping)
        results = SelectResults(names, isMerged: tree.isMerged)
        classes = expansion.select.classes
    }

    // MARK: What is read

    mutating func findColumns(_ isFunction: (String) -> Bool) -> ForwardReason? {
        let outputs = OutputNames(select)
        for column in select.columns {
            if let reason = findColumn(column, outputs, isFunction) { return reason }
        }
        for star in select.stars {
            let sources = names.sources(under: star)
            if sources.isEmpty { return .unresolvedColumn }
            for source in sources { namedColumns.formUnion(places(in: source)) }
        }
        for join in select.joins.indices { compared.formUnion(mergedColumns(of: join)) }
        namedColumns.formUnion(compared)
        return hasTimeWithZone() ? .timeDependent : nil
    }

    /// Conversions to and from timetz look at today's daylight saving time. A `*` at the top converts nothing.
    private func hasTimeWithZone() -> Bool {
        (select.levels.count == 1 ? compared : namedColumns).contains {
            names.column(at: $0).map { DateTimeText.timeWithZoneTypes.contains($0.type) } ?? false
        }
    }

    private mutating func findColumn(
        _ column: ParsedColumn, _ outputs: OutputNames, _ isFunction: (String) -> Bool
    ) -> ForwardReason? {
        let reach = names.reach(column, results)
        compared.formUnion(reach.places)
        if column.relation == nil {
            if !reach.named.isEmpty {  // a row as one value
                for source in reach.named { compared.formUnion(places(in: source)) }
                classes.formUnion(.all)
            }
            if reach.hasTable, Self.isSystem(column.name) { return .systemColumn }
            let isKnown = !reach.places.isEmpty || !reach.named.isEmpty || reach.mayBeElsewhere
                || outputs.contain(column)
            return isKnown ? nil : .unresolvedColumn
        }
        if reach.isUnsure, reach.hasTable, Self.isSystem(column.name) { return .systemColumn }
        if !reach.named.isEmpty, !reach.isUnsure { return nil }
        if !reach.named.isEmpty, isFunction(column.name) {
            calledFields.insert(column.name)
            for source in reach.named { compared.formUnion(places(in: source)) }
            return nil
        }
        if !reach.places.isEmpty || reach.mayBeElsewhere { return nil }
        mayCallField = true
        return .unresolvedColumn
    }

    private func places(in source: Int) -> [Place] {
        relations[source]?.columns.indices.map { Place(source: source, column: $0) } ?? []
    }

    /// The columns that USING and NATURAL compare.
    private func mergedColumns(of join: Int) -> [Place] {
        let facts = select.joins[join]
        guard facts.isNatural || !facts.using.isEmpty else { return [] }
        let below = names.visible(in: facts.level, .on(join))
        if facts.isNatural { return below.flatMap { places(in: $0) } }
        return below.flatMap { source in
            facts.using.compactMap { name in
                guard case .column(let column) = names.holding(source, name, results) else { return nil }
                return Place(source: source, column: column)
            }
        }
    }

    /// Manual, 5.5 System Columns.
    private static func isSystem(_ name: String) -> Bool {
        ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"].contains(name)
    }

    // MARK: What an answer must not depend on

    /// Declared types whose values mean something else next time, or are not PostgreSQL's own.
    func checkParameters() -> ForwardReason? {
        for type in declaredTypes {
            if !type.isBuiltIn { return .userType }
            if DateTimeText.timeWithZoneTypes.contains(type) { return .timeDependent }
            if Volatility.catalogTypeOIDs.contains(type.value) { return .catalogDependent }
        }
        return nil
    }

    /// Casts, and calls that are casts, whose text could mean another moment next time [C1].
    func checkCasts() -> ForwardReason? {
        for cast in select.casts {
            if cast.type.name == "timezone" {
                if !isMoment(cast.source) { return .timeDependent }
            } else if let reason = reason(cast.type.name, cast.source) {
                return reason
            }
        }
        for field in calledFields.sorted() {
            if let reason = reason(field, .other) { return reason }
        }
        for type in mentions.flatMap(\.types) {
            let name = Self.element(type.name)
            if Volatility.catalogTypes.contains(name) { return .catalogDependent }
            if name == "xml" { return .unsupportedExpression }
        }
        return nil
    }

    /// Not a time without a date, which AT TIME ZONE moves by today's daylight saving time.
    private func isMoment(_ source: ValueSource) -> Bool {
        switch source {
        case .constant, .dateTime: true
        case .parameter, .computed, .other: false
        case .oneOf(let sources): sources.allSatisfy { isMoment($0) }
        case .column(let name):
            names.types(of: name, results)?.allSatisfy { DateTimeText.momentTypes.contains($0) } ?? false
        }
    }

    /// `_date` is the array type of `date`.
    private static func element(_ type: String) -> String {
        String(type.drop { $0 == "_" })
    }

    private func reason(_ type: String, _ source: ValueSource) -> ForwardReason? {
        let type = Self.element(type)
        guard DateTimeText.types.contains(type) else { return nil }
        if type == "timetz" { return .timeDependent }
        switch source {
        case .constant, .parameter, .dateTime, .computed: return nil
        case .oneOf(let sources): return sources.lazy.compactMap { self.reason(type, $0) }.first
        case .other: return .timeDependent
        case .column(let column):
            let types = names.types(of: column, results)
            let isDateTime = types?.allSatisfy { DateTimeText.columnTypes.contains($0) } ?? false
            return isDateTime ? nil : .timeDependent
        }
    }

    // MARK: The result

    /// `isReshaped`: some call makes rows of the result that are not rows of a relation.
    func query(functions: [OID], isReshaped: Bool) -> Result<ResolvedQuery, ForwardReason> {
        let reader = ConstraintReader(resolver: self)
        let constraints = reader.constraints()
        let conjunctions = reader.conjunctions(constraints)
        var uses: [RelationUse] = []
        // Of sources that are one use each, by source.
        var single: [Int: Int] = [:]
        for (source, relation) in relations.enumerated() {
            guard let relation, relation.view == nil else { continue }
            let before = uses.count
            let isMany = conjunctions[source].count * (relation.descendants.count + 1) > Self.alternativesMax
            for conjunction in isMany ? [constraints[source]] : conjunctions[source] {
                let own = RelationUse(
                    relation: relation.oid, constraints: conjunction, reads: reads(source, relation, conjunction))
                uses += Descendants.uses(of: relation, isOnly: select.sources[source].isOnly, own)
            }
            if uses.count == before + 1, relation.descendants.isEmpty { single[source] = before }
            guard uses.count <= Self.usesMax else { return .failure(.tooDeep) }
        }
        if uses.isEmpty { return .failure(.noRelation) }
        let links = reader.links().compactMap { place, partner -> JoinLink? in
            guard let use = single[place.source], let other = single[partner.source] else { return nil }
            return JoinLink(use: use, partner: other, column: place.column, partnerColumn: partner.column)
        }
        let ranking = isReshaped ? nil : reader.ranking().flatMap { place, isDescending -> Ranking? in
            guard let use = single[place.source], uses.count(where: { $0.relation == uses[use].relation }) == 1
            else { return nil }
            return Ranking(use: use, column: place.column, isDescending: isDescending)
        }
        let level = select.levels[0]
        let isOne = select.levels.count == 1 && select.sources.count == 1
            && uses.allSatisfy { $0.relation == relations[0]?.oid }
        let isRowForRow = isOne && !level.hasLimit && !level.hasGrouping && !level.hasWindow && !isReshaped
        return .success(
            ResolvedQuery(
                uses: uses, functions: functions, isRowForRow: isRowForRow, parameterCount: select.parameterCount,
                columns: columns(of: 0), rights: rights(), classes: allClasses(), ordersText: ordersText,
                namesCollation: select.namesCollation,
                isPointRead: isRowForRow && isByKeyAlone(uses), links: links, ranking: ranking))
    }

    /// The only condition is that each column of the primary key is a value.
    private func isByKeyAlone(_ uses: [RelationUse]) -> Bool {
        guard let key = relations[0]?.primaryKey, !key.isEmpty, uses.count == 1,
            !select.hasFurtherConditions || Mutation.patchIgnoresConditions.isOn,
            select.conditions.count == key.count || Mutation.patchIgnoresConditions.isOn
        else { return false }
        let values = uses[0].constraints.filter { constraint in
            guard key.contains(constraint.column), case .among(let operands) = constraint.test, operands.count == 1
            else { return false }
            if case .promoted = operands[0] { return false }
            return true
        }
        return values.count == key.count && Set(values.map(\.column)) == Set(key)
    }

    /// Leaves of partitioned tables count.
    private static let usesMax = 4096
    /// Of one source, for an OR to constrain it.
    private static let alternativesMax = 1024

    /// Positions of what is named and of what is tested; nil if a change of another column could matter.
    private func reads(_ source: Int, _ relation: Relation, _ constraints: [Constraint]) -> Set<Int>? {
        var positions = Set(constraints.map(\.column))
        for place in namedColumns where place.source == source { positions.insert(place.column) }
        // Which columns a generated one is made of is not known, and it is not in the stream [C2].
        return positions.contains { relation.columns[$0].isGenerated } ? nil : positions
    }

    private func rights() -> [RightsNeed] {
        expansion.roles.indices.map { reader in
            var relations: Set<OID> = []
            for (source, relation) in self.relations.enumerated() where isRead(source, by: reader) {
                if let relation { relations.insert(relation.oid) }
            }
            return RightsNeed(role: expansion.roles[reader], relations: relations, columns: columns(of: reader))
        }
    }

    private func isRead(_ source: Int, by reader: Int) -> Bool {
        expansion.readers[select.sources[source].level] == reader
    }

    private func columns(of reader: Int) -> Set<ColumnName> {
        var columns: Set<ColumnName> = []
        for place in namedColumns where isRead(place.source, by: reader) {
            guard let relation = relations[place.source], let column = names.column(at: place) else { continue }
            columns.insert(ColumnName(relation: relation.oid, number: column.number))
        }
        return columns
    }

    /// The settings that the answer depends on [K1].
    private func allClasses() -> SettingClasses {
        var classes = self.classes
        for place in namedColumns {
            if let column = names.column(at: place) { classes.formUnion(.ofType(column.baseType)) }
        }
        for mentions in mentions {
            for type in mentions.types { classes.formUnion(.ofType(named: type)) }
            for call in mentions.calls { classes.formUnion(.ofFunction(call.name)) }
            for name in mentions.operators { classes.formUnion(.ofOperator(name)) }
        }
        for field in calledFields { classes.formUnion(.ofFunction(field)) }
        for type in declaredTypes where type.value != 0 { classes.formUnion(.ofType(type)) }
        return classes
    }

    /// Operators and functions for which texts are bytes, under every deterministic collation.
    private static let bytewiseOperators: Set<String> = ["=", "<>", "!=", "+", "-", "*", "/", "%", "||", "~~", "!~~"]
    private static let bytewiseFunctions: Set<String> = ["count", "sum", "avg", "length", "bool_and", "bool_or"]

    private var ordersText: Bool {
        let isPlain =
            mentions.allSatisfy {
                $0.operators.isSubset(of: Self.bytewiseOperators)
                    && $0.calls.allSatisfy { Self.bytewiseFunctions.contains($0.name) }
            } && !select.ordersValues && !select.levels.contains { $0.hasWindow } && calledFields.isEmpty
        return !isPlain && (mentions.contains { !$0.types.isEmpty } || mayHoldText)
    }

    /// Whether some column that is named, or a parameter, could be text.
    private var mayHoldText: Bool {
        if select.parameterCount > 0 || select.hasTextConstant { return true }
        return namedColumns.contains { place in
            names.column(at: place).map { !Self.textless.contains($0.type.value) } ?? true
        }
    }

    /// Types of numbers, times and the like, without a collation.
    private static let textless: Set<UInt32> = [
        16, 17, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 1186, 1700, 2950,
    ]

    // MARK: Constraints

    /// The column of a table whose value a column has in the rows of a condition's level.
    func place(of column: ParsedColumn, in scope: ParsedSelect.Scope) -> Place? {
        names.certain(column, scope, results).flatMap {
            results.entry($0.holding, $0.source, names, tree.isMerged).base
        }
    }

    /// The same for a column that USING names, in one arm of its join.
    func place(of name: String, inArmOf join: Int, isRight: Bool) -> Place? {
        let arm = names.arm(
            of: join, isRight: isRight, among: names.visible(in: select.joins[join].level, .on(join)))
        return names.merged(name, arm, results).flatMap {
            results.entry($0.holding, $0.source, names, tree.isMerged).base
        }
    }

    /// A column whose type is that of a column.
    func typedColumn(of column: ParsedColumn, in scope: ParsedSelect.Scope) -> Column? {
        names.certain(column, scope, results).flatMap {
            results.entry($0.holding, $0.source, names, tree.isMerged).typed
        }.flatMap { names.column(at: $0) }
    }
}

/// What the columns of the levels' results are called, by which ORDER BY and GROUP BY may name them.
private struct OutputNames {
    private var given: Set<String> = []
    /// Those that are nothing but a column of this name.
    private var plain: [String: Set<Int>] = [:]

    init(_ select: ParsedSelect) {
        for (level, facts) in select.levels.enumerated() {
            for output in facts.outputs {
                guard let name = output.name else { continue }
                if output.column?.name == name { plain[name, default: []].insert(level) } else { given.insert(name) }
            }
        }
    }

    /// A column in the list of its own level does not make itself known.
    func contain(_ column: ParsedColumn) -> Bool {
        given.contains(column.name) || plain[column.name]?.contains { $0 != column.level } ?? false
    }
}
