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
        case .pool: "pool"
        case .database: "database"
        case .zone: "zone"
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

/// What is known of the parts of a right.
@Suite struct RightsSubjectTests {
    private func subject(_ relations: Set<OID>, functions: [OID] = [], owner: String? = nil) -> RightsSubject {
        let needs = [RightsNeed(role: owner, relations: relations, columns: [ColumnName(relation: OID(1), number: 1)])]
        return RightsSubject(
            role: 0,
            ResolvedQuery(uses: [], functions: functions, isRowForRow: false, parameterCount: 0, rights: needs))
    }

    @Test func wholeRelationsAndFunctionsMakeUpAJoin() {
        let known = Set(
            subject([OID(1)]).ofAllColumns.parts + subject([OID(2)], functions: [OID(9)]).ofAllColumns.parts)
        #expect(known.isSuperset(of: subject([OID(1), OID(2)], functions: [OID(9)]).ofAllColumns.parts))
        #expect(!known.isSuperset(of: subject([OID(1), OID(3)]).ofAllColumns.parts))
        #expect(!known.isSuperset(of: subject([OID(1)], functions: [OID(8)]).ofAllColumns.parts))
        #expect(!known.isSuperset(of: subject([OID(1)], owner: "somebody").ofAllColumns.parts))
    }

    @Test func someColumnsSayNothingOfTheRelation() {
        #expect(subject([OID(1)], functions: [OID(9)]).parts == subject([], functions: [OID(9)]).parts)
    }
}
