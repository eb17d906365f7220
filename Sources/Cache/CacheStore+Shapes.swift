import PGProtocol

/// From a text that was never seen to a classified statement without the parser, if its shape is known [K2].
///
///     shape: new ─second text→ learning ─a text is settled→ learned
///                                  └── three times not certain → unfit
extension CacheStore {
    static let shapeAttemptsMax = 3

    /// Classifies a statement by what was learned of its shape. False where its text has to be parsed.
    func classifyByShape(_ statement: UnsafeMutablePointer<Statement>) -> Bool {
        let text = statement.pointee.text
        let rest = statement.pointee.key.view.dropFirst(min(text.count + 1, statement.pointee.key.count))
        guard let key = shapeScanner.scan(text, rest: rest),
            let (id, shape, wasThere) = shapesSeen.find(profile: statement.pointee.profile, key: key), wasThere
        else { return false }
        statement.pointee.shape = id
        switch shape.state {
        case .new:
            shape.state = .learning
            return false
        case .learning, .unfit:
            return false
        case .learned(let facts, let lesson):
            counters.statementsByShape += 1
            facts.apply(to: &statement.pointee)
            statement.pointee.query = lesson.query(for: text, shapeScanner.constants)
            statement.pointee.rolesAllowed = shape.rolesAllowed
            if facts.state == .cacheable { statements.elect(statement) }
            return true
        }
    }

    /// A statement is settled: learns what all texts of its shape have in common, if it is time to.
    ///
    /// `resolution`: what became of it; nil where its names were not looked up. `resolve` does the same with another
    /// text.
    func learnShape(
        of statement: UnsafeMutablePointer<Statement>, _ parsed: ParsedStatement, _ resolution: Resolution?,
        resolve: (ParsedStatement) -> Resolution?
    ) {
        guard let shape = shapesSeen[statement.pointee.shape], case .learning = shape.state else { return }
        let text = statement.pointee.text
        shape.attempts += 1
        if shapeScanner.scan(text, rest: text.slice(from: 0, count: 0)) != nil,
            let lesson = Lesson(
                text, shapeScanner.constants, parsed, resolution, relation: { catalog.relation($0) }, resolve: resolve),
            (lesson.query != nil) == (statement.pointee.state == .cacheable)
        {
            shape.state = .learned(StatementFacts(statement.pointee), lesson)
        } else if !parsed.isLiftable || shape.attempts >= Self.shapeAttemptsMax {
            shape.state = .unfit
        }
    }
}

extension CacheStore {
    /// Classifies a text that nobody sent, under no settings but this search path; whether it is cacheable. For
    /// measurements: `pgcache-perf classify`.
    ///
    /// - Parameter key: the text and its NUL.
    package func classify(_ key: ByteView, searchPath: [String]) -> Bool {
        let profile = UInt32.max - 1
        if searchPaths[profile] == nil { searchPaths[profile] = searchPath }
        return statement(profile: profile, key: key, true)?.pointee.state == .cacheable
    }
}

/// What was found out about a statement, its constants aside.
struct StatementFacts {
    let effect: StatementEffect
    let state: Statement.State
    let reason: ForwardReason
    let hasNames: Bool
    let mayBeCached: Bool
    let readsRows: Bool
    let isRowWindow: Bool
    let projection: UInt32?

    init(_ statement: Statement) {
        effect = statement.effect
        state = statement.state
        reason = statement.reason
        hasNames = statement.hasNames
        mayBeCached = statement.mayBeCached
        readsRows = statement.readsRows
        isRowWindow = statement.isRowWindow
        projection = statement.projection
    }

    /// To a statement that nothing was found out about yet.
    func apply(to statement: inout Statement) {
        statement.effect = effect
        statement.state = state
        statement.reason = reason
        statement.hasNames = hasNames
        statement.mayBeCached = mayBeCached
        statement.readsRows = readsRows
        statement.isRowWindow = isRowWindow
        statement.projection = projection
        statement.isEffectPending = false
    }
}
