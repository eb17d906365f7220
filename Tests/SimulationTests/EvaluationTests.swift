import PGProtocol
import Testing

@testable import Simulation

@Suite struct EvaluationTests {
    // MARK: Three-valued logic

    @Test func aComparisonWithNullIsUnknown() {
        let null = Operand.constant(.null)
        let one = Operand.constant(.int(1))
        for test in [
            Condition.Test.equals(null), .differs(null), .less(null), .atLeast(null), .among([null]),
        ] { #expect(test.truth(of: .int(1), []) == nil) }
        for test in [Condition.Test.equals(one), .differs(one), .less(one), .atLeast(one), .among([one])] {
            #expect(test.truth(of: .null, []) == nil)
        }
    }

    @Test func inIsTrueWhereOneIsEqualAndElseUnknownWithNull() {
        let list = Condition.Test.among([.constant(.null), .constant(.int(2)), .parameter(1)])
        #expect(list.truth(of: .int(2), [.int(3)]) == true)
        #expect(list.truth(of: .int(3), [.int(3)]) == true)
        #expect(list.truth(of: .int(4), [.int(3)]) == nil)
        #expect(Condition.Test.among([.constant(.int(2))]).truth(of: .int(4), []) == false)
    }

    @Test func nullTestsAreNeverUnknown() {
        #expect(Condition.Test.isNull.truth(of: .null, []) == true)
        #expect(Condition.Test.isNull.truth(of: .text(""), []) == false)
        #expect(Condition.Test.isNotNull.truth(of: .null, []) == false)
        #expect(Condition.Test.isNotNull.truth(of: .bool(false), []) == true)
    }

    @Test func textComparesByItsBytes() {
        #expect(Datum.less(.text("B"), .text("a")) == true)
        #expect(Datum.less(.text("a"), .text("ab")) == true)
        #expect(Datum.less(.bool(false), .bool(true)) == true)
        #expect(Datum.less(.int(-1), .int(0)) == true)
    }

    // MARK: Rows

    static let accounts: [VisibleRow] = [
        VisibleRow(row: [.int(1), .int(1), .int(100), .text("n1")], lsn: LSN(10)),
        VisibleRow(row: [.int(2), .int(2), .int(0), .null], lsn: LSN(20)),
        VisibleRow(row: [.int(3), .null, .int(-300), .text("n3")], lsn: LSN(30)),
        VisibleRow(row: [.int(4), .int(1), .int(7), .text("n4")], lsn: LSN(40)),
    ]
    static let branches: [VisibleRow] = [
        VisibleRow(row: [.int(1), .text("b1"), .bool(true)], lsn: LSN(11)),
        VisibleRow(row: [.int(2), .text("b2"), .bool(false)], lsn: LSN(12)),
        VisibleRow(row: [.int(9), .text("b9"), .bool(true)], lsn: LSN(19)),
    ]

    private func answer(
        _ output: Select.Output, join: Select.Join? = nil, _ conditions: [Condition] = [], limit: Int? = nil
    ) -> Answer {
        Evaluation.answer(
            Select(table: Table.account, join: join, conditions: conditions, output: output, limit: limit), [],
            first: Self.accounts, second: join == nil ? [] : Self.branches)
    }
    private func join(_ kind: Select.Join.Kind, _ conditions: [Condition] = []) -> Select.Join {
        Select.Join(kind: kind, table: Table.branch, left: 1, right: 0, conditions: conditions)
    }
    private let pair = Select.Output.columns([.a(0), .b(0)])
    private let isOpen = Condition.b(2, .equals(.constant(.bool(true))))

    @Test func onlyTrueConditionsLetRowsPass() {
        let notOne = Condition.a(1, .differs(.constant(.int(1))))
        #expect(answer(.columns([.a(0)]), [notOne]).rows == [[.int(2)]])
        #expect(answer(.columns([.a(0)]), [.a(1, .isNull)]).rows == [[.int(3)]])
        #expect(answer(.columns([.a(0)]), [.a(1, .equals(.constant(.null)))]).rows == [])
    }

    @Test func anInnerJoinLeavesOutWhatHasNoPartner() {
        #expect(answer(pair, join: join(.inner)).rows == [[.int(1), .int(1)], [.int(2), .int(2)], [.int(4), .int(1)]])
        #expect(answer(pair, join: join(.inner, [isOpen])).rows == [[.int(1), .int(1)], [.int(4), .int(1)]])
    }

    @Test func aLeftJoinKeepsEveryRowOfItsLeft() {
        #expect(
            answer(pair, join: join(.left)).rows
                == [[.int(1), .int(1)], [.int(2), .int(2)], [.int(3), .null], [.int(4), .int(1)]])
    }

