import PGProtocol
import Testing

@testable import Cache

/// What is learned of a shape says of its texts what the parser and the catalog would say [K2] [I1].
@Suite struct LessonTests {
    private let catalog = FixtureCatalog()
    private let scanner = ShapeScanner()

    private func parse(_ text: [UInt8]) -> ParsedStatement {
        withView(text) { StatementParser.parse($0, standardConformingStrings: true, bytesMax: 1 << 16) }
    }

    private func resolve(_ parsed: ParsedStatement) -> Resolution {
        parsed.resolved(with: catalog, allows: { _ in true })
    }

    private func lesson(_ text: String) -> Lesson? {
        let parsed = parse(Array(text.utf8))
        return withView(Array(text.utf8)) { view in
            guard scanner.scan(view, rest: view.slice(from: 0, count: 0)) != nil else { return nil }
            return Lesson(
                view, scanner.constants, parsed, resolve(parsed),
                relation: { oid in catalog.relations.values.first { $0.oid == oid } }, resolve: resolve)
        }
    }

    private func key(_ text: String) -> [UInt8]? {
        withView(Array(text.utf8)) { scanner.scan($0, rest: $0.slice(from: 0, count: 0))?.bytes }
    }

    private func query(_ lesson: Lesson, for text: String) -> ResolvedQuery? {
        withView(Array(text.utf8)) { view in
            guard scanner.scan(view, rest: view.slice(from: 0, count: 0)) != nil else { return nil }
            return lesson.query(for: view, scanner.constants)
        }
    }

    /// Each `?` becomes a constant of its kind, another one each time.
    static let templates = [
        "select id from t where a = ?i", "select id from t where a = -?i", "select id from t where a = - ?i",
        "select id from t where a = ?i and b = ?i", "select id from t where a = ?i or a = ?i",
        "select id from t where a in (?i, ?i, ?i)", "select id from t where a between ?i and ?i",
        "select id from t where a > ?i and a < ?i", "select id from t where a > ?i and a >= ?i",
        "select id from t where ?i = a", "select id from t where a = ?i and a = ?i",
        "select ?i, id from t where a = ?i", "select id from t where b = ?l", "select id from t where b = -?l",
        "select id from t where s = ?i", "select id from t where o = ?i", "select id from t where o = ?d",
        "select id from t where a = ?d", "select id from t where a = ?d and name = ?s",
        "select id from t where name = ?s", "select id from t where name in (?s, ?s)",
        "select id from t where name = ?d", "select id from t where code = ?s", "select id from t where label = ?s",
        "select id from t where key = ?u", "select id from t where key = ?u::uuid",
        "select id from t where flag = ?b", "select id from t where flag = ?b and name = ?b",
        "select id from t where flag and a = ?i", "select id from t where price = ?n",
        "select id from t where price > ?i", "select id from t where day = ?t",
        "select id from t where day >= ?t and day < ?t", "select id from t where day = ?t::date",
        "select id from t where at > ?t", "select id from t where a = ?i::bigint",
        "select id from t where name like ?s", "select id from t where name like ?p",
        "select id from t where name ilike ?p", "select id from t where a = any(?r)",
        "select id from t where a = any(array[?i, ?i])", "select id from t where a = ?i order by 1 limit 10",
        "select lower(name), ?s from t where a = ?i", "select t.id from t join u on t.a = u.a where t.a = ?i",
        "select t.id from t join u on t.a = u.a and u.b = ?i",
        "select t.id from t left join u on t.a = u.a and u.b = ?i where t.a = ?i",
        "select t.id from t, u where t.a = u.a and t.a = ?i and u.a = ?i and t.b = ?i",
        "select count(*) from t where a = ?i group by b having count(*) > ?i", "select id from t where not (a = ?i)",
        "select id from t where a = ?i + ?i", "select id from t where coalesce(a, ?i) = ?i",
        "select id from t where a is not null and a = ?i", "select case when a = ?i then ?s else ?s end from t",
        "select id from t where name = ?w", "select id from t where name = ?w and a = ?i",
        "select id from v1 where id = ?i", "select id from missing where id = ?i",
        "select id from parent where a = ?i", "select nextval(?s) from t",
        "select to_char(at, ?s) from t where a = ?i", "select id from t where nothing = ?i",
        "select id from t where a = (select max(a) from u where b = ?i)", "select id from t where doubled = ?i",
        "select id from t where exists (select from u where u.a = t.a and u.b = ?i)",
        "select id from t where a <> ?i", "select a from t where id = ?i union select a from u where id = ?i",
        "with x as (select ?i) select * from x", "insert into t (id, a, name) values (?i, ?i, ?s)",
        "insert into t values (?i), (?i), (?i)", "update t set a = ?i, name = ?s where id = ?i",
        "delete from t where id = ?i", "delete from t where name = ?s",
        "update t set a = a + ?i where key = ?u returning id", "insert into ruled values (?i)",
        "insert into t (id) values (?i) on conflict (id) do update set a = ?i", "select id from t where -a = -?i",
        "select id from t where a = ?i and -?i < b", "select id from t where a = ?i limit 5 offset 10",
        "values (?i, ?s)", "select 1 where ?i = ?i", "select id from t where a in (?i) and b in (?i, ?l)",
    ]

