import Cache
import PGProtocol
import Testing

@testable import Simulation

/// A client's end of a backend without a network: messages go in, and what comes out is told by short names.
final class Talk {
    let origin: Origin
    let backend: Backend
    private(set) var received: [UInt8] = []
    private(set) var outputs: [Backend.Output] = []
    private var read = 0
    private final class Received {
        var outputs: [Backend.Output] = []
    }
    private let box = Received()

    init(
        _ origin: Origin? = nil, name: String = "client-1", logsIn: Bool = true, login: [(String, String)] = []
    ) {
        let origin = origin ?? Origin(Surroundings(parameters: Parameters(seed: 5)))
        self.origin = origin
        let box = box
        backend = origin.open { box.outputs.append($0) }
        guard logsIn else { return }
        backend.received(
            Talk.startup([("user", "app"), ("database", "sim"), ("application_name", name)] + login))
        _ = replies()
    }

    static func startup(_ parameters: [(String, String)]) -> [UInt8] {
        var writer = ByteWriter()
        writer.lengthPrefixed { body in
            body.uint32(3 << 16)
            for (name, value) in parameters {
                body.cString(name)
                body.cString(value)
            }
            body.uint8(0)
        }
        return writer.bytes
    }

    func send(_ messages: [UInt8]...) { backend.received(messages.flatMap { $0 }) }

    /// Everything that happens, and then what has come since the last time: `T`, `D`, `C SELECT 1`, `E 25P02`, `Z I`.
    func replies() -> [String] {
        settle()
        return newReplies()
    }
    func settle() { while origin.surroundings.scheduler.step() {} }
    /// As much as happens until `isReached`.
    func settle(until isReached: () -> Bool) {
        while !isReached(), origin.surroundings.scheduler.step() {}
    }

    func newReplies() -> [String] {
        for output in box.outputs {
            if case .bytes(let bytes) = output { received += bytes }
        }
        outputs += box.outputs
        box.outputs = []
        var names: [String] = []
        while received.count - read >= 5 {
            let length = received[read + 1...read + 4].reduce(0) { $0 << 8 | Int($1) }
            guard received.count - read > length else { break }
            let body = Array(received[read + 5..<read + 1 + length])
            names.append(Talk.name(received[read], body))
            read += 1 + length
        }
        return names
    }

    private static func name(_ type: UInt8, _ body: [UInt8]) -> String {
        let letter = String(UnicodeScalar(type))
        switch type {
        case BackendType.commandComplete:
            return letter + " " + String(decoding: body.dropLast(), as: UTF8.self)
        case BackendType.readyForQuery:
            return letter + " " + String(decoding: body, as: UTF8.self)
        case BackendType.errorResponse, BackendType.noticeResponse:
            for field in body.split(separator: 0) where field.first == UInt8(ascii: "C") {
                return letter + " " + String(decoding: field.dropFirst(), as: UTF8.self)
            }
            return letter
        case BackendType.parameterStatus:
            return letter + " " + body.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.joined(
                separator: "=")
        default:
            return letter
        }
    }

    // MARK: Messages

    func query(_ statement: Statement) -> [UInt8] { query(origin.surroundings.book.text(of: statement)) }
    func query(_ text: String) -> [UInt8] { Wire.message(FrontendType.query) { $0.cString(text) } }
    func parse(_ statement: Statement, _ name: String = "") -> [UInt8] {
        let text = origin.surroundings.book.text(of: statement)
        return Wire.message(FrontendType.parse) { body in
            body.cString(name)
            body.cString(text)
            body.uint16(0)
        }
    }
    func bind(
        _ values: [String] = [], of name: String = "", to portal: String = "", formats: [UInt16] = []
    ) -> [UInt8] {
        Wire.message(FrontendType.bind) { body in
            body.cString(portal)
            body.cString(name)
            body.uint16(0)
            body.uint16(UInt16(values.count))
            for value in values {
                body.uint32(UInt32(value.utf8.count))
                body.append(Array(value.utf8))
            }
            body.uint16(UInt16(formats.count))
            for format in formats { body.uint16(format) }
        }
    }
    func describe(_ kind: Character, _ name: String = "") -> [UInt8] {
        Wire.message(FrontendType.describe) { body in
            body.append(Array(String(kind).utf8))
            body.cString(name)
        }
    }
    func execute(_ portal: String = "", max: UInt32 = 0) -> [UInt8] {
        Wire.message(FrontendType.execute) { body in
            body.cString(portal)
            body.uint32(max)
        }
    }
    var sync: [UInt8] { Messages.empty(FrontendType.sync) }
    var flush: [UInt8] { Messages.empty(FrontendType.flush) }

