/// Reads everything when nothing goes wrong any more, each statement until it is a hit [6].
///
/// Not expected: a hit for an answer that fails, or that has no room.
final class CalmReader {
    var client: Client?
    private let steps: [Step]
    private let bytesMax: Int
    private var next = 0
    private var tries = 0
    /// The statement that was not a hit however often it was asked.
    private(set) var givenUp: String?

    private static let triesMax = 240
    private static let triesOfAManner = 40
    /// Between two tries, when the first ones were in vain: what was refused is asked for again after seconds.
    private static let pauses = [20 * millisecond, 500 * millisecond]

    init(_ steps: [Step], bytesMax: Int) {
        self.steps = steps
        self.bytesMax = bytesMax
    }

    var isDone: Bool { next == steps.count && client?.isDone == true }

    func askNext() {
        guard next < steps.count else { return }
        client?.give([steps[next]])
    }

    func answered(_ exchange: Exchange, wasHit: Bool) {
        guard next < steps.count, givenUp == nil else { return }
        if wasHit || !isExpected(exchange) {
            next += 1
            tries = 0
            askNext()
            return
        }
        tries += 1
        if tries == CalmReader.triesMax {
            givenUp = exchange.statement.sql
            return
        }
        // In the same manner for a while, since formats and types belong to the key; then in another, for
        // there are manners that are never answered from the cache, such as a named portal.
        let seed = steps[next].seed &+ UInt64(tries / CalmReader.triesOfAManner)
        let pause = CalmReader.pauses[tries < CalmReader.triesOfAManner ? 0 : 1]
        let again = Step(seed: seed, action: steps[next].action)
        client?.give([Step(seed: 0, action: .think(pause)), again])
    }

    private func isExpected(_ exchange: Exchange) -> Bool {
        guard case .select = exchange.statement, case .rows(_, let rows, _) = exchange.reply else { return false }
        return rows.count + 1024 < bytesMax
    }
}
