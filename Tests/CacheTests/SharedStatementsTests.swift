import PGProtocol
import Testing

@testable import Cache

/// Statements that share their entries although their sessions' settings differ [K1].
@Suite struct SharedStatementsTests {
    /// A store over `public.moments` (id integer, made timestamptz), `app.moments` alike, and `public.plain` (id).
    final class Fixture {
        let store: CacheStore
        var asked: [OriginQuery] = []
        var answersRights = "t"

        init(_ change: (inout CacheStore.Limits) -> Void = { _ in }) {
            var limits = CacheStore.Limits()
            limits.database = "shop"
            change(&limits)
            store = CacheStore(limits: limits, seed: 7)
            store.streamBecameLive(LSN(100))
            store.catalogConnected()
            settle()
        }

        func settle() {
            while true {
                if let question = store.nextQuestion() {
                    asked.append(question)
                    store.questionAnswered(answer(question))
                } else if let wanted = store.nextFollow() {
                    store.relationsFollowed([wanted.oid])
                } else {
                    return
                }
            }
        }

        private static let tables: [String: (String, [(String, String)])] = [
            "public.moments": ("20001", [("id", "23"), ("made", "1184")]),
            "app.moments": ("20002", [("id", "23"), ("made", "1184")]),
            "public.plain": ("20003", [("id", "23")]),
        ]

        private func answer(_ question: OriginQuery) -> [[String?]] {
            switch question.sql {
            case CatalogQueries.originFacts:
                return [["5", "shop", "150018", "logical", "UTF8", "f", "pgcache", "f", "t", "f"]]
            case CatalogQueries.functions(builtIn: true):
                return [
                    ["current_setting", "2077", "pg_catalog", "s", "f", "f"],
                    ["set_config", "2078", "pg_catalog", "v", "f", "f"],
                ]
            case CatalogQueries.functions(builtIn: false): return []
            case CatalogQueries.userNames: return [["p", "plpgsql"], ["l", "auto_explain, \"$libdir/Other\""]]
            case CatalogQueries.relations:
                let schemas = question.parameters[0].flatMap(SQLText.elements(ofArray:)) ?? []
                let names = question.parameters[1].flatMap(SQLText.elements(ofArray:)) ?? []
                return zip(schemas, names).sorted { $0 < $1 }.flatMap { schema, name -> [[String?]] in
                    guard let (oid, columns) = Self.tables["\(schema).\(name)"] else {
                        return [[schema, name] + Array(repeating: nil, count: 23)]
                    }
                    return columns.enumerated().map { index, column in
                        [
                            schema, name, oid, "r", "p", "f", "f", "f", "d", "\(index + 1)", column.0, column.1,
                            "f", "t", "t", index == 0 ? "t" : "f", "f", "t", "f", column.1, schema, name, nil, nil, nil,
                        ]
                    }
                }
            case Rights.sql: return [[answersRights]]
            default: return [[]]
            }
        }

        func profile(_ changes: [String: String?] = [:], custom: [String?] = []) throws -> UInt32 {
            let row = ProfileTests.row(changes) + custom
            let reading = try #require(store.profileReading(row))
            let number = store.number(of: reading)
            guard case .cacheable(let profile, _) = store.knownSettings[number]?.use else {
                throw CatalogOrigin.Failure(description: "refused")
            }
            return profile
        }

        /// The statement of a text, resolved.
        func statement(_ profile: UInt32, _ text: String) throws -> UnsafeMutablePointer<Statement> {
            func find() -> UnsafeMutablePointer<Statement>? {
                withView(Array(text.utf8) + [0]) { store.statement(profile: profile, key: $0, true) }
            }
            _ = find()
            settle()
            return try #require(find())
        }
        func canonical(_ profile: UInt32, _ text: String) throws -> StatementID {
            store.canonical(try statement(profile, text)).pointee.id
        }
    }

    @Test func k1OnlyWhatAStatementDependsOnSplits() throws {
        let fixture = Fixture()
        let utc = try fixture.profile(["TimeZone": "UTC"])
        let tokyo = try fixture.profile(["TimeZone": "Asia/Tokyo"])
        let digits = try fixture.profile(["TimeZone": "UTC", "extra_float_digits": "-3"])
        #expect(Set([utc, tokyo, digits]).count == 3)
        let plain = "select id from moments"
        let first = try fixture.canonical(utc, plain)
        #expect(try first == fixture.statement(utc, plain).pointee.id)
        #expect(try fixture.canonical(tokyo, plain) == first)
        #expect(try fixture.canonical(digits, plain) == first)
        let dated = "select made from moments"
        let second = try fixture.canonical(utc, dated)
        #expect(try fixture.canonical(tokyo, dated) != second)
        #expect(try fixture.canonical(digits, dated) == second)
        #expect(try fixture.canonical(utc, "select id from moments ") != first)
    }

