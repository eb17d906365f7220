import Cache
import PGProtocol
import Testing

@testable import Simulation

/// A modelled server process: settings, savepoints, failed blocks, two-phase commit; as PostgreSQL 15 answers.
@Suite struct BackendSessionTests {
    private static func set(_ value: String, isLocal: Bool = false) -> Statement {
        .setting(.set(.dateStyle, value, isLocal: isLocal))
    }
    private static let days = Statement.select(
        Select(table: Table.event, conditions: Say.key(1), output: Say.columns(3)))
    private static func insert(_ id: Int64) -> Statement {
        .insert(
            Insert(table: Table.branch, rows: [[.constant(.int(id)), .constant(.null), .constant(.null)]]))
    }
    private static func branch(_ id: Int64) -> Statement {
        .select(Select(table: Table.branch, conditions: Say.key(id), output: Say.columns(0)))
    }

    private func say(_ talk: Talk, _ statements: Statement...) -> [String] {
        talk.send(statements.flatMap { talk.query($0) })
        return talk.replies()
    }

    // MARK: Settings

    @Test func aReportedSettingIsToldBeforeReadyForQuery() {
        let talk = Talk()
        #expect(say(talk, Self.set("German, DMY")) == ["C SET", "S DateStyle=German, DMY", "Z I"])
        #expect(say(talk, .setting(.set(.byteaOutput, "escape", isLocal: false))) == ["C SET", "Z I"])
        #expect(say(talk, .setting(.discardAll)) == ["C DISCARD ALL", "S DateStyle=ISO, MDY", "Z I"])
    }

    @Test func anAnswerLooksAsTheSettingsSay() {
        let talk = Talk()
        _ = say(talk, Self.days, Self.set("German, DMY"), Self.days)
        let replies = talk.executions().compactMap { execution -> [UInt8]? in
            guard case .rows(_, let rows, _) = execution.reply else { return nil }
            return rows
        }
        #expect(replies.count == 2 && replies[0] != replies[1])
    }

    @Test func setLocalOutsideOfABlockWarnsAndIsGone() {
        let talk = Talk()
        #expect(say(talk, Self.set("German, DMY", isLocal: true)) == ["N 25P01", "C SET", "Z I"])
        #expect(talk.backend.settings.style == .standard)
    }

