import PGProtocol
import Testing

@testable import Simulation

/// One connection of a client, with a server that is made by hand.
@Suite struct ClientConversationTests {
    typealias Server = ServerMessages

    struct Dialogue {
        var conversation = ClientConversation(name: "client-1.1", book: StatementBook())
        var exchanges: [Exchange] = []

        init(startsUp: Bool = true) throws {
            guard startsUp else { return }
            _ = conversation.send([.startup(applicationName: "client-1.1")], event: 1)
            try hear(Server.startup)
        }
        mutating func say(_ messages: ClientRequest..., event: UInt64 = 5) {
            _ = conversation.send(messages, event: event)
        }
        mutating func hear(_ bytes: [UInt8]...) throws {
            for piece in bytes { try conversation.receive(piece, &exchanges) }
        }
        /// Rule 5 is broken by this.
        mutating func refuses(_ bytes: [UInt8]..., sourceLocation: SourceLocation = #_sourceLocation) {
            var violation: Violation?
            do throws(Violation) {
                try conversation.receive(bytes.flatMap { $0 }, &exchanges)
            } catch { violation = error }
            #expect(violation?.rule == 5, sourceLocation: sourceLocation)
        }
    }

    static func bind(_ isBinary: Bool = false, portal: String = "") -> ClientRequest {
        .bind(ClientRequest.Binding(portal: portal, bound: Samples.bound, hasBinaryResults: isBinary))
    }
    static let parse = ClientRequest.parse("", Samples.bound.statement, .nothing)
    static let execute = ClientRequest.execute(portal: "", limit: 0)

    // MARK: What is right

    @Test func aConnectionBegins() throws {
        var dialogue = try Dialogue(startsUp: false)
        let question = dialogue.conversation.send([.encryptionRequest], event: 1)
        #expect(question == [0, 0, 0, 8, 4, 210, 22, 47])
        try dialogue.hear([UInt8(ascii: "N")])
        let startup = dialogue.conversation.send([.startup(applicationName: "client-1.1")], event: 2)
        guard case .session(_, let parameters) = try withView(startup, { try StartupPacket($0) }) else {
            Issue.record("no StartupMessage")
            return
        }
        #expect(parameters.map(\.name) == ["user", "database", "application_name"])
        #expect(parameters.map(\.value) == ["app", "sim", "client-1.1"])
        try dialogue.hear(Server.startup)
        #expect(dialogue.conversation.key == BackendKey(process: 77, secret: [1, 2, 3, 4]))
        #expect(dialogue.conversation.outstanding == 0)
    }