    func executions(_ client: String = "client-1") -> [Execution] { origin.executions.executions[client] ?? [] }
    func errors(_ client: String = "client-1") -> [String] {
        (origin.executions.errors[client] ?? []).map(\.state)
    }
}

private enum Texts {
    static func branch(_ id: Int) -> Statement {
        .select(
            Select(
                table: Table.branch,
                conditions: [
                    Condition(
                column: ColumnReference(relation: 0, column: 0), test: .equals(.constant(.int(Int64(id)))))
                ], output: .columns([ColumnReference(relation: 0, column: 0)])))
    }
    static let branchByParameter = Statement.select(
        Select(
            table: Table.branch,
            conditions: [Condition(column: ColumnReference(relation: 0, column: 0), test: .equals(.parameter(1)))],
            output: .columns([ColumnReference(relation: 0, column: 0), ColumnReference(relation: 0, column: 1)])))
    static let allBranches = Statement.select(
        Select(table: Table.branch, output: .columns([ColumnReference(relation: 0, column: 0)]), isOrdered: true))
    static func insert(_ id: Int) -> Statement {
        .insert(
            Insert(
                table: Table.branch,
                rows: [[.constant(.int(Int64(id))), .constant(.text("new")), .constant(.bool(true))]]))
    }
    static func rename(_ id: Int, _ name: String = "other") -> Statement {
        .update(
            Update(
                table: Table.branch, assignments: [.set(1, .constant(.text(name)))],
                conditions: [
                    Condition(
                column: ColumnReference(relation: 0, column: 0), test: .equals(.constant(.int(Int64(id)))))
                ]))
    }
}

@Suite struct BackendTests {
    // MARK: Log-in

    @Test func aSessionBeginsWithItsSettingsAndItsKey() {
        let talk = Talk(logsIn: false)
        talk.backend.received(Talk.startup([("user", "app"), ("database", "sim"), ("application_name", "client-7")]))
        let replies = talk.replies()
        #expect(replies.first == "R")
        #expect(replies.contains("S server_version=15.4"))
        #expect(replies.contains("S application_name=client-7"))
        #expect(replies.contains("S session_authorization=app"))
        #expect(replies.suffix(2) == ["K", "Z I"])
        #expect(talk.backend.client == "client-7")
    }

    @Test func encryptionIsDeclined() {
        let talk = Talk(logsIn: false)
        talk.backend.received([0, 0, 0, 8, 4, 210, 22, 47])
        _ = talk.replies()
        #expect(talk.received == [UInt8(ascii: "N")])
        talk.backend.received(Talk.startup([("user", "app"), ("database", "sim")]))
        talk.settle()
        #expect(talk.backend.isLoggedIn)
    }

    @Test func anotherDatabaseDoesNotExist() {
        let talk = Talk(logsIn: false)
        talk.backend.received(Talk.startup([("user", "app")]))
        #expect(talk.replies() == ["E 3D000"])
        #expect(talk.outputs.last == .end)
        #expect(talk.origin.backends.isEmpty)
    }