    @Test func aRollbackTakesSettingsAlongAndTellsIt() {
        let talk = Talk()
        #expect(
            say(talk, .begin(.readCommitted), Self.set("German, DMY"), .rollback) == [
                "C BEGIN", "Z T", "C SET", "S DateStyle=German, DMY", "Z T", "C ROLLBACK", "S DateStyle=ISO, MDY",
                "Z I",
            ])
    }

    /// The error rolls the settings back, not the ROLLBACK behind it.
    @Test func anErrorTakesSettingsAlong() {
        let talk = Talk()
        #expect(
            say(talk, .begin(.readCommitted), Self.set("German, DMY"), .nonsense, .commit).suffix(5) == [
                "E 42601", "S DateStyle=ISO, MDY", "Z E", "C ROLLBACK", "Z I",
            ])
    }

    @Test func aFailedPipelineTakesItsSettingsAlong() {
        let talk = Talk()
        let set = Self.set("German, DMY")
        talk.send(
            talk.parse(set), talk.bind(), talk.execute(), talk.parse(.nonsense), talk.bind(), talk.execute(),
            talk.sync)
        #expect(talk.replies() == ["1", "2", "C SET", "E 42601", "Z I"])
        #expect(talk.backend.settings.style == .standard)
    }

    @Test func setConfigIsARowAndASetting() {
        let talk = Talk()
        #expect(
            say(talk, .setting(.configure(.dateStyle, "SQL, DMY", isLocal: false))) == [
                "T", "D", "C SELECT 1", "S DateStyle=SQL, DMY", "Z I",
            ])
    }

    @Test func discardAllIsForOutsideOfABlock() {
        let talk = Talk()
        talk.send(talk.parse(Self.days, "s1"), talk.sync)
        _ = talk.replies()
        #expect(say(talk, .begin(.readCommitted), .setting(.discardAll)).suffix(2) == ["E 25001", "Z E"])
        #expect(talk.backend.prepared["s1"] != nil)
        #expect(say(talk, .rollback, .setting(.discardAll)).last == "Z I")
        #expect(talk.backend.prepared["s1"] == nil)
    }

    @Test func aTriggerSetsWhatNobodyIsTold() {
        let talk = Talk()
        let insert = Statement.insert(
            Insert(table: Table.journal, rows: [[.constant(.int(1)), .constant(.null)]]))
        #expect(say(talk, insert) == ["C INSERT 0 1", "Z I"])
        #expect(talk.backend.settings.style.escapesBytes)
        #expect(say(talk, insert) == ["E 23505", "Z I"])
    }

    @Test func namesFollowThePathOfTheMoment() {
        let talk = Talk()
        talk.send(talk.parse(Self.days, "s1"), talk.sync)
        _ = talk.replies()
        _ = say(talk, .setting(.set(.searchPath, "archive", isLocal: false)))
        talk.send(talk.describe("S", "s1"), talk.bind(of: "s1"), talk.execute(), talk.sync)
        #expect(talk.replies() == ["t", "T", "2", "D", "C SELECT 1", "Z I"])
        let standing = talk.executions().last?.standing
        #expect(standing?.schemas == ["archive"])
        #expect(say(talk, Self.branch(1)) == ["E 42P01", "Z I"])
    }

    @Test func theProfileIsThatOfTheSession() {
        let talk = Talk(login: [("options", "-c search_path=archive,public")])
        talk.send(talk.query(.begin(.repeatableRead)), talk.query(Profile.readSQL))
        #expect(talk.replies().suffix(4) == ["T", "D", "C SELECT 1", "Z T"])
        let text = String(decoding: talk.received, as: UTF8.self)
        #expect(text.contains("{pg_catalog,archive,public}") && text.contains("repeatable read"))
    }

    @Test func aReloadActsWithTheNextMessage() {
        let talk = Talk()
        talk.origin.surroundings.configuration.reload([Setting.dateStyle.key: "SQL, DMY"], at: 1)
        #expect(talk.replies().isEmpty)
        #expect(say(talk, .ping) == ["T", "D", "C SELECT 1", "S DateStyle=SQL, DMY", "Z I"])
    }

    // MARK: Blocks

    @Test func aSavepointIsGoneBackTo() {
        let talk = Talk()
        #expect(
            say(
                talk, .begin(.readCommitted), Self.insert(500), .block(.savepoint("a")), Self.insert(501),
                Self.insert(500), Self.branch(500)
            ).suffix(4) == ["E 23505", "Z E", "E 25P02", "Z E"])
        #expect(
            say(talk, .block(.rollbackTo("a")), Self.branch(500), Self.branch(501), .commit) == [
                "C ROLLBACK", "Z T", "T", "D", "C SELECT 1", "Z T", "T", "C SELECT 0", "Z T", "C COMMIT", "Z I",
            ])
        let rest = say(talk, Self.branch(500), Self.branch(501))
        #expect(rest == ["T", "D", "C SELECT 1", "Z I", "T", "C SELECT 0", "Z I"])
        // The stream does not tell what was undone.
        guard case .commit(_, let edits) = talk.origin.database.log.last(where: { $0.isCommit })?.kind else {
            Issue.record("there is no commit")
            return
        }
        #expect(edits.count == 1)
    }

    @Test func savepointsAreForBlocks() {
        let talk = Talk()
        for statement in [BlockStatement.savepoint("a"), .release("a"), .rollbackTo("a"), .commitAndChain] {
            #expect(say(talk, .block(statement)) == ["E 25P01", "Z I"])
        }
        #expect(say(talk, .begin(.readCommitted), .block(.release("a"))).suffix(2) == ["E 3B001", "Z E"])
    }

    @Test func aChainGoesOnAsItWas() {
        let talk = Talk()
        #expect(
            say(talk, .begin(.repeatableRead), Self.branch(1), .block(.commitAndChain)).suffix(2) == [
                "C COMMIT", "Z T",
            ])
        #expect(talk.backend.currentTransaction().isolation == .repeatableRead)
        #expect(talk.backend.currentTransaction().view == nil)
        #expect(say(talk, .nonsense, .block(.commitAndChain)).suffix(2) == ["C ROLLBACK", "Z T"])
        #expect(talk.backend.currentTransaction().isolation == .repeatableRead)
    }

    @Test func theLevelStandsWithTheFirstView() {
        let talk = Talk()
        let level = Statement.block(.setTransaction(.serializable))
        #expect(say(talk, level) == ["N 25P01", "C SET", "Z I"])
        #expect(say(talk, .begin(.readCommitted), level, Self.branch(1), level).last == "Z T")
        #expect(talk.backend.currentTransaction().isolation == .serializable)
        #expect(say(talk, .block(.setTransaction(.readCommitted))) == ["E 25001", "Z E"])
        _ = say(talk, .rollback)
        _ = say(talk, .setting(.characteristics(.repeatableRead)), .begin(.readCommitted))
        #expect(talk.backend.currentTransaction().isolation == .repeatableRead)
    }

    @Test func aTransactionThatReadsRefusesWrites() {
        let talk = Talk()
        let reads = Statement.begin(Begin(isReadOnly: true, isStart: true))
        #expect(say(talk, reads, Self.branch(1)).prefix(2) == ["C START TRANSACTION", "Z T"])
        #expect(say(talk, Self.insert(500)) == ["E 25006", "Z E"])
        #expect(say(talk, .rollback, Self.insert(500)).last == "Z I")
    }

    @Test func aPreparedTransactionIsNobodys() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(
            talk.query(.begin(.readCommitted)), talk.query(Self.insert(500)), talk.query(.block(.prepare("g"))))
        talk.settle { talk.executions().count == 3 }
        #expect(talk.newReplies().suffix(2) == ["C PREPARE TRANSACTION", "Z I"])
        talk.origin.database.crash()
        #expect(talk.origin.database.prepared["g"]?.state == .prepared)
        other.send(other.query(Self.branch(500)))
        other.settle { other.executions("client-2").count == 1 }
        #expect(other.newReplies() == ["T", "C SELECT 0", "Z I"])
        // In the end an administrator comes.
        talk.settle()
        #expect(talk.origin.database.prepared.isEmpty && talk.origin.database.running.isEmpty)
    }

    @Test func aPreparedTransactionIsCommittedByAnybody() {
        let talk = Talk()
        talk.send(
            talk.query(.begin(.readCommitted)), talk.query(Self.insert(500)), talk.query(.block(.prepare("g"))),
            talk.query(.block(.commitPrepared("g"))), talk.query(Self.branch(500)))
        talk.settle { talk.executions().count == 5 }
        #expect(
            talk.newReplies().suffix(6) == ["C COMMIT PREPARED", "Z I", "T", "D", "C SELECT 1", "Z I"])
        #expect(talk.executions()[3].committedLSN != nil)
        #expect(say(talk, .block(.commitPrepared("g"))) == ["E 42704", "Z I"])
        #expect(say(talk, .block(.prepare("h"))) == ["N 25P01", "C ROLLBACK", "Z I"])
    }

    @Test func aLockedRowIsWaitedFor() {
        let talk = Talk()
        var select = Select(table: Table.branch, conditions: Say.key(1), output: Say.columns(0))
        select.locks = true
        #expect(Statement.select(select).sql == "select a.id from branch a where a.id = 1 for update")
        #expect(say(talk, .begin(.readCommitted), .select(select)).suffix(4) == ["T", "D", "C SELECT 1", "Z T"])
        let other = Talk(talk.origin, name: "client-2")
        let delete = Statement.delete(Delete(table: Table.branch, conditions: Say.key(1)))
        #expect(say(other, delete).isEmpty)
        #expect(say(talk, .commit) == ["C COMMIT", "Z I"])
        #expect(other.replies() == ["C DELETE 1", "Z I"])
    }
}

extension LogRecord {
    fileprivate var isCommit: Bool {
        if case .commit = kind { true } else { false }
    }
}
