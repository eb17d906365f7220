import PGProtocol
import Testing

@testable import Cache

/// What the catalog says when it is told canned rows.
@Suite struct CatalogTests {
    static let path = ["pg_catalog", "app", "public"]

    /// A row for a column of a plain table whose first column is its key.
    static func row(
        _ schema: String, _ name: String, oid: String?, column: Int = 1, type: String = "23"
    ) -> [String?] {
        guard let oid else { return [schema, name] + Array(repeating: nil, count: 23) }
        return [
            schema, name, oid, "r", "p", "f", "f", "f", "d", "\(column)", "c\(column)", type, "f", "t", "t",
            column == 1 ? "t" : "f", "f", "t", "f", type, schema, name, nil, nil, nil,
        ]
    }

    /// Loaded, with one function of either kind.
    static func ready(relationsMax: Int = 10, namesMax: Int = 100) -> Catalog {
        var catalog = Catalog(relationsMax: relationsMax, namesMax: namesMax)
        for request in catalog.bootstrapRequests() {
            #expect(catalog.absorb(bootstrapRows(request.subject), answering: request) == .used)
        }
        return catalog
    }

    static func bootstrapRows(_ subject: Catalog.Subject) -> [[String?]] {
        switch subject {
        case .originFacts:
            [["5", "shop", "150018", "logical", "UTF8", "f", "pgcache", "f", "t", "f"]]
        case .functions(builtIn: true): [["lower", "870", "pg_catalog", "i", "f", "f"]]
        case .functions(builtIn: false): [["lower", "20000", "app", "v", "f", "f"]]
        case .userNames: [["o", "+++"], ["t", "mood"]]
        case .relations: []
        }
    }

    @Test func nothingIsVisibleBeforeEverythingIsLoaded() {
        var catalog = Catalog()
        for request in catalog.bootstrapRequests() {
            #expect(!catalog.isReady)
            #expect(catalog.view(searchPath: Self.path) == nil)
            #expect(catalog.absorb(Self.bootstrapRows(request.subject), answering: request) == .used)
        }
        #expect(catalog.isReady)
        #expect(catalog.bootstrapRequests().isEmpty)
        #expect(catalog.originFacts?.databaseOID == OID(5))
        #expect(catalog.originFacts?.serverVersion == 150018)
    }

    @Test func namesOfUsersAreInDoubtInEverySchema() throws {
        let view = try #require(Self.ready().view(searchPath: Self.path))
        #expect(view.functions(named: "lower").map(\.schema) == ["pg_catalog", "app"])
        #expect(view.functions(named: "lower").map(\.isBuiltIn) == [true, false])
        #expect(view.functions(named: "upper").isEmpty)
        #expect(view.hasUserOperator(named: "+++") && !view.hasUserOperator(named: "+"))
        #expect(view.isUserType(named: "mood") && !view.isUserType(named: "int4"))
    }

    @Test func changedBuiltInsMakeEverythingDoubtful() {
        for tag in ["c", "x"] {
            var catalog = Self.ready()
            catalog.forgetAll()
            for request in catalog.bootstrapRequests() {
                let rows: [[String?]] =
                    request.subject == .userNames ? [[tag, "="]] : Self.bootstrapRows(request.subject)
                #expect(catalog.absorb(rows, answering: request) == .used)
            }
            #expect(catalog.isReady && catalog.doubt != nil)
            #expect(catalog.view(searchPath: Self.path) == nil)
        }
    }

    @Test func anOddSearchPathSeesNothing() {
        let catalog = Self.ready()
        #expect(catalog.view(searchPath: ["public", "pg_catalog"]) == nil)
        #expect(catalog.view(searchPath: ["pg_temp_3", "pg_catalog", "public"]) == nil)
        #expect(catalog.view(searchPath: []) == nil)
        #expect(catalog.view(searchPath: ["pg_catalog"]) != nil)
    }

