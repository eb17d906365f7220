/// Reads everything when nothing goes wrong any more, each statement until it is a hit [6]: alone, inside of
/// transaction blocks, and behind what changes settings and takes them back.
///
/// Not expected: a hit for an answer that fails, or that has no room; nor, where hits are read from rows alone, for
/// what rows do not promise.
final class CalmReader {
    /// A statement, and what the session does before it each time.
    struct Question {
        var before: [Step.Action] = []
        var step: Step
    }
    /// What must become a hit.
    enum Promise {
        /// Answers up to so many bytes are kept.
        case memo(bytesMax: Int)
        /// All rows of every table are there; the cache database has never failed to execute anything. Answers go
        /// through the memo all the same.
        case rows(bytesMax: Int)
        case nothing
    }
    var client: Client?
    private let questions: [Question]
    private let promise: Promise
    private var next = 0
    private var tries = 0
    /// The statement that was not a hit however often it was asked.
    private(set) var givenUp: String?

    private static let triesMax = 240
    private static let triesOfAManner = 40
    /// Between two tries, when the first ones were in vain: what was refused is asked for again after seconds.
    private static let pauses = [20 * millisecond, 500 * millisecond]

    init(_ questions: [Question], _ promise: Promise) {
        self.questions = questions
        self.promise = promise
    }

    var isDone: Bool { next == questions.count && client?.isDone == true }

    func askNext() {
        guard next < questions.count else { return }
        ask(questions[next].step)
    }

    private func ask(_ step: Step, after pause: UInt64 = 0) {
        var steps = pause > 0 ? [Step(seed: 0, action: .think(pause))] : []
        steps += questions[next].before.map { Step(seed: step.seed, action: $0) }
        client?.give(steps + [step])
    }

    private static let plainTables = [Table.account, Table.entry, Table.branch]

    func answered(_ exchange: Exchange, wasHit: Bool) {
        guard next < questions.count, givenUp == nil else { return }
        guard case .select = exchange.statement else { return }
        if wasHit || !isExpected(exchange) {
            next += 1
            tries = 0
            askNext()
            return
        }
        tries += 1
        let question = questions[next]
        if tries == CalmReader.triesMax {
            givenUp = exchange.statement.sql + " as " + (question.before + [question.step.action]).map(\.words)
                .joined(separator: ", ")
            return
        }
        // In the same manner for a while, since formats and types belong to the key; then in another, for
        // there are manners that are never answered from the cache, such as a named portal.
        let seed = question.step.seed &+ UInt64(tries / CalmReader.triesOfAManner)
        ask(
            Step(seed: seed, action: question.step.action),
            after: CalmReader.pauses[tries < CalmReader.triesOfAManner ? 0 : 1])
    }

    private func isExpected(_ exchange: Exchange) -> Bool {
        guard case .rows(_, let rows, _) = exchange.reply else { return false }
        switch promise {
        case .memo(let bytesMax): return rows.count + 1024 < bytesMax
        case .nothing: return false
        case .rows(let bytesMax):
            guard rows.count + 1024 < bytesMax else { return false }
            // What has failed once is not read there again, and neither is what a search path decides.
            guard case .select(let select) = exchange.statement else { return false }
            if case .quotient = select.output { return false }
            return select.tablesRead.allSatisfy(CalmReader.plainTables.contains)
        }
    }
}

extension Workload {
    /// What is asked when all is calm.
    func calmQuestions() -> [CalmReader.Question] {
        let steps = reading(0)
        var questions = steps.map { CalmReader.Question(step: $0) }
        for (place, step) in steps.enumerated() where place < 24 {
            let list = step.action.statements
            // What was prepared under other settings is the origin's business from then on.
            let discard = Step.Action.query(BoundStatement(.setting(.discardAll)))
            switch place % 3 {
            case 0:
                var block = TransactionBlock(statements: list)
                block.isPlain = true
                questions.append(CalmReader.Question(step: Step(seed: step.seed, action: .transaction(block))))
            case 1:
                questions.append(CalmReader.Question(before: [discard], step: step))
            default:
                let style = Setting.dateStyle.values[place % 2]
                let there = BoundStatement(.setting(.set(.dateStyle, style, isLocal: false)))
                let own = BoundStatement(.setting(.set(.custom, "\(place)", isLocal: false)))
                questions.append(CalmReader.Question(before: [discard, .query(there), .query(own)], step: step))
            }
        }
        return questions
    }
}
