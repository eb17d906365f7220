import PGProtocol
import Testing

@testable import Cache

/// One question to the catalog at a time.
@Suite struct QuestionsTests {
    private let query = OriginQuery("select 1")
    private let subject = RightsSubject(
        role: 0, ResolvedQuery(uses: [], functions: [], isRowForRow: false, parameterCount: 0))

    private func kind(_ subject: Questions.Subject?) -> String {
        switch subject {
        case .catalog: "catalog"
        case .rights, .confirmation: "rights"
        case .poll: "poll"
        case .stale: "stale"
        case nil: "none"
        }
    }

    @Test func theNextIsAskedWhenTheLastIsAnswered() {
        var questions = Questions()
        _ = questions.ask(.rights(subject), query)
        _ = questions.ask(.poll(proving: CatalogPoll.Unproven()), CatalogPoll.query())
        #expect(questions.next() == query)
        #expect(questions.next() == nil)
        #expect(kind(questions.answered()) == "rights")
        #expect(questions.next() == CatalogPoll.query())
        #expect(kind(questions.answered()) == "poll")
        #expect(questions.isEmpty && questions.next() == nil)
    }

    @Test func anAnswerThatNobodyAskedForIsNone() {
        var questions = Questions()
        #expect(kind(questions.answered()) == "none")
    }

    /// [D1] What was asked before the schema changed says nothing any more.
    @Test func aChangeOfTheSchemaMakesAnswersStale() {
        var questions = Questions()
        _ = questions.ask(.rights(subject), query)
        _ = questions.ask(.rights(subject), query)
        _ = questions.ask(.poll(proving: CatalogPoll.Unproven()), CatalogPoll.query())
        _ = questions.next()
        questions.schemaChanged()
        #expect(kind(questions.answered()) == "stale")
        #expect(questions.next() == CatalogPoll.query())
        questions.schemaChanged()
        #expect(kind(questions.answered()) == "poll")
    }

    @Test func thereIsALimit() {
        var questions = Questions()
        let poll = Questions.Subject.poll(proving: CatalogPoll.Unproven())
        let taken = (0...Questions.countMax).filter { _ in questions.ask(poll, query) }
        #expect(taken.count == Questions.countMax)
        _ = questions.next()
        let hasRoom = questions.ask(poll, query)
        #expect(hasRoom)
    }
}