    @Test func k1RelationsSplitAndPathsDoNot() throws {
        let fixture = Fixture()
        let one = try fixture.profile(["schemas": "{pg_catalog,public}"])
        let two = try fixture.profile(["schemas": "{pg_catalog,other,public}"])
        let three = try fixture.profile(["schemas": "{pg_catalog,app,public}"])
        let text = "select id from moments"
        let first = try fixture.canonical(one, text)
        #expect(try fixture.canonical(two, text) == first)
        let third = try fixture.canonical(three, text)
        #expect(third != first)
        #expect(fixture.store.statements[third]?.pointee.query?.uses.map(\.relation) == [OID(20002)])
        #expect(try fixture.canonical(three, "select id from plain") == fixture.canonical(one, "select id from plain"))
    }

    @Test func anEvictedStatementIsReplacedByOneThatSharedIt() throws {
        let fixture = Fixture { $0.statementsMax = 16 }
        let utc = try fixture.profile(["TimeZone": "UTC"])
        let tokyo = try fixture.profile(["TimeZone": "Asia/Tokyo"])
        let text = "select id from moments"
        let first = try fixture.statement(utc, text).pointee.id
        let second = try fixture.statement(tokyo, text).pointee.id
        #expect(try fixture.canonical(tokyo, text) == first)
        fixture.store.statements.retain(second)
        var number = 0
        while fixture.store.statements[first] != nil, number < 200 {
            number += 1
            _ = try fixture.statement(utc, "select id from plain where id = \(number)")
        }
        #expect(fixture.store.statements[first] == nil)
        let held = try #require(fixture.store.statements[second])
        #expect(fixture.store.canonical(held).pointee.id == second)
        #expect(try fixture.canonical(utc, text) == second, "who comes later shares it")
        fixture.store.statements.release(second)
    }

    @Test func aChangeOfTheSchemaEndsSharing() throws {
        let fixture = Fixture()
        let utc = try fixture.profile(["TimeZone": "UTC"])
        let tokyo = try fixture.profile(["TimeZone": "Asia/Tokyo"])
        let text = "select id from moments"
        let first = try fixture.statement(utc, text)
        let second = try fixture.statement(tokyo, text)
        #expect(second.pointee.canonical == first.pointee.id)
        fixture.store.schemaChanged()
        #expect(second.pointee.canonical == second.pointee.id && second.pointee.projection == nil)
        fixture.settle()
        // Whoever is resolved first stands for the others now.
        #expect(try fixture.canonical(tokyo, text) == second.pointee.id)
        #expect(try fixture.canonical(utc, text) == second.pointee.id)
    }

    // MARK: Settings of an application [K4]

    @Test func k4DeclaredSettingsSplitWhatReadsThem() throws {
        let fixture = Fixture { $0.customSettings = ["app.tenant", "not a name", "app.user"] }
        #expect(fixture.store.profileSQL.hasPrefix(Profile.readSQL))
        let columns = "current_setting('app.tenant', true), pg_catalog.current_setting('app.user', true)"
        #expect(fixture.store.profileSQL.hasSuffix(columns))
        #expect(fixture.store.profileReading(ProfileTests.row()) == nil)
        let none = try fixture.profile(custom: [nil, nil])
        let empty = try fixture.profile(custom: ["", nil])
        let one = try fixture.profile(custom: ["1", nil])
        #expect(Set([none, empty, one]).count == 3)
        let reads = "select id from plain where id = current_setting('app.tenant', true)::int"
        #expect(try fixture.statement(one, reads).pointee.state == .cacheable)
        #expect(try Set([none, empty, one].map { try fixture.canonical($0, reads) }).count == 3)
        let plain = "select id from plain"
        #expect(try Set([none, empty, one].map { try fixture.canonical($0, plain) }).count == 1)
        let undeclared = "select id from plain where id = current_setting('app.x', true)::int"
        #expect(try fixture.statement(one, undeclared).pointee.reason == .stableFunction)
    }

    @Test func k4OnlyAnApplicationsOwnSettingsAreHarmless() throws {
        let fixture = Fixture { $0.customSettings = ["app.tenant"] }
        let profile = try fixture.profile(custom: [nil])
        func effect(_ text: String) throws -> StatementEffect { try fixture.statement(profile, text).pointee.effect }
        for text in ["set app.request_id = 'x'", "set local app.request_id = 'x'", "reset app.request_id",
                     "select set_config('app.request_id', 'x', true)"] {
            #expect(try !effect(text).contains(.changesSession), "\(text)")
        }
        for text in ["set app.tenant = '1'", "set plpgsql.variable_conflict = 'error'", "set auto_explain.x = 1",
                     "set other.x = 1", "set \"app.é\" = 1", "set app.x = 1; set app.tenant = 2",
                     "select set_config('app.tenant', 'x', true)", "set timezone = 'UTC'"] {
            #expect(try effect(text).contains(.changesSession), "\(text)")
        }
        // Before the catalog has told which libraries there are, nothing is harmless.
        fixture.store.catalogLost()
        let early = withView(Array("set app.early = 1".utf8) + [0]) {
            fixture.store.statement(profile: profile, key: $0, true)
        }
        #expect(try #require(early).pointee.possibleEffect.contains(.changesSession))
    }

