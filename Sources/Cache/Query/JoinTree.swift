/// The joins of a SELECT with simple subqueries, views and common table expressions dissolved in the level that reads
/// them [I1].
///
/// A level is *merged* into the one around if it is read once and each row of it stands for rows of its FROM: its FROM
/// becomes part of the join tree around, under an inner join of its own whose ON is its WHERE. Then a condition on its
/// result is one on the tables below.
struct JoinTree {
    typealias Step = ParsedSelect.Step

    /// Those of the SELECT, and behind them one for each merged level.
    private(set) var joins: [ParsedSelect.Join]
    /// Of each source the joins that it is in, the outermost first, up to the level where merging ends.
    private(set) var paths: [[Step]] = []
    /// Of each level the one that it is merged into, in the end; itself if it is not.
    private(set) var roots: [Int] = []
    /// Where a level's WHERE holds.
    private(set) var scopes: [ParsedSelect.Scope] = []
    private(set) var isMerged: [Bool] = []

    /// `reshaping`: the functions by whose call the rows of a level are not those of its FROM.
    init(_ select: ParsedSelect, reshaping: Set<String>) {
        joins = select.joins
        var readers = [[Int]](repeating: [], count: select.levels.count)
        for (index, source) in select.sources.enumerated() {
            if case .derived(let level) = source.content { readers[level].append(index) }
        }
        isMerged = select.levels.indices.map {
            readers[$0].count == 1 && select.levels[$0].isSimple && select.levels[$0].calls.isDisjoint(with: reshaping)
        }
        var prefixes: [[Step]] = []
        for level in select.levels.indices {
            guard isMerged[level] else {
                roots.append(level)
                scopes.append(.whole(level))
                prefixes.append([])
                continue
            }
            scopes.append(.on(joins.count))
            prefixes.append([Step(join: joins.count, isRightArm: false)])
            joins.append(ParsedSelect.Join(kind: .inner, level: level))
            roots.append(level)
        }
        // Up from each level to where merging ends; no level is read by what it reads.
        let own = prefixes
        for level in select.levels.indices {
            var root = level
            for _ in select.levels.indices {
                guard isMerged[root], let reader = readers[root].first else { break }
                let source = select.sources[reader]
                prefixes[level] = own[source.level] + source.path + prefixes[level]
                root = source.level
            }
            roots[level] = root
        }
        paths = select.sources.map { prefixes[$0.level] + $0.path }
    }

    /// Whether a row without its relation's values is possible where all of these steps were taken.
    func isNullable(_ path: some Sequence<Step>) -> Bool {
        path.contains { joins[$0.join].isNullable(rightArm: $0.isRightArm) }
    }
}

extension ParsedSelect.Level {
    /// Each row of it stands for rows of its FROM, whatever the functions that it calls do.
    fileprivate var isSimple: Bool {
        !hasLimit && !hasGrouping && !hasWindow && !isSetOperation && !isValues && !isRecursive
    }
}
