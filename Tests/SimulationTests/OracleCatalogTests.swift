import Cache
import PGProtocol
import Testing

@testable import Simulation

/// Rule 10: what a role may be told from the cache.
struct OracleCatalogTests {
    private let scene: OracleScene
    private static let all = SheetRead(output: .everything, key: nil, isOrdered: true)

    init() {
        scene = OracleScene { $0.changesCatalog = true }
        scene.executions.note(role: .guest, of: "guest", at: 0)
        scene.executions.note(role: .clerk, of: "clerk", at: 0)
    }

    private func change(_ change: CatalogChange) { scene.commit(.catalog(.change(change))) }
    /// The proxy knows of the last change from here on.
    private func noticed() {
        scene.database.noticed(scene.database.catalogVersions.count - 1)
        scene.tick()
    }

    /// A hit on `sheet` as a role would have got it under a catalog.
    private func hit(_ state: CatalogState, as role: OriginRole = .app, for client: String) throws -> Violation? {
        let answer = try state.answer(Self.all, [], as: role, scene.database.tables, .position(scene.watermark))
        let rows = Messages.dataRows(answer.rows, of: answer.fields ?? [], .text)
        let sentAt = scene.event
        scene.tick()
        return scene.oracle.check(
            scene.appended(
                .rows(description: nil, rows: rows, tag: "SELECT \(answer.rows.count)"),
                to: .catalog(.read(Self.all)), for: client, sentAt: sentAt))
    }

    @Test func aRightThatIsTakenAwayCountsOnceItMustBeKnown() {
        #expect(scene.hit(Say.account(1), for: "guest") == nil)
        change(.revoke(Table.account, .guest))
        #expect(scene.hit(Say.account(1), for: "guest") == nil)
        noticed()
        #expect(scene.hit(Say.account(1), for: "clerk") == nil)
        #expect(scene.hit(Say.account(1), for: "owner") == nil)
        #expect(scene.hit(Say.account(1), for: "guest")?.rule == 10)
        change(.grant(Table.account, .guest))
        #expect(scene.hit(Say.account(1), for: "guest") == nil)
    }

    @Test func whatAPolicyHidesIsNotShown() throws {
        let open = scene.database.catalog
        change(.rowSecurity(true))
        #expect(try hit(open, for: "clerk") == nil)
        noticed()
        #expect(try hit(open, for: "clerk")?.rule == 10)
        #expect(try hit(open, for: "owner") == nil)
        #expect(try hit(scene.database.catalog, as: .clerk, for: "clerk") == nil)
    }

    @Test func theShapeIsOneOfItsTime() throws {
        let before = scene.database.catalog
        change(.dropColumn(.size))
        #expect(try hit(before, for: "owner") == nil)
        #expect(try hit(scene.database.catalog, for: "owner") == nil)
        noticed()
        #expect(try hit(before, for: "owner")?.rule == 10)
        #expect(try hit(scene.database.catalog, for: "owner") == nil)
    }

    @Test func aMessageCountsWhenItsChangeIsVisible() {
        let database = scene.database
        change(.revoke(nil, .guest))
        let version = database.catalogVersions.count - 1
        #expect(database.catalogVersions[version].noticedAt == nil)
        database.messageTaken(database.catalogVersions[version].xid.map { UInt32(truncatingIfNeeded: $0.value) })
        #expect(database.catalogVersions[version].noticedAt == scene.event)
        database.messageTaken(7)
        #expect(database.messagesTaken == [7])
    }

    @Test func thePollsAnswerTellsTheVersion() {
        change(.join(.guest))
        change(.addColumn(.extra, .int4, standard: nil))
        let publications = Publications(scene.surroundings, scene.database)
        let answers = CatalogAnswers(publications: publications, database: scene.database)
        let rows = answers.rows(CatalogPoll.sql, ["{}"])
        #expect(CatalogAnswers.version(ofPoll: rows) == 2)
    }
}