    // MARK: Rights [P1]

    @Test func p1AQuestionHoldsTheColumnsThatAreNamed() throws {
        let fixture = Fixture()
        let profile = try fixture.profile()
        let text = "select made from moments"
        let statement = try fixture.statement(profile, text)
        fixture.answersRights = "c"
        #expect(fixture.store.askRights(statement, 0) == .pendingRights)
        fixture.settle()
        #expect(fixture.asked.last { $0.sql == Rights.sql }?.parameters[5] == "{2}")
        #expect(fixture.store.askRights(statement, 0) == nil && fixture.store.mayRead(statement, 0))
        #expect(!fixture.store.mayRead(statement, 200) && !fixture.store.mayRead(statement, .max))
        // A right to some columns says nothing of others; one to the table says all.
        let other = try fixture.statement(profile, "select id from moments")
        fixture.answersRights = "t"
        #expect(fixture.store.askRights(other, 0) == .pendingRights)
        fixture.settle()
        #expect(fixture.store.askRights(other, 0) == nil)
        let third = try fixture.statement(profile, "select id, made from moments")
        #expect(fixture.store.askRights(third, 0) == nil && fixture.store.mayRead(third, 0))
    }

    /// A right is looked up in what the backend has just heard of, its roles in an older snapshot: a grant that comes
    /// between the two would be proven by roles that do not have it.
    @Test func p1AYesCountsWhenALaterLookShowsTheSame() throws {
        let fixture = Fixture()
        let statement = try fixture.statement(try fixture.profile(), "select id from plain")
        let who = fixture.store.poll.who
        func look(_ first: String, _ second: String) {
            while let question = fixture.store.nextQuestion() {
                switch question.sql {
                case Rights.sql: fixture.store.questionAnswered([["t", who, first]])
                case Rights.confirmation:
                    #expect(question.parameters == ["{20003}"])
                    fixture.store.questionAnswered([[who, second]])
                default: fixture.store.questionFailed()
                }
            }
        }
        #expect(fixture.store.askRights(statement, 0) == .pendingRights)
        look("20003:1:1", "20003:1:2")
        #expect(fixture.store.askRights(statement, 0) == .pendingRights && !fixture.store.mayRead(statement, 0))
        look("20003:1:2", "20003:1:2")
        #expect(fixture.store.askRights(statement, 0) == nil && fixture.store.mayRead(statement, 0))
    }

    @Test func p1OneLookConfirmsWhatWasAskedOneBehindTheOther() throws {
        let fixture = Fixture()
        let profile = try fixture.profile()
        let statements = try ["select id from plain", "select id from moments", "select made from moments"].map {
            try fixture.statement(profile, $0)
        }
        for statement in statements { #expect(fixture.store.askRights(statement, 0) == .pendingRights) }
        fixture.settle()
        // The right to all columns is asked for once.
        #expect(fixture.asked.count { $0.sql == Rights.sql } == 2)
        #expect(fixture.asked.count { $0.sql == Rights.confirmation } == 1)
        for statement in statements { #expect(fixture.store.askRights(statement, 0) == nil) }
    }

    /// Who may not read all columns is asked about these when the question about others is answered.
    @Test func p1ARightToSomeColumnsSaysNothingOfOthers() throws {
        let fixture = Fixture()
        fixture.answersRights = "c"
        let profile = try fixture.profile()
        let statements = try ["select id from moments", "select made from moments"].map {
            try fixture.statement(profile, $0)
        }
        for statement in statements { #expect(fixture.store.askRights(statement, 0) == .pendingRights) }
        fixture.settle()
        #expect(fixture.asked.count { $0.sql == Rights.sql } == 1)
        #expect(fixture.store.askRights(statements[0], 0) == nil)
        #expect(fixture.store.askRights(statements[1], 0) == .pendingRights)
        fixture.settle()
        #expect(fixture.asked.count { $0.sql == Rights.sql } == 2)
        #expect(fixture.store.askRights(statements[1], 0) == nil)
    }

    @Test func p1AChangeOfPrivilegesEndsTheProofsAndLeavesTheRest() throws {
        let fixture = Fixture()
        let statement = try fixture.statement(try fixture.profile(), "select id from plain")
        _ = fixture.store.askRights(statement, 0)
        fixture.settle()
        #expect(fixture.store.askRights(statement, 0) == nil && fixture.store.mayRead(statement, 0))
        fixture.store.rightsChanged()
        #expect(!fixture.store.mayRead(statement, 0) && statement.pointee.state == .cacheable)
        // What is asked before a change is no answer behind it.
        #expect(fixture.store.askRights(statement, 0) == .pendingRights)
        let early = try #require(fixture.store.nextQuestion())
        fixture.store.rightsChanged()
        fixture.store.questionAnswered([["t"]])
        #expect(early.sql == Rights.sql && fixture.store.askRights(statement, 0) == .pendingRights)
        fixture.answersRights = "f"
        fixture.settle()
        #expect(fixture.store.askRights(statement, 0) == .rights && !fixture.store.mayRead(statement, 0))
    }
}