    /// A constant of a kind, numbered.
    private func constant(_ kind: Character, _ number: Int) -> String {
        switch kind {
        case "i": "\(number * 37 % 100_000)"
        case "l": "\(3_000_000_000 + number)"
        case "n": "\(number).\(number % 90 + 10)"
        case "d": "'\(number * 11)'"
        case "s": ["'word \(number)'", "'it''s \(number)'", "'\(number)'", "''", "'a%\(number)'",
            "'\(number)_%'"][number % 6]
        case "w": "'größe \(number)'"
        case "u": "'0000000\(number % 10)-0000-4000-8000-0000000\(10_000 + number)'"
        case "b": ["'t'", "'f'", "'true'", "'false'", "'word'"][number % 5]
        case "t": "'20\(number % 90 + 10)-0\(number % 9 + 1)-1\(number % 10)'"
        case "p": ["'abc\(number)%'", "'%abc\(number)'", "'a_\(number)'", "'abc\(number)'"][number % 4]
        case "r": ["'{\(number), 2}'", "'{\(number)}'", "'{}'", "'{\(number),NULL}'"][number % 4]
        default: "?"
        }
    }

    private func text(_ template: String, _ seed: Int) -> String {
        var text = ""
        var number = seed
        var pieces = template.split(separator: "?", omittingEmptySubsequences: false)[...]
        text += pieces.removeFirst()
        for piece in pieces {
            number += 7
            text += constant(piece.first ?? "i", number) + piece.dropFirst()
        }
        return text
    }

    /// One use's constraints by one reading are among those of the other.
    private func isWithin(_ learned: RelationUse, _ parsed: RelationUse) -> Bool {
        learned.relation == parsed.relation && learned.constraints.allSatisfy { parsed.constraints.contains($0) }
    }

    @Test(arguments: templates)
    func aLessonSaysWhatTheParserSays(template: String) throws {
        var compared = 0
        for seed in 0..<6 {
            let first = text(template, seed)
            guard let lesson = lesson(first) else { continue }
            for other in (0..<12).map({ text(template, $0 * 5 + seed) }) where key(other) == key(first) {
                let parsed = parse(Array(other.utf8))
                #expect(parsed.isLiftable && parsed.isAlike(parse(Array(first.utf8))), "\(first) → \(other)")
                compared += 1
                switch (resolve(parse(Array(first.utf8))), resolve(parsed)) {
                case (.forward(let reason, let isUnknown), .forward(let others, let othersUnknown)):
                    #expect(lesson.query == nil && reason == others && isUnknown == othersUnknown, "\(other)")
                case (.cacheable, .cacheable(let expected)):
                    let learned = try #require(query(lesson, for: other), "\(other)")
                    #expect(learned.uses.count == expected.uses.count, "\(first) → \(other)")
                    for (one, another) in zip(learned.uses, expected.uses) {
                        #expect(isWithin(one, another), "\(first) → \(other): \(one) \(another)")
                    }
                    #expect(learned.columns == expected.columns && learned.functions == expected.functions)
                    #expect(learned.rights == expected.rights && learned.isRowForRow == expected.isRowForRow)
                    #expect(learned.isPointRead == expected.isPointRead)
                    #expect(learned.classes == expected.classes && learned.parameterCount == expected.parameterCount)
                default: Issue.record("\(first) and \(other) are not alike")
                }
            }
        }
        #expect(compared > 0 || Self.unlearned.contains(template), "\(template) is never learned")
    }

    /// Shapes that are parsed each time.
    static let unlearned: Set<String> = []

    /// Nothing is lost where constants have the form that their columns ask for.
    @Test(arguments: [
        ("select id from t where a = 1", "select id from t where a = 77", "[77]"),
        ("select id from t where a = -1", "select id from t where a = -77", "[-77]"),
        ("select id from t where b = 3000000001", "select id from t where b = 3000000002", "[3000000002]"),
        ("select id from t where a in (1, 2)", "select id from t where a in (3, 3)", "[3,3]"),
        ("select id from t where name = 'x'", "select id from t where name = 'it''s'", "[it's]"),
        ("select id from t where a = '1'", "select id from t where a = '8'", "[8]"),
        ("select id from t where a = '1'", "select id from t where a = 'x'", ""),
        ("select id from t where flag = 't'", "select id from t where flag = 'false'", "[0]"),
        ("select id from t where a > 1 and a < 9", "select id from t where a > 20 and a < 30", "20..30"),
        ("select id from t where o = '5'", "select id from t where o = '-5'", ""),
        ("select id from t where name = 'x' and a = 1", "select id from t where name = 'y' and a = 2", "[y] [2]"),
    ])
    func constantsGoToTheirPlaces(first: String, other: String, expected: String) throws {
        let learned = try #require(lesson(first))
        let uses = try #require(query(learned, for: other)).uses
        #expect(uses.count == 1)
        #expect(uses[0].constraints.map { shown($0.test) }.joined(separator: " ") == expected)
    }

    private func shown(_ test: Constraint.Test) -> String {
        func show(_ operand: Constraint.Operand?) -> String {
            switch operand {
            case .constant(.integer(let value)): "\(value)"
            case .constant(.bytes(let bytes)): String(decoding: bytes, as: UTF8.self)
            default: "?"
            }
        }
        return switch test {
        case .among(let operands): "[" + operands.map { show($0) }.joined(separator: ",") + "]"
        case .range(let lower, let upper): show(lower?.operand) + ".." + show(upper?.operand)
        default: "\(test)"
        }
    }

    /// What a statement does must not be in a constant.
    @Test(arguments: [
        "select set_config('app.x', 'y', false)", "select current_setting('x') from t",
        "select id from t where name = current_setting('app.x')", "select * into x from t where a = 1",
    ])
    func whatAConstantNamesIsNotLearned(text: String) {
        #expect(lesson(text) == nil)
    }
}