    @Test func aNameResolvesOnlyWhenAllBeforeItAreKnown() throws {
        var catalog = Self.ready()
        let name = RelationName(schema: nil, name: "t")
        #expect(catalog.view(searchPath: Self.path)?.relation(name) == .unknown)
        let request = try catalog.ask([name], searchPath: Self.path)
        #expect(request.query.parameters == ["{\"pg_catalog\",\"app\",\"public\"}", "{\"t\",\"t\",\"t\"}"])
        #expect(catalog.view(searchPath: Self.path)?.relation(name) == .unknown)
        let rows = [
            Self.row("pg_catalog", "t", oid: nil), Self.row("app", "t", oid: nil),
            Self.row("public", "t", oid: "20001"), Self.row("public", "t", oid: "20001", column: 3),
        ]
        #expect(catalog.absorb(rows, answering: request) == .used)
        guard case .found(let relation) = catalog.view(searchPath: Self.path)?.relation(name) else {
            Issue.record("not found")
            return
        }
        #expect(relation.schema == "public" && relation.columns.map(\.number) == [1, 3])
        #expect(relation.primaryKey == [0] && relation.identityColumns == [0])
        #expect(catalog.relation(OID(20001)) == relation)
        // Another schema in front is not known yet, and what is known is not asked again.
        let longer = ["pg_catalog", "tenant", "public"]
        #expect(catalog.view(searchPath: longer)?.relation(name) == .unknown)
        #expect(
            catalog.request([name], searchPath: longer)?.query.parameters == ["{\"tenant\"}", "{\"t\"}"])
        // Another order: the first schema wins.
        #expect(
            catalog.view(searchPath: ["pg_catalog", "public", "tenant"])?.relation(name)
                == .found(relation))
    }

    @Test func absenceIsRemembered() throws {
        var catalog = Self.ready()
        let name = RelationName(schema: "app", name: "no \"such\\")
        let request = try catalog.ask([name, name], searchPath: Self.path)
        #expect(request.query.parameters == ["{\"app\"}", "{\"no \\\"such\\\\\"}"])
        let rows = [Self.row("app", "no \"such\\", oid: nil)]
        #expect(catalog.absorb(rows, answering: request) == .used)
        #expect(catalog.view(searchPath: Self.path)?.relation(name) == .absent)
        #expect(catalog.request([name], searchPath: Self.path) == nil)
    }

    @Test func whatIsLoadingIsNotAskedAgain() throws {
        var catalog = Self.ready()
        let name = RelationName(schema: "app", name: "t")
        let request = try catalog.ask([name], searchPath: Self.path)
        #expect(catalog.request([name], searchPath: Self.path) == nil)
        catalog.failed(request)
        #expect(catalog.request([name], searchPath: Self.path) != nil)
    }

    @Test func anAnswerFromBeforeASchemaChangeIsDropped() throws {
        var catalog = Self.ready()
        let name = RelationName(schema: "app", name: "t")
        let request = try catalog.ask([name], searchPath: Self.path)
        catalog.forgetAll()
        #expect(!catalog.isReady)
        #expect(
            catalog.bootstrapRequests().map(\.subject) == [.functions(builtIn: false), .userNames])
        let rows = [Self.row("app", "t", oid: "20001")]
        #expect(catalog.absorb(rows, answering: request) == .stale)
        #expect(catalog.relationCount == 0 && catalog.nameCount == 0)
        let again = try catalog.ask([name], searchPath: Self.path)
        #expect(catalog.absorb(rows, answering: again) == .used)
        catalog.forgetAll(builtInsToo: true)
        #expect(catalog.bootstrapRequests().count == 4 && catalog.relation(OID(20001)) == nil)
    }

    @Test func aRelationThatLooksOtherwiseIsReported() throws {
        var catalog = Self.ready()
        for (name, rows, absorption): (String, [[String?]], Catalog.Absorption) in [
            ("t", [Self.row("app", "t", oid: "20001")], .used),
            ("renamed", [Self.row("app", "renamed", oid: "20001")], .contradictory),
        ] {
            let wanted = RelationName(schema: "app", name: name)
            let request = try catalog.ask([wanted], searchPath: Self.path)
            #expect(catalog.absorb(rows, answering: request) == absorption)
        }
    }

    @Test func rowsThatAreNotWhatWasAskedAreRefused() throws {
        let name = RelationName(schema: "app", name: "t")
        let good = Self.row("app", "t", oid: "20001")
        var broken: [[[String?]]] = [
            [[]], [["app"]], [Self.row("app", "other", oid: "20002")], [good + ["more"]],
        ]
        for column in [2, 3, 5, 6, 7, 9, 11, 12, 13, 14, 15, 16, 20, 21] {
            var row = good
            row[column] = "?"
            if column != 3 { broken.append([row]) }
        }
        for rows in broken {
            var catalog = Self.ready()
            let request = try catalog.ask([name], searchPath: Self.path)
            #expect(catalog.absorb(rows, answering: request) == .unusable, "\(rows)")
            #expect(catalog.view(searchPath: Self.path)?.relation(name) == .unknown)
            #expect(catalog.request([name], searchPath: Self.path) != nil)
        }
        var catalog = Catalog()
        for request in catalog.bootstrapRequests() {
            #expect(catalog.absorb([["?"]], answering: request) == .unusable)
        }
        #expect(!catalog.isReady)
    }

    @Test func aRelationWithoutRoomEndsTheWalk() throws {
        var catalog = Self.ready(relationsMax: 1)
        let first = try catalog.ask([RelationName(schema: "app", name: "a")], searchPath: Self.path)
        #expect(catalog.absorb([Self.row("app", "a", oid: "20001")], answering: first) == .used)
        // app.t has no place; public.t must not be taken for it.
        let name = RelationName(schema: nil, name: "t")
        let request = try catalog.ask([name], searchPath: Self.path)
        let rows = [
            Self.row("pg_catalog", "t", oid: nil), Self.row("app", "t", oid: "20002"),
            Self.row("public", "t", oid: "20001"),
        ]
        _ = catalog.absorb(rows, answering: request)
        #expect(catalog.view(searchPath: Self.path)?.relation(name) == .unknowable)
        #expect(catalog.relationCount == 1)
    }

    @Test func absentNamesMakeRoomAndTheRestIsForwarded() throws {
        var catalog = Self.ready(namesMax: 4)
        func load(_ name: String, oid: String?) throws {
            let wanted = RelationName(schema: "app", name: name)
            let request = try catalog.ask([wanted], searchPath: Self.path)
            #expect(catalog.absorb([Self.row("app", name, oid: oid)], answering: request) == .used)
        }
        for name in ["a", "b", "c", "d", "e", "f"] { try load(name, oid: nil) }
        #expect(catalog.nameCount <= 4)
        for (name, oid) in [("g", "20001"), ("h", "20002"), ("i", "20003"), ("j", "20004")] {
            try load(name, oid: oid)
        }
        let next = RelationName(schema: "app", name: "k")
        #expect(catalog.request([next], searchPath: Self.path) == nil)
        #expect(catalog.view(searchPath: Self.path)?.relation(next) == .unknowable)
        #expect(catalog.nameCount == 4)
    }

    @Test func aStatementWithTooManyNamesIsNotAskedFor() {
        var catalog = Self.ready(namesMax: 100)
        let names = (0..<51).map { RelationName(schema: "app", name: "t\($0)") }
        #expect(catalog.request(names, searchPath: ["pg_catalog"]) == nil)
    }

    @Test func arraysAreWrittenAndReadAsPostgreSQLDoes() {
        let elements = ["plain", "", "a,b", "q\"q", "back\\slash", "{x}", "NULL", "é 🐘"]
        #expect(SQLText.elements(ofArray: SQLText.array(elements)) == elements)
        #expect(SQLText.elements(ofArray: "{pg_catalog,public,\"a b\"}") == ["pg_catalog", "public", "a b"])
        #expect(SQLText.elements(ofArray: "{}") == [])
        for broken in ["", "{", "a", "{a", "{a,}", "{\"a}", "{a}b", "{}x", "{{a}}", "{,a}", "{\"a\\"] {
            #expect(SQLText.elements(ofArray: broken) == nil, "\(broken)")
        }
        #expect(SQLText.identifier("a\"b") == "\"a\"\"b\"")
    }
}