    @Test func onOfALeftJoinRemovesPartnersAndNoRows() {
        #expect(
            answer(pair, join: join(.left, [isOpen])).rows
                == [[.int(1), .int(1)], [.int(2), .null], [.int(3), .null], [.int(4), .int(1)]])
        let isPoor = Condition.a(2, .less(.constant(.int(50))))
        #expect(
            answer(pair, join: join(.left, [isPoor])).rows
                == [[.int(1), .null], [.int(2), .int(2)], [.int(3), .null], [.int(4), .int(1)]])
    }

    @Test func whereBehindALeftJoinSeesItsNulls() {
        #expect(answer(pair, join: join(.left), [isOpen]).rows == [[.int(1), .int(1)], [.int(4), .int(1)]])
        #expect(answer(pair, join: join(.left), [.b(0, .isNull)]).rows == [[.int(3), .null]])
        // A partner that WHERE removes is not replaced by NULLs.
        #expect(answer(pair, join: join(.left), [.b(1, .isNull)]).rows == [[.int(3), .null]])
        #expect(
            answer(pair, join: join(.left, [isOpen]), [.b(0, .isNull)]).rows == [[.int(2), .null], [.int(3), .null]])
    }

    @Test func aJoinOnAColumnThatIsNoKeyFindsEveryPartner() {
        let select = Select(
            table: Table.branch, join: .init(kind: .left, table: Table.account, left: 0, right: 1), output: pair)
        let answer = Evaluation.answer(select, [], first: Self.branches, second: Self.accounts)
        #expect(answer.rows == [[.int(1), .int(1)], [.int(1), .int(4)], [.int(2), .int(2)], [.int(9), .null]])
    }

    @Test func totalsOfNoRowsAreZeroAndNull() {
        #expect(answer(.totals(.a(2))).rows == [[.int(4), .int(-193)]])
        #expect(answer(.totals(.a(1))).rows == [[.int(4), .int(4)]])
        #expect(answer(.totals(.a(2)), [.id(8)]).rows == [[.int(0), .null]])
        #expect(answer(.totals(.b(0)), join: join(.left), [.b(0, .isNull)]).rows == [[.int(1), .null]])
        #expect(answer(.totals(.a(2)), limit: 1).rows == [[.int(4), .int(-193)]])
        #expect(answer(.totals(.a(2)), limit: 0).rows == [])
    }

    @Test func aQuotientIsTruncatedAndFailsAtZeroBehindTheRowsBefore() {
        let failed = answer(.quotient(2))
        #expect(failed.rows == [[.int(1), .int(10)]])
        #expect(failed.error == OriginError(state: "22012", message: "division by zero"))
        #expect(failed.shown == [.init(table: Table.account, id: 1, lsn: LSN(10))])
        let rest = answer(.quotient(2), [.a(0, .differs(.constant(.int(2))))])
        #expect(rest.error == nil)
        #expect(rest.rows == [[.int(1), .int(10)], [.int(3), .int(-3)], [.int(4), .int(142)]])
        #expect(answer(.quotient(2), limit: 1).error == nil)
        #expect(answer(.quotient(1), [.a(1, .isNull)]).rows == [[.int(3), .null]])
    }

    @Test func anAnswerNamesTheVersionsThatItShows() {
        let shown = answer(pair, join: join(.left), limit: 3).shown
        #expect(
            shown == [
                .init(table: Table.account, id: 1, lsn: LSN(10)), .init(table: Table.branch, id: 1, lsn: LSN(11)),
                .init(table: Table.account, id: 2, lsn: LSN(20)), .init(table: Table.branch, id: 2, lsn: LSN(12)),
                .init(table: Table.account, id: 3, lsn: LSN(30)),
            ])
        #expect(answer(.totals(.a(2)), [.a(1, .equals(.constant(.int(1))))]).shown.map(\.id) == [1, 4])
    }

    @Test func keysComeFromEqualitiesOfTheKey() {
        let list = Condition.a(0, .among([.constant(.int(9)), .parameter(1), .constant(.null), .constant(.int(9))]))
        #expect(Evaluation.keys([list], [.int(2)]) == [2, 9])
        #expect(Evaluation.keys([.id(3)], []) == [3])
        #expect(Evaluation.keys([.a(0, .equals(.parameter(1)))], [.null]) == [])
        #expect(Evaluation.keys([.b(0, .equals(.constant(.int(1)))), .a(0, .isNotNull)], []) == nil)
    }
}