    @Test func theProfileIsOneThatPgcacheUses() throws {
        let talk = Talk()
        let start = talk.received.count
        talk.send(talk.query(Profile.readSQL))
        #expect(talk.replies() == ["T", "D", "C SELECT 1", "Z I"])
        // Behind the RowDescription is the row.
        let bytes = Array(talk.received[start...])
        let description = 1 + bytes[1...4].reduce(0) { $0 << 8 | Int($1) }
        let length = bytes[description + 1...description + 4].reduce(0) { $0 << 8 | Int($1) }
        let body = Array(bytes[description + 5..<description + 1 + length])
        var row: [String?] = []
        try withView(body) { view in
            var reader = ByteReader(view)
            for _ in 0..<Int(try reader.uint16("columns")) {
                let length = Int(try reader.int32("length"))
                row.append(length < 0 ? nil : try reader.bytes(length, "value").string)
            }
        }
        let reading = try #require(Profile.parse(row: row, database: "sim"))
        #expect(reading.isCacheable)
        #expect(reading.role == "app")
        #expect(reading.profile.standardConformingStrings)
        #expect(talk.executions().isEmpty)
    }

    // MARK: Simple queries

    @Test func aSelectIsAnsweredAndNoted() {
        let talk = Talk()
        let start = talk.received.count
        talk.send(talk.query(Texts.branch(1)))
        #expect(talk.replies() == ["T", "D", "C SELECT 1", "Z I"])
        let executions = talk.executions()
        #expect(executions.count == 1)
        guard case .rows(let description, let rows, let tag) = executions[0].reply else {
            Issue.record("no rows")
            return
        }
        #expect(tag == "SELECT 1")
        #expect(executions[0].shown.map(\.id) == [1])
        #expect(executions[0].viewedAt < executions[0].event)
        let answer = (description ?? []) + rows
        #expect(Array(talk.received[start..<start + answer.count]) == answer)
    }

    @Test func aChangeIsAnsweredOnceItIsVisible() {
        let talk = Talk()
        talk.send(talk.query(Texts.insert(500)))
        var wasVisible = false
        talk.settle {
            wasVisible = talk.origin.database.running.isEmpty
            return !talk.newReplies().isEmpty
        }
        #expect(wasVisible)
        let execution = talk.executions().last
        #expect(execution?.reply == .done(tag: "INSERT 0 1"))
        #expect(execution?.committedLSN != nil)
        talk.send(talk.query(Texts.branch(500)))
        #expect(talk.replies().suffix(3) == ["D", "C SELECT 1", "Z I"])
    }

