import PGProtocol

/// What the names in a SELECT could mean, and where it is certain what they do mean.
///
/// PostgreSQL looks for a name in the FROM of its own level, then in the levels around it; ON sees only the arms of its
/// join. `reach` ignores what hides a name from another and gives more than the name can mean: right for what is
/// read. `certain` gives the one column that it means, or nil: right for what constrains. Both rely on the origin
/// having accepted the statement. `Results` knows what comes out of subqueries.
struct SelectNames {
    /// A column of a table or view in FROM.
    struct Place: Hashable {
        var source: Int
        /// Position in `Relation.columns`.
        var column: Int
    }
    /// Whether a source has a column of some name.
    enum Holding {
        case column(Int)
        /// The result of a level has it.
        case result(SelectResults.Entry)
        /// It has one; nothing else is known of it.
        case held
        case absent
        /// Its columns are not known.
        case unknown
    }
    /// Everything that a name could mean.
    struct Reach {
        var places: [Place] = []
        /// The sources that the name could name as a whole.
        var named: [Int] = []
        /// There is a source that could have such a column, or has one that is not a relation's.
        var mayBeElsewhere = false
        /// A source that is named has no such column, as far as is known.
        var isUnsure = false
        /// A table is among what could be meant.
        var hasTable = false
    }

    let select: ParsedSelect
    /// Of each source, if it is a table or a view.
    let relations: [Relation?]
    /// The sources of each level.
    private let sourcesOfLevel: [[Int]]

    init(select: ParsedSelect, relations: [Relation?]) {
        self.select = select
        self.relations = relations
        var sources = [[Int]](repeating: [], count: select.levels.count)
        for (index, source) in select.sources.enumerated() { sources[source.level].append(index) }
        sourcesOfLevel = sources
    }

    func sources(of level: Int) -> [Int] { sourcesOfLevel[level] }

    func column(at place: Place) -> Column? {
        guard let columns = relations[place.source]?.columns, columns.indices.contains(place.column) else { return nil }
        return columns[place.column]
    }

    // MARK: One source

    /// Its column of this name, as far as it is known.
    func holding(_ index: Int, _ name: String, _ results: SelectResults) -> Holding {
        let source = select.sources[index]
        let renamed = source.columnNames?.firstIndex(of: name)
        let start = source.columnNames?.count ?? 0
        if let relation = relations[index] {
            if let renamed { return relation.columns.indices.contains(renamed) ? .column(renamed) : .unknown }
            let own = relation.columns.indices.first { $0 >= start && relation.columns[$0].name == name }
            return own.map { .column($0) } ?? .absent
        }
        guard case .derived(let level) = source.content else { return renamed == nil ? .unknown : .held }
        let result = results[level]
        guard source.columnNames != nil else {
            if let entry = result.named[name] { return .result(entry) }
            return result.isComplete ? .absent : .unknown
        }
        guard let list = result.list else { return renamed == nil ? .unknown : .held }
        if let renamed { return list.indices.contains(renamed) ? .result(list[renamed].entry) : .held }
        let own = list.indices.first { $0 >= start && list[$0].name == name }
        return own.map { .result(list[$0].entry) } ?? (result.isComplete ? .absent : .unknown)
    }

    private func isNamed(_ index: Int, by column: ParsedColumn) -> Bool {
        let source = select.sources[index]
        guard let name = column.relation, source.name == name else { return false }
        guard let schema = column.schema else { return true }
        return !source.hasAlias && relations[index]?.schema == schema
    }

    /// The joins of a level that are called so.
    private func joins(named column: ParsedColumn, in level: Int) -> [Int] {
        guard let name = column.relation, column.schema == nil else { return [] }
        return select.joins.indices.filter {
            let join = select.joins[$0]
            return join.level == level && (join.alias == name || join.usingAlias == name)
        }
    }

    private func isBelow(_ index: Int, _ join: Int) -> Bool { select.sources[index].path.contains { $0.join == join } }

    // MARK: All that a name could mean

    /// Levels whose names a level can see, itself first.
    private func chain(_ level: Int) -> [Int] {
        var chain = [level]
        while let parent = select.levels[chain[chain.count - 1]].parent { chain.append(parent) }
        return chain
    }

    func reach(_ column: ParsedColumn, _ results: SelectResults) -> Reach {
        var reach = Reach()
        for level in chain(column.level) {
            guard column.relation != nil else {
                for source in sourcesOfLevel[level] { add(source, column.name, results, &reach) }
                let whole = ParsedColumn(schema: nil, relation: column.name, name: "*", level: level)
                reach.named += named(whole, in: level)
                continue
            }
            for source in named(column, in: level) {
                reach.named.append(source)
                add(source, column.name, results, &reach)
            }
        }
        return reach
    }

    /// The sources of a level that a qualified name, or a star, speaks of.
    private func named(_ column: ParsedColumn, in level: Int) -> [Int] {
        let joins = joins(named: column, in: level)
        return sourcesOfLevel[level].filter { source in
            isNamed(source, by: column) || joins.contains { isBelow(source, $0) }
        }
    }

    private func add(_ source: Int, _ name: String, _ results: SelectResults, _ reach: inout Reach) {
        if let relation = relations[source], relation.view == nil { reach.hasTable = true }
        switch holding(source, name, results) {
        case .column(let column): reach.places.append(Place(source: source, column: column))
        case .result, .held: reach.mayBeElsewhere = true
        case .unknown:
            reach.mayBeElsewhere = true
            reach.isUnsure = true
        case .absent: reach.isUnsure = true
        }
    }