    @Test func aSimpleQueryIsAnsweredWithItsPosition() throws {
        var dialogue = try Dialogue()
        dialogue.say(.query(Samples.select), event: 9)
        let answer = Samples.description() + Samples.rows([3]) + Server.complete("SELECT 1")
        try dialogue.hear(Server.notice, answer, Server.parameterStatus, Server.ready)
        let exchange = try #require(dialogue.exchanges.first)
        #expect(
            exchange.reply
                == .rows(description: Samples.description(), rows: Samples.rows([3]), tag: "SELECT 1"))
        #expect(exchange.endOfReply == Server.startup.count + Server.notice.count + answer.count)
        #expect(exchange.sentAt == 9 && exchange.number == 1 && !exchange.isBinary)
        #expect(dialogue.conversation.outstanding == 0)
    }

    @Test func theExtendedProtocolIsAnsweredMessageByMessage() throws {
        var dialogue = try Dialogue()
        dialogue.say(Self.parse, .describeStatement(""), Self.bind(true), event: 9)
        dialogue.say(.describePortal(""), Self.execute, .sync, event: 12)
        try dialogue.hear(
            Server.parseComplete, Server.parameters([.int4]), Samples.description(), Server.bindComplete,
            Samples.description(isBinary: true), Samples.rows([3], isBinary: true), Server.complete("SELECT 1"),
            Server.ready)
        let exchange = try #require(dialogue.exchanges.first)
        #expect(exchange.parameters == [.int(3)] && exchange.isBinary)
        #expect(
            exchange.reply
                == .rows(
                    description: Samples.description(isBinary: true), rows: Samples.rows([3], isBinary: true),
                    tag: "SELECT 1"))
        // The view is taken at Bind.
        #expect(exchange.sentAt == 9)
    }

    @Test func repliesThatAreCutAnywhereAreReadAlike() throws {
        let stream =
            Server.parseComplete + Server.bindComplete + Samples.description() + Samples.rows([3])
            + Server.complete("SELECT 1") + Server.ready + Samples.description() + Samples.rows([1, 2])
            + Server.error("22012") + Server.ready
        func replies(_ pieces: [[UInt8]]) throws -> [Exchange] {
            var dialogue = try Dialogue()
            dialogue.say(Self.parse, Self.bind(), .describePortal(""), Self.execute, .sync)
            dialogue.say(.query(Samples.select))
            for piece in pieces { try dialogue.hear(piece) }
            #expect(dialogue.conversation.outstanding == 0 && dialogue.conversation.pendingBytes == 0)
            return dialogue.exchanges
        }
        let whole = try replies([stream])
        #expect(whole.count == 2 && whole[1].reply == .error(state: "22012", rows: Samples.rows([1, 2])))
        for cut in 1..<stream.count {
            let parts = try replies([Array(stream[..<cut]), Array(stream[cut...])])
            #expect(parts.map(\.reply) == whole.map(\.reply))
            #expect(parts.map(\.endOfReply) == whole.map(\.endOfReply))
        }
        let single = try replies(stream.map { [$0] })
        #expect(single.map(\.endOfReply) == whole.map(\.endOfReply))
    }

    @Test func anErrorSkipsToSync() throws {
        var dialogue = try Dialogue()
        dialogue.say(Self.parse, Self.bind(), Self.execute, Self.parse, Self.bind(), Self.execute, .sync)
        dialogue.say(.query(Samples.select))
        try dialogue.hear(Server.parseComplete, Server.bindComplete, Server.error("57014"))
        #expect(dialogue.exchanges.map(\.reply) == [.error(state: "57014", rows: [])])
        dialogue.refuses(Server.parseComplete)
        try dialogue.hear(Server.ready, Samples.description(), Server.complete("SELECT 0"), Server.ready)
        #expect(dialogue.exchanges.map(\.number) == [1, 3])
    }

    @Test func anErrorBehindFlushDropsWhatIsSentUpToSync() throws {
        var dialogue = try Dialogue()
        dialogue.say(.parse("", .nonsense, .nothing), .flush)
        try dialogue.hear(Server.error("42601"))
        #expect(dialogue.conversation.outstanding == 0 && dialogue.exchanges.isEmpty)
        dialogue.say(Self.parse, Self.bind(), Self.execute, .sync)
        try dialogue.hear(Server.ready)
        #expect(dialogue.conversation.outstanding == 0)
        #expect(dialogue.conversation.sent == 1 && dialogue.conversation.answered == 0)
    }

    @Test func aRowLimitSuspendsThePortal() throws {
        var dialogue = try Dialogue()
        dialogue.say(Self.parse, Self.bind(), .execute(portal: "", limit: 2), Self.execute, .sync)
        try dialogue.hear(
            Server.parseComplete, Server.bindComplete, Samples.rows([1, 2]), Server.portalSuspended,
            Samples.rows([3]), Server.complete("SELECT 1"), Server.ready)
        #expect(
            dialogue.exchanges.map(\.reply) == [
                .rows(description: nil, rows: Samples.rows([1, 2]), tag: "PortalSuspended"),
                .rows(description: nil, rows: Samples.rows([3]), tag: "SELECT 1"),
            ])
    }

    @Test func aPreparedStatementIsKnownOnceItWasParsed() throws {
        var dialogue = try Dialogue()
        dialogue.say(.parse("s1", Samples.bound.statement, .types), .sync)
        #expect(!dialogue.conversation.isPrepared("s1"))
        try dialogue.hear(Server.parseComplete, Server.ready)
        #expect(dialogue.conversation.isPrepared("s1"))
        dialogue.say(.closeStatement("s1"), .sync)
        try dialogue.hear(Server.closeComplete, Server.ready)
        #expect(!dialogue.conversation.isPrepared("s1"))
    }

    // MARK: Transaction blocks

    @Test func theStatusFollowsTheBlock() throws {
        var dialogue = try Dialogue()
        dialogue.say(.query(BoundStatement(.begin(.readCommitted))))
        try dialogue.hear(Server.complete("BEGIN"), Server.ready(.inTransaction))
        dialogue.say(.query(Samples.update))
        try dialogue.hear(Server.error("40P01"), Server.ready(.failed))
        dialogue.say(.query(BoundStatement(.commit)))
        try dialogue.hear(Server.complete("ROLLBACK"), Server.ready)
        #expect(dialogue.conversation.status == .idle)
    }

    @Test func aCommitThatFailsMayHaveEndedTheBlock() throws {
        for status in [TransactionStatus.idle, .failed] {
            var dialogue = try Dialogue()
            dialogue.say(.query(BoundStatement(.begin(.readCommitted))), .query(BoundStatement(.commit)))
            try dialogue.hear(Server.complete("BEGIN"), Server.ready(.inTransaction))
            try dialogue.hear(Server.error("57014"), Server.ready(status))
            #expect(dialogue.conversation.status == status)
        }
    }

    @Test func aWrongStatusIsAViolation() throws {
        var dialogue = try Dialogue()
        dialogue.say(.query(BoundStatement(.begin(.readCommitted))))
        dialogue.refuses(Server.complete("BEGIN"), Server.ready)

        dialogue = try Dialogue()
        dialogue.say(.query(Samples.update))
        dialogue.refuses(Server.error("40P01"), Server.ready(.failed))
    }

    @Test func nothingIsAnsweredInAFailedBlock() throws {
        var dialogue = try Dialogue()
        dialogue.say(.query(BoundStatement(.begin(.readCommitted))), .query(.init(.nonsense)), .query(Samples.update))
        try dialogue.hear(Server.complete("BEGIN"), Server.ready(.inTransaction))
        try dialogue.hear(Server.error("42601"), Server.ready(.failed))
        dialogue.refuses(Server.complete("UPDATE 1"))
    }

    // MARK: What is wrong

    @Test func everyReplyMustBeOwed() throws {
        for extra in [
            Server.ready, Server.parseComplete, Server.complete("SELECT 0"), Samples.rows([1]), Samples.description(),
            Server.error("42601"), Server.noData, Wire.message(BackendType.notificationResponse) { _ in },
        ] {
            var dialogue = try Dialogue()
            dialogue.refuses(extra)
        }
    }

    /// Every way to leave one message out, to say one twice, or to swap two neighbours is noticed.
    @Test func missingExtraAndReorderedRepliesAreViolations() throws {
        let right = [
            Server.parseComplete, Server.parameters([.int4]), Samples.description(), Server.bindComplete,
            Samples.description(isBinary: true), Samples.rows([3], isBinary: true), Server.complete("SELECT 1"),
            Server.ready, Samples.description(), Samples.rows([3]), Server.complete("SELECT 1"), Server.ready,
        ]
        func asked() throws -> Dialogue {
            var dialogue = try Dialogue()
            dialogue.say(
                Self.parse, .describeStatement(""), Self.bind(true), .describePortal(""), Self.execute, .sync,
                .query(Samples.select))
            return dialogue
        }
        var dialogue = try asked()
        try dialogue.hear(right.flatMap { $0 })
        for place in right.indices {
            var missing = right
            missing.remove(at: place)
            var twice = right
            twice.insert(right[place], at: place)
            var variants = [missing, twice]
            if place > 0 {
                var swapped = right
                swapped.swapAt(place, place - 1)
                variants.append(swapped)
            }
            for variant in variants {
                dialogue = try asked()
                var isNoticed = false
                do throws(Violation) {
                    try dialogue.conversation.receive(variant.flatMap { $0 }, &dialogue.exchanges)
                    isNoticed = dialogue.conversation.outstanding > 0
                } catch { isNoticed = error.rule == 5 }
                #expect(isNoticed, "message \(place)")
            }
        }
    }

    @Test func wrongTagsDescriptionsAndRowsAreViolations() throws {
        for wrong in [
            Samples.description(isBinary: true), Samples.description() + Server.complete("SELECT 1"),
            Samples.description() + Wire.message(BackendType.dataRow) { $0.uint16(1) }, Server.complete("SELECT 0"),
            Samples.description() + Server.complete("UPDATE 0"), Server.empty(BackendType.emptyQueryResponse),
        ] {
            var dialogue = try Dialogue()
            dialogue.say(.query(Samples.select))
            dialogue.refuses(wrong)
        }
    }

    @Test func aFatalErrorEndsTheConversation() throws {
        var dialogue = try Dialogue()
        dialogue.say(.query(Samples.select))
        try dialogue.hear(Server.error("57P01", .fatal))
        #expect(dialogue.conversation.fatal == "FATAL 57P01")
        #expect(dialogue.exchanges.isEmpty)
    }
}