    @Test func whatIsNoStatementFails() {
        let talk = Talk()
        talk.send(talk.query("selct 1"), talk.query(.nonsense), talk.query(" ; "), talk.query(.ping))
        #expect(
            talk.replies() == ["E 42601", "Z I", "E 42601", "Z I", "I", "Z I", "T", "D", "C SELECT 1", "Z I"])
        #expect(talk.errors() == ["42601", "42601"])
    }

    @Test func rowsBeforeAnErrorAreSent() {
        let talk = Talk()
        let poor = Statement.update(
            Update(
                table: Table.account, assignments: [.set(2, .constant(.int(0)))],
                conditions: [
                    Condition(column: ColumnReference(relation: 0, column: 0), test: .equals(.constant(.int(3))))
                ]))
        let quotient = Statement.select(Select(table: Table.account, output: .quotient(2), isOrdered: true))
        talk.send(talk.query(poor), talk.query(quotient))
        #expect(talk.replies() == ["C UPDATE 1", "Z I", "T", "D", "D", "E 22012", "Z I"])
        guard case .error("22012", let rows) = talk.executions().last?.reply else {
            Issue.record("no error")
            return
        }
        #expect(!rows.isEmpty)
    }

    // MARK: Blocks

    @Test func aFailedBlockTakesOnlyItsEnd() {
        let talk = Talk()
        talk.send(
            talk.query(.begin(.readCommitted)), talk.query(Texts.insert(500)), talk.query(Texts.insert(500)),
            talk.query(Texts.branch(1)), talk.query(.begin(.readCommitted)), talk.query(.commit))
        #expect(
            talk.replies() == [
                "C BEGIN", "Z T", "C INSERT 0 1", "Z T", "E 23505", "Z E", "E 25P02", "Z E", "E 25P02", "Z E",
                "C ROLLBACK", "Z I",
            ])
        #expect(talk.executions().count == 6)
        #expect(talk.executions().allSatisfy { $0.committedLSN == nil })
        talk.send(talk.query(Texts.branch(500)))
        #expect(talk.replies().contains("C SELECT 0"))
    }

    @Test func theCommitOfABlockIsNoted() {
        let talk = Talk()
        talk.send(talk.query(.begin(.readCommitted)), talk.query(Texts.insert(500)), talk.query(.commit))
        #expect(talk.replies() == ["C BEGIN", "Z T", "C INSERT 0 1", "Z T", "C COMMIT", "Z I"])
        #expect(talk.executions().map { $0.committedLSN != nil } == [false, false, true])
        talk.send(talk.query(.commit), talk.query(.rollback))
        #expect(talk.replies() == ["N 25P01", "C COMMIT", "Z I", "N 25P01", "C ROLLBACK", "Z I"])
    }

    @Test func aRepeatableReadSeesWhatItsFirstStatementSaw() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(talk.query(.begin(.repeatableRead)), talk.query(Texts.branch(500)))
        #expect(talk.replies() == ["C BEGIN", "Z T", "T", "C SELECT 0", "Z T"])
        other.send(other.query(Texts.insert(500)), other.query(Texts.rename(1)))
        #expect(other.replies() == ["C INSERT 0 1", "Z I", "C UPDATE 1", "Z I"])
        talk.send(talk.query(Texts.branch(500)), talk.query(Texts.rename(1, "mine")), talk.query(.rollback))
        #expect(talk.replies() == ["T", "C SELECT 0", "Z T", "E 40001", "Z E", "C ROLLBACK", "Z I"])
        talk.send(
            talk.query(.begin(.readCommitted)), talk.query(Texts.branch(500)), talk.query(.rollback))
        #expect(talk.replies() == ["C BEGIN", "Z T", "T", "D", "C SELECT 1", "Z T", "C ROLLBACK", "Z I"])
    }

    // MARK: Waiting

    @Test func aChangeWaitsForAnother() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(talk.query(.begin(.readCommitted)), talk.query(Texts.rename(1)))
        talk.settle()
        other.send(other.query(Texts.rename(1, "later")))
        #expect(other.replies() == [])
        #expect(other.backend.phase == .waiting)
        talk.send(talk.query(.commit))
        #expect(other.replies() == ["C UPDATE 1", "Z I"])
        let first = talk.executions().last?.committedLSN
        let second = talk.executions("client-2").last?.committedLSN
        #expect(first ?? .never < second ?? .zero)
    }

    @Test func whoWaitsCanBeCancelled() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(talk.query(.begin(.readCommitted)), talk.query(Texts.rename(1)))
        talk.settle()
        other.send(other.query(Texts.rename(1, "later")))
        other.settle()
        let canceller = Talk(talk.origin, logsIn: false)
        canceller.backend.received(
            BackendKey(process: other.backend.key.process, secret: [1, 2, 3, 4]).cancelRequest)
        canceller.settle()
        #expect(canceller.replies() == [])
        #expect(other.replies() == [])
        let second = Talk(talk.origin, logsIn: false)
        second.backend.received(other.backend.key.cancelRequest)
        #expect(other.replies() == ["E 57014", "Z I"])
        #expect(second.replies() == [])
        #expect(second.outputs == [.end])
        #expect(talk.executions("client-2").last?.reply == .error(state: "57014", rows: []))
        talk.send(talk.query(.rollback))
        #expect(talk.replies().last == "Z I")
        #expect(other.replies() == [])
    }

    @Test func whoExecutesCanBeCancelledAndWhoIsIdleIsNot() {
        let talk = Talk()
        talk.backend.cancel()
        talk.send(talk.query(Texts.insert(500)))
        talk.backend.cancel()
        #expect(talk.replies() == ["E 57014", "Z I"])
        talk.send(talk.query(Texts.branch(500)))
        #expect(talk.replies() == ["T", "C SELECT 0", "Z I"])
    }

    @Test func whoGoesGivesUpItsLocks() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(talk.query(.begin(.readCommitted)), talk.query(Texts.rename(1)))
        talk.settle()
        other.send(other.query(Texts.rename(1, "later")))
        talk.backend.ended()
        #expect(other.replies() == ["C UPDATE 1", "Z I"])
        _ = talk.newReplies()
        #expect(talk.outputs.last == .end)
        #expect(talk.origin.backends.count == 1)
    }

    // MARK: The extended protocol

    @Test func aBoundSelectIsDescribedAndExecuted() {
        let talk = Talk()
        talk.send(
            talk.parse(Texts.branchByParameter, "s"), talk.describe("S", "s"), talk.bind(["2"], of: "s", formats: [1]),
            talk.describe("P"), talk.execute(), talk.sync)
        #expect(talk.replies() == ["1", "t", "T", "2", "T", "D", "C SELECT 1", "Z I"])
        let execution = talk.executions().last
        #expect(execution?.parameters == [.int(2)])
        guard case .select(let select) = Texts.branchByParameter,
            case .rows(let description, _, _) = execution?.reply
        else {
            Issue.record("no rows")
            return
        }
        #expect(description == Wire.description(select, isBinary: true))
        talk.send(talk.bind(["2"], of: "s", formats: [0, 1]), talk.execute(), talk.sync)
        #expect(talk.replies() == ["2", "D", "C SELECT 1", "Z I"])
        guard case .rows(nil, _, _) = talk.executions().last?.reply else {
            Issue.record("a description that nobody asked for")
            return
        }
    }

    @Test func theRowsAreThoseOfTheMomentOfBind() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(talk.parse(Texts.branch(500)), talk.bind(), talk.flush)
        #expect(talk.replies() == ["1", "2"])
        other.send(other.query(Texts.insert(500)))
        #expect(other.replies() == ["C INSERT 0 1", "Z I"])
        talk.send(talk.execute(), talk.sync)
        #expect(talk.replies() == ["C SELECT 0", "Z I"])
        let executions = talk.executions()
        #expect(executions[0].viewedAt < talk.executions("client-2")[0].viewedAt)
        #expect(executions[0].event > talk.executions("client-2")[0].event)
    }

    @Test func anErrorSkipsToSync() {
        let talk = Talk()
        talk.send(
            talk.parse(Texts.insert(500)), talk.bind(), talk.execute(), talk.parse(.nonsense), talk.bind(),
            talk.execute(), talk.query(.ping), talk.sync, talk.query(Texts.branch(500)))
        #expect(talk.replies() == ["1", "2", "C INSERT 0 1", "E 42601", "Z I", "T", "C SELECT 0", "Z I"])
        #expect(talk.errors() == ["42601"])
        #expect(talk.executions().count == 2)
        #expect(talk.executions()[0].committedLSN == nil)
    }

    @Test func whatIsNotThereFailsWithItsOwnState() {
        let talk = Talk()
        talk.send(talk.bind(of: "s"), talk.sync, talk.execute("p"), talk.sync)
        #expect(talk.replies() == ["E 26000", "Z I", "E 34000", "Z I"])
        talk.send(talk.parse(.ping, "s"), talk.parse(.ping, "s"), talk.sync, talk.bind(["1"], of: "s"), talk.sync)
        #expect(talk.replies() == ["1", "E 42P05", "Z I", "E 08P01", "Z I"])
        // A simple query destroys the unnamed statement.
        talk.send(talk.parse(.ping), talk.sync, talk.query(.ping), talk.bind(), talk.sync)
        #expect(talk.replies() == ["1", "Z I", "T", "D", "C SELECT 1", "Z I", "E 26000", "Z I"])
    }

    @Test func aRowLimitSuspendsThePortal() {
        let talk = Talk()
        talk.send(
            talk.query(.begin(.readCommitted)), talk.parse(Texts.allBranches), talk.bind(to: "p"),
            talk.execute("p", max: 10), talk.sync, talk.execute("p", max: 2), talk.sync, talk.execute("p"), talk.sync,
            talk.query(.commit), talk.execute("p"), talk.sync)
        let rows = { (count: Int) in Array(repeating: "D", count: count) }
        #expect(
            talk.replies() == ["C BEGIN", "Z T", "1", "2"] + rows(10) + ["s", "Z T", "D", "D", "s", "Z T"]
                + ["C SELECT 0", "Z T", "C COMMIT", "Z I", "E 34000", "Z I"])
    }

    @Test func aPipelineIsOneTransaction() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(
            talk.parse(Texts.insert(500)), talk.bind(), talk.execute(), talk.parse(Texts.branch(500)), talk.bind(),
            talk.execute(), talk.parse(Texts.rename(500)), talk.bind(), talk.execute(), talk.flush)
        #expect(talk.replies() == ["1", "2", "C INSERT 0 1", "1", "2", "D", "C SELECT 1", "1", "2", "C UPDATE 1"])
        other.send(other.query(Texts.branch(500)))
        #expect(other.replies() == ["T", "C SELECT 0", "Z I"])
        talk.send(talk.sync)
        #expect(talk.replies() == ["Z I"])
        let executions = talk.executions()
        #expect(executions.map { $0.committedLSN != nil } == [true, false, true])
        #expect(executions[0].committedLSN == executions[2].committedLSN)
        other.send(other.query(Texts.branch(500)))
        #expect(other.replies() == ["T", "D", "C SELECT 1", "Z I"])
    }

    @Test func aBlockMayBeginInAPipeline() {
        let talk = Talk()
        let extended = { (statement: Statement) in talk.parse(statement) + talk.bind() + talk.execute() }
        talk.send(extended(.begin(.readCommitted)), extended(Texts.insert(500)), talk.sync)
        #expect(talk.replies() == ["1", "2", "C BEGIN", "1", "2", "C INSERT 0 1", "Z T"])
        talk.send(extended(.nonsense), talk.sync, extended(Texts.branch(1)), talk.sync, extended(.commit), talk.sync)
        #expect(talk.replies() == ["E 42601", "Z E", "E 25P02", "Z E", "1", "2", "C ROLLBACK", "Z I"])
    }

    // MARK: The end

    @Test func terminateEndsBehindWhatWasSent() {
        let talk = Talk()
        talk.send(talk.query(.ping), Messages.empty(FrontendType.terminate), talk.query(.ping))
        #expect(talk.replies() == ["T", "D", "C SELECT 1", "Z I"])
        #expect(talk.outputs.last == .end)
        #expect(talk.origin.backends.isEmpty)
    }

    @Test func aRestartEndsEverySession() {
        let talk = Talk()
        let other = Talk(talk.origin, name: "client-2")
        talk.send(talk.query(.begin(.readCommitted)), talk.query(Texts.insert(500)))
        talk.settle()
        _ = talk.newReplies()
        var restarts = 0
        talk.origin.restarted.append { restarts += 1 }
        talk.origin.restart(downFor: millisecond)
        #expect(restarts == 1)
        #expect(!talk.origin.isUp)
        #expect(talk.origin.backends.isEmpty)
        for one in [talk, other] {
            let replies = one.newReplies()
            #expect(replies == ["E 57P01"] || one.outputs.last == .reset)
            one.send(one.query(.ping))
            #expect(one.replies() == [])
        }
        #expect(talk.origin.isUp)
        let later = Talk(talk.origin, name: "client-3")
        later.send(later.query(Texts.branch(500)))
        #expect(later.replies() == ["T", "C SELECT 0", "Z I"])
    }

    // MARK: Bytes

    @Test func messagesMayComeCutAnywhere() {
        let whole = Talk()
        let cut = Talk()
        let bytes =
            whole.query(.ping) + whole.parse(.ping) + whole.bind() + whole.describe("P") + whole.execute() + whole.sync
        _ = cut.query(.ping)
        whole.send(bytes)
        for byte in bytes { cut.send([byte]) }
        #expect(whole.replies() == cut.replies())
    }

    @Test func fieldsThatAreNotThereAreAProtocolViolation() {
        let talk = Talk()
        talk.send(Wire.message(FrontendType.bind) { $0.cString("") }, talk.sync)
        #expect(talk.replies() == ["E 08P01", "Z I"])
        talk.send([UInt8(ascii: "y"), 0, 0, 0, 4])
        #expect(talk.replies() == ["E 08P01"])
        #expect(talk.outputs.last == .end)
    }
}
