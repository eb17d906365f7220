import Cache
import PGProtocol
import Testing

@testable import Simulation

@Suite struct StatementTextTests {
    static let texts: [(Simulation.Statement, String)] = [
        (
            .select(
                Select(
                    table: Table.account, conditions: [.a(1, .equals(.constant(.int(3))))],
                    output: .columns([.a(0), .a(2)]), isOrdered: true, limit: 5)),
            "select a.id, a.balance from account a where a.branch = 3 order by a.id limit 5"
        ),
        (
            .select(
                Select(
                    table: Table.account,
                    join: .init(
                        kind: .left, table: Table.branch, left: 1, right: 0,
                        conditions: [.b(2, .equals(.constant(.bool(true))))]),
                    conditions: [.a(2, .atLeast(.constant(.int(-5)))), .b(1, .isNull)],
                    output: .columns([.a(0), .b(1)]), isOrdered: true)),
            "select a.id, b.name from account a left join branch b on a.branch = b.id and b.open = true"
                + " where a.balance >= -5 and b.name is null order by a.id, b.id"
        ),
        (
            .select(
                Select(
                    table: Table.entry, conditions: [.a(3, .among([.constant(.text("it's")), .parameter(1)]))],
                    output: .totals(.a(2)))),
            "select count(*), sum(a.amount) from entry a where a.state in ('it''s', $1)"
        ),
        (
            .select(Select(table: Table.account, output: .quotient(2))),
            "select a.id, 1000 / a.balance from account a"
        ),
        (
            .insert(
                Insert(
                    table: Table.account,
                    rows: [
                        [.constant(.int(1)), .constant(.null), .constant(.int(3)), .constant(.text("x"))],
                        [.parameter(1), .parameter(2), .parameter(3), .parameter(4)],
                    ])),
            "insert into account values (1, null, 3, 'x'), ($1, $2, $3, $4)"
        ),
        (
            .update(
                Update(
                    table: Table.account, assignments: [.add(2, .constant(.int(-5))), .set(3, .parameter(1))],
                    conditions: [.id(3), .a(1, .isNotNull)])),
            "update account set balance = balance + -5, note = $1 where id = 3 and branch is not null"
        ),
        (.delete(Delete(table: Table.branch, conditions: [])), "delete from branch"),
        (.truncate([Table.account, Table.entry]), "truncate account, entry"),
        (.begin(.repeatableRead), "begin isolation level repeatable read"), (.ping, "select 1"),
    ]

    @Test(arguments: StatementTextTests.texts)
    func statementsReadAsAPersonWouldWriteThem(statement: Simulation.Statement, text: String) {
        #expect(statement.sql == text)
    }

    @Test func twoStatementsNeverHaveTheSameText() {
        var statements: [String: Simulation.Statement] = [:]
        for seed in 0..<20 {
            var draw = StatementDraw(seed: UInt64(seed))
            for _ in 0..<2000 {
                let statement = draw.statement()
                let text = statement.sql
                if let other = statements[text] { #expect(other == statement, "\(text)") }
                statements[text] = statement
            }
        }
        #expect(statements.count > 10_000)
    }

    @Test func parametersHaveTheTypesOfTheirColumns() {
        #expect(Self.texts[2].0.parameterTypes == [.text])
        #expect(Self.texts[4].0.parameterTypes == [.int4, .int4, .int4, .text])
        #expect(Self.texts[5].0.parameterTypes == [.text])
        let joined = Select(
            table: Table.account,
            join: .init(
                kind: .left, table: Table.branch, left: 1, right: 0, conditions: [.b(2, .equals(.parameter(2)))]),
            conditions: [.a(0, .less(.parameter(1)))], output: .columns([.b(2), .a(3)]))
        #expect(Simulation.Statement.select(joined).parameterTypes == [.int4, .bool])
        #expect(joined.outputTypes == [.bool, .text])
        #expect(Simulation.Statement.ping.parameterTypes == [])
    }

    private func parse(_ text: String) -> ParsedStatement {
        withView(Array(text.utf8)) {
            StatementParser.parse($0, standardConformingStrings: true, bytesMax: 1 << 16)
        }
    }

    @Test func thereAreNoSelectsThatTheParserWouldForward() {
        var draw = StatementDraw(seed: 3)
        for _ in 0..<500 {
            let text = Simulation.Statement.select(draw.select()).sql
            if case .forward(let reason) = parse(text).body { Issue.record("\(reason): \(text)") }
        }
    }

    @Test func theOthersAreForwarded() {
        for (statement, text) in Self.texts {
            if case .select = statement { continue }
            guard case .forward = parse(text).body else {
                Issue.record("\(text)")
                continue
            }
        }
        #expect(parse(Simulation.Statement.nonsense.sql).body == .forward(.unparsable))
        #expect(parse(Simulation.Statement.delete(Delete(table: 0, conditions: [])).sql).effect.contains(.mayWrite))
    }
}
