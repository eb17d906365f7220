import PGProtocol
import Testing

@testable import Simulation

/// Rules 8 and 9: settings, and transaction blocks.
@Suite struct OracleSettingsTests {
    private let scene = OracleScene()
    private let events = Select(table: Table.event, output: Say.columns(0, 2, 3))

    private func believe(_ statements: Statement...) {
        var belief = SessionBelief()
        belief.begins("a", .plain)
        for statement in statements {
            belief.completed(statement, "")
            belief.ready(isIdle: !belief.isInBlock)
        }
        scene.belief = belief
    }
    private func reply(_ select: Select, _ style: TextStyle) -> Reply {
        let answer = scene.database.answer(select, [], at: scene.watermark)
        let rows = Wire.rows(answer.rows, of: select, isBinary: false, style)
        return .rows(description: nil, rows: rows, tag: "SELECT \(answer.rows.count)")
    }
    private static func set(_ setting: Setting, _ value: String) -> Statement {
        .setting(.set(setting, value, isLocal: false))
    }

    // MARK: Settings

    @Test func aHitLooksAsTheSessionsSettingsSay() {
        believe(Self.set(.dateStyle, "German, DMY"))
        #expect(scene.hit(events, reply(events, TextStyle(dates: .german))) == nil)
        #expect(scene.hit(events, reply(events, .standard))?.rule == 1)
        believe(Self.set(.byteaOutput, "escape"), .setting(.resetAll))
        #expect(scene.hit(events, reply(events, .standard)) == nil)
        #expect(scene.hit(events, reply(events, TextStyle(escapesBytes: true)))?.rule == 1)
    }

    @Test func aTriggerIsReckonedWith() {
        believe(.insert(Insert(table: Table.journal, rows: [[.constant(.int(1)), .constant(.null)]])))
        #expect(scene.hit(events, reply(events, TextStyle(escapesBytes: true))) == nil)
        #expect(scene.hit(events, reply(events, .standard))?.rule == 1)
    }

    @Test func aHitIsOfTheTableThatTheNameMeans() {
        believe(Self.set(.searchPath, "archive, public"))
        var archived = events
        archived.table = Table.archivedEvent
        #expect(scene.hit(events, reply(archived, .standard)) == nil)
        #expect(scene.hit(events, reply(events, .standard))?.rule == 1)
        believe(Self.set(.searchPath, "archive"))
        #expect(scene.hit(Say.account(1))?.rule == 8)
    }

    @Test func theOriginsSessionIsAsItsClientMadeIt() {
        believe()
        scene.standing = scene.belief?.standing([:])
        #expect(scene.forward(Say.account(1)) == nil)
        believe(Self.set(.dateStyle, "German, DMY"))
        #expect(scene.forward(Say.account(1))?.rule == 8)
    }

    @Test func aReloadMayGoUnnoticedForAWhile() {
        believe()
        let escaped = reply(events, TextStyle(escapesBytes: true))
        scene.surroundings.configuration.reload(
            [Setting.byteaOutput.key: "escape"], at: scene.surroundings.scheduler.now)
        #expect(scene.hit(events, reply(events, .standard)) == nil)
        #expect(scene.hit(events, escaped) == nil)
        scene.surroundings.scheduler.after(2 * Oracle.reloadUnnoticed) {}
        scene.tick()
        #expect(scene.hit(events, reply(events, .standard))?.rule == 1)
        #expect(scene.hit(events, escaped) == nil)
    }

    // MARK: Blocks

    @Test func aBlockHitsUntilItWrites() {
        #expect(scene.forward(.begin(.readCommitted), .done(tag: "BEGIN")) == nil)
        #expect(scene.hit(Say.account(1)) == nil)
        #expect(scene.forward(Say.write("x", to: 1), .done(tag: "UPDATE 1")) == nil)
        #expect(scene.hit(Say.account(1))?.rule == 9)
        #expect(scene.forward(.block(.rollbackTo("a")), .done(tag: "ROLLBACK")) == nil)
        #expect(scene.hit(Say.account(1))?.rule == 9)
        #expect(scene.forward(.rollback, .done(tag: "ROLLBACK")) == nil)
        #expect(scene.hit(Say.account(1)) == nil)
    }

    @Test func aLockIsAsAWrite() {
        var locked = Say.account(1)
        locked.locks = true
        #expect(scene.forward(.begin(.readCommitted), .done(tag: "BEGIN")) == nil)
        #expect(scene.forward(locked) == nil)
        #expect(scene.hit(Say.account(2))?.rule == 9)
        #expect(scene.hit(locked, for: "b")?.rule == 1)
    }

    @Test func aBlockWithOneViewHasNoHits() {
        for isolation in [Statement.Isolation.repeatableRead, .serializable] {
            believe(.begin(Begin(isolation: isolation)))
            #expect(scene.forward(.begin(Begin(isolation: isolation)), .done(tag: "BEGIN")) == nil)
            #expect(scene.hit(Say.account(1))?.rule == 9)
            #expect(scene.forward(.commit, .done(tag: "COMMIT")) == nil)
        }
        believe(Self.set(.isolation, "repeatable read"), .begin(.readCommitted))
        #expect(scene.forward(.begin(.readCommitted), .done(tag: "BEGIN")) == nil)
        #expect(scene.hit(Say.account(1))?.rule == 9)
    }

    @Test func aFailedBlockHasNoHits() {
        believe(.begin(.readCommitted))
        #expect(scene.forward(.begin(.readCommitted), .done(tag: "BEGIN")) == nil)
        scene.belief?.failed()
        #expect(scene.hit(Say.account(1))?.rule == 9)
    }

    @Test func aBlockMayStayUnheardOf() {
        #expect(scene.answered(.begin(.readCommitted), "BEGIN") == nil)
        #expect(scene.hit(Say.account(1)) == nil)
        #expect(scene.answered(.block(.commitAndChain), "COMMIT") == nil)
        #expect(scene.answered(.rollback, "ROLLBACK") == nil)
        // There is no block: the origin would warn.
        #expect(scene.answered(.commit, "COMMIT")?.rule == 1)
    }

    @Test func aBeginIsExecutedLater() {
        #expect(scene.answered(.begin(.readCommitted), "BEGIN") == nil)
        scene.executed(.begin(.readCommitted), for: "a", .done(tag: "BEGIN"))
        #expect(scene.forward(Say.write("x", to: 1), .done(tag: "UPDATE 1")) == nil)
        // Now the origin has a block that it must hear the end of.
        #expect(scene.answered(.commit, "COMMIT")?.rule == 1)
    }
}
