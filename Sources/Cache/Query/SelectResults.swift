import PGProtocol

/// What the columns of each level's result are called and where their values come from.
struct SelectResults {
    /// One column of a result.
    struct Entry: Equatable {
        /// A column with exactly its values, of a table or view.
        var typed: SelectNames.Place?
        /// The same in a table whose rows are those of the level around, by `JoinTree`: what is asked of it
        /// there is asked of that column.
        var base: SelectNames.Place?
    }
    struct Result {
        /// In order; nil where a star makes it uncertain.
        var list: [(name: String?, entry: Entry)]?
        var named: [String: Entry] = [:]
        /// Every name is in `named`.
        var isComplete = true
    }

    private var results: [Result?]
    private var isUnderWay: [Bool]
    private static let unknown = Result(list: nil, named: [:], isComplete: false)

    /// Of a level that nothing is read from: unknown.
    subscript(level: Int) -> Result { results[level] ?? Self.unknown }

    /// The results of all levels that something is read from. `isMerged`: of each level, whether its rows are those
    /// of the level that reads it.
    init(_ names: SelectNames, isMerged: [Bool]) {
        results = [Result?](repeating: nil, count: names.select.levels.count)
        isUnderWay = [Bool](repeating: false, count: names.select.levels.count)
        for source in names.select.sources {
            if case .derived(let level) = source.content { find(level, names, isMerged) }
        }
    }

    /// No deeper than there are levels.
    private mutating func find(_ level: Int, _ names: SelectNames, _ isMerged: [Bool]) {
        if results[level] != nil || isUnderWay[level] { return }
        isUnderWay[level] = true
        let facts = names.select.levels[level]
        if let arm = facts.firstArm {
            find(arm, names, isMerged)
            results[level] = Self.withoutOrigins(self[arm])
        } else if facts.isValues || facts.isSetOperation {
            results[level] = Self.unknown
        } else {
            // What its columns come from has to be known first.
            for source in names.sources(of: level) {
                if case .derived(let inner) = names.select.sources[source].content { find(inner, names, isMerged) }
            }
            results[level] = result(facts, level, names, isMerged)
        }
        if facts.hasHiddenOutputs { results[level]?.isComplete = false }
    }

    private static func withoutOrigins(_ result: Result) -> Result {
        var result = result
        result.named = result.named.mapValues { _ in Entry() }
        result.list = result.list?.map { ($0.name, Entry()) }
        return result
    }

    private func result(
        _ facts: ParsedSelect.Level, _ level: Int, _ names: SelectNames, _ isMerged: [Bool]
    ) -> Result {
        var result = Result(list: [])
        func add(_ name: String, _ entry: Entry) {
            // Two of one name cannot be told apart, and nobody may ask for them.
            result.named[name] = result.named[name] == nil ? entry : Entry()
        }
        for output in facts.outputs {
            if let column = output.column, output.isStar {
                result.list = nil
                for source in names.sources(under: column) {
                    guard names.select.sources[source].level == level, let columns = columns(of: source, names) else {
                        result.isComplete = false
                        continue
                    }
                    for name in columns { add(name, entry(name, source, names, isMerged)) }
                }
                continue
            }
            var entry = Entry()
            if let column = output.column, let found = names.certain(column, .whole(level), self) {
                entry = self.entry(found.holding, found.source, names, isMerged)
                // What comes from around it is there where this level's rows are not.
                if names.select.sources[found.source].level != level { entry.base = nil }
            }
            result.list?.append((output.name, entry))
            if let name = output.name { add(name, entry) } else { result.isComplete = false }
        }
        return result
    }

    /// What a source's columns are called; nil if that is not known.
    private func columns(of source: Int, _ names: SelectNames) -> [String]? {
        if names.select.sources[source].columnNames != nil { return nil }
        if let relation = names.relations[source] { return relation.columns.map(\.name) }
        guard case .derived(let level) = names.select.sources[source].content else { return nil }
        return self[level].isComplete ? self[level].named.keys.sorted() : nil
    }

    private func entry(_ name: String, _ source: Int, _ names: SelectNames, _ isMerged: [Bool]) -> Entry {
        entry(names.holding(source, name, self), source, names, isMerged)
    }

    /// Where the values of a source's column come from.
    func entry(
        _ holding: SelectNames.Holding, _ source: Int, _ names: SelectNames, _ isMerged: [Bool]
    ) -> Entry {
        switch holding {
        case .column(let column):
            let place = SelectNames.Place(source: source, column: column)
            guard case .derived(let level) = names.select.sources[source].content else {
                return Entry(typed: place, base: place)
            }
            // Of a view, whose query gives its columns in their order.
            let list = self[level].list
            let inner = list.flatMap { $0.indices.contains(column) ? $0[column].entry : nil }
            return Entry(typed: place, base: isMerged[level] ? inner?.base : nil)
        case .result(let entry):
            guard case .derived(let level) = names.select.sources[source].content else { return Entry() }
            return Entry(typed: entry.typed, base: isMerged[level] ? entry.base : nil)
        case .held, .absent, .unknown: return Entry()
        }
    }
}