    /// The sources whose columns a star stands for, or more.
    func sources(under star: ParsedColumn) -> [Int] {
        if star.relation == nil { return sourcesOfLevel[star.level] }
        return chain(star.level).flatMap { named(star, in: $0) }
    }

    // MARK: The one thing that a name means

    /// The source that a column is of, and what it has of that name.
    func certain(
        _ column: ParsedColumn, _ scope: ParsedSelect.Scope, _ results: SelectResults
    ) -> (source: Int, holding: Holding)? {
        let visible = visible(in: column.level, scope)
        if column.relation != nil {
            let found = visible.filter { isNamed($0, by: column) && !isHidden($0, scope) }
            guard joins(named: column, in: column.level).isEmpty else { return nil }
            if found.count > 1 { return nil }
            return found.first.map { ($0, holding($0, column.name, results)) } ?? outer(column, results)
        }
        let holders = visible.filter { isHolder($0, column.name, results) }
        if isMerged(column.name, in: column.level) {
            return merged(column.name, visible, results)
        }
        if holders.count > 1 { return nil }
        if let holder = holders.first { return (holder, holding(holder, column.name, results)) }
        return visible.contains { isUnknown($0, column.name, results) } ? nil : outer(column, results)
    }

    private func isHolder(_ source: Int, _ name: String, _ results: SelectResults) -> Bool {
        switch holding(source, name, results) {
        case .column, .result, .held: true
        case .absent, .unknown: false
        }
    }

    private func isUnknown(_ source: Int, _ name: String, _ results: SelectResults) -> Bool {
        if case .unknown = holding(source, name, results) { true } else { false }
    }

    func visible(in level: Int, _ scope: ParsedSelect.Scope) -> [Int] {
        guard case .on(let join) = scope else { return sourcesOfLevel[level] }
        return sourcesOfLevel[level].filter { isBelow($0, join) }
    }

    /// Whether the name of a join hides that of a source in it.
    private func isHidden(_ source: Int, _ scope: ParsedSelect.Scope) -> Bool {
        var steps = select.sources[source].path[...]
        if case .on(let join) = scope, let position = steps.firstIndex(where: { $0.join == join }) {
            steps = steps[(position + 1)...]
        }
        return steps.contains { select.joins[$0.join].alias != nil }
    }

    /// In the levels around: certain only if nothing but one source there could be meant.
    private func outer(_ column: ParsedColumn, _ results: SelectResults) -> (source: Int, holding: Holding)? {
        var found: [Int] = []
        for level in chain(column.level).dropFirst() {
            if column.relation != nil {
                found += named(column, in: level)
                if !joins(named: column, in: level).isEmpty { return nil }
                continue
            }
            for source in sourcesOfLevel[level] {
                if isUnknown(source, column.name, results) { return nil }
                if isHolder(source, column.name, results) { found.append(source) }
            }
        }
        return found.count == 1 ? (found[0], holding(found[0], column.name, results)) : nil
    }

    // MARK: USING and NATURAL

    private func isMerged(_ name: String, in level: Int) -> Bool {
        select.joins.contains { $0.level == level && ($0.isNatural || $0.using.contains(name)) }
    }

    /// The column whose value the merged one has (manual, 7.2.1.1: the left one of an inner or left join, the right one
    /// of a right join); nil if that is not one column, or their types differ.
    func merged(
        _ name: String, _ visible: [Int], _ results: SelectResults
    ) -> (source: Int, holding: Holding)? {
        if visible.contains(where: { isUnknown($0, name, results) }) { return nil }
        var holders = visible.filter { isHolder($0, name, results) }
        let types = holders.map { type(holding($0, name, results), of: $0) }
        guard let first = types.first, first != nil, types.allSatisfy({ $0 == first }) else { return nil }
        while holders.count > 1 {
            let shared = select.sources[holders[0]].path.map(\.join).first { join in
                let left = arm(of: join, isRight: false, among: holders)
                return !left.isEmpty && left.count < holders.count && holders.allSatisfy { isBelow($0, join) }
            }
            guard let shared, select.joins[shared].isNatural || select.joins[shared].using.contains(name) else {
                return nil
            }
            switch select.joins[shared].kind {
            case .inner, .left: holders = arm(of: shared, isRight: false, among: holders)
            case .right: holders = arm(of: shared, isRight: true, among: holders)
            case .full: return nil
            }
        }
        return (holders[0], holding(holders[0], name, results))
    }

    func arm(of join: Int, isRight: Bool, among sources: [Int]) -> [Int] {
        sources.filter { select.sources[$0].path.contains { $0.join == join && $0.isRightArm == isRight } }
    }

    private func type(_ holding: Holding, of source: Int) -> OID? {
        switch holding {
        case .column(let column): self.column(at: Place(source: source, column: column))?.type
        case .result(let entry): entry.typed.flatMap { column(at: $0)?.type }
        case .held, .absent, .unknown: nil
        }
    }

    /// The types that a column could have, every one; nil if it could be one that is not known.
    func types(of column: ParsedColumn, _ results: SelectResults) -> [OID]? {
        var types: [OID] = []
        // With no ON in it, what the level has hides what is around it.
        let isPlain = !select.joins.contains { $0.level == column.level }
        for level in chain(column.level) {
            let sources = column.relation == nil ? sourcesOfLevel[level] : named(column, in: level)
            var hasUnknown = false
            for source in sources {
                let holding = holding(source, column.name, results)
                switch holding {
                case .absent: continue
                case .unknown: hasUnknown = true
                case .column, .result, .held:
                    guard let type = type(holding, of: source) else { return nil }
                    types.append(type)
                }
            }
            if isPlain, level == column.level, !types.isEmpty { return types }
            if hasUnknown { return nil }
        }
        return types.isEmpty ? nil : types
    }
}
