import PGProtocol
import Testing

@testable import Simulation

/// What a step means on the wire.
@Suite struct ClientScriptTests {
    static func moves(
        _ action: Step.Action, seed: UInt64 = 1, isPrepared: @escaping (String) -> Bool = { _ in false }
    ) -> [ClientMove] {
        var names = ClientScript.StatementNames()
        return ClientScript.moves(for: Step(seed: seed, action: action), &names, isPrepared: isPrepared)
    }
    static func requests(_ moves: [ClientMove]) -> [ClientRequest] {
        moves.flatMap { move -> [ClientRequest] in
            switch move {
            case .send(let list), .sendInTwo(let list, _, _): list
            default: []
            }
        }
    }

    @Test func aSimpleQueryHasItsValuesInTheText() {
        #expect(Self.moves(.query(Samples.bound)) == [.send([.query(Samples.select)]), .await])
        let book = StatementBook()
        var writer = ByteWriter()
        ClientRequest.query(Samples.select).write(to: &writer, book)
        let text = "select a.id, a.note from account a where a.id = 3"
        #expect(writer.bytes == Wire.message(FrontendType.query) { $0.cString(text) })
        #expect(book.statement(text) == Samples.select.statement)
    }

    @Test func bindCarriesFormatsAndValues() {
        var writer = ByteWriter()
        let binding = ClientRequest.Binding(
            portal: "p1", statement: "s1", bound: Samples.bound, hasBinaryParameters: true, hasBinaryResults: true)
        ClientRequest.bind(binding).write(to: &writer, StatementBook())
        #expect(
            writer.bytes
                == Wire.message(FrontendType.bind) { body in
                    body.cString("p1")
                    body.cString("s1")
                    body.append([0, 1, 0, 1, 0, 1, 0, 0, 0, 4, 0, 0, 0, 3, 0, 1, 0, 1])
                })
    }

    @Test func parseDeclaresTypesOrNone() {
        let forms: [(ClientRequest.Declared, [UInt8])] = [
            (.nothing, [0, 0, 0]), (.unspecified, [0, 0, 1, 0, 0, 0, 0]), (.types, [0, 0, 1, 0, 0, 0, 23]),
        ]
        for (declared, bytes) in forms {
            var writer = ByteWriter()
            ClientRequest.parse("s", Samples.bound.statement, declared).write(to: &writer, StatementBook())
            // Behind the NUL of the text.
            #expect(Array(writer.bytes.suffix(bytes.count)) == bytes)
        }
    }

    /// Every execution has its Bind before it, every named Bind its Parse, unless the connection has it.
    @Test func whatIsBoundHasBeenParsed() {
        let list = [Samples.bound, Samples.select, Samples.bound, Samples.update]
        for seed in 0..<300 as Range<UInt64> {
            for action in [
                Step.Action.execute(Samples.bound), .pipeline(list, syncsEach: false), .pipeline(list, syncsEach: true),
                .transaction(TransactionBlock(statements: list)), .prepareEarly(Samples.bound, between: list, pause: 1),
            ] {
                var parsed: Set<String> = []
                var portals: Set<String> = []
                for request in Self.requests(Self.moves(action, seed: seed)) {
                    switch request {
                    case .parse(let name, _, _):
                        #expect(name.isEmpty || !parsed.contains(name), "parsed twice")
                        parsed.insert(name)
                    case .query: parsed.remove("")
                    case .bind(let binding):
                        #expect(parsed.contains(binding.statement))
                        #expect(binding.portal.isEmpty || !portals.contains(binding.portal), "bound twice")
                        portals.insert(binding.portal)
                    case .execute(let portal, _): #expect(portals.contains(portal))
                    default: break
                    }
                }
            }
        }
    }

    @Test func whatIsPreparedIsNotParsedAgain() {
        for seed in 0..<50 as Range<UInt64> {
            let moves = Self.moves(.prepareEarly(Samples.bound, between: [], pause: 1), seed: seed) { _ in true }
            #expect(!Self.requests(moves).contains { if case .parse = $0 { true } else { false } })
        }
    }

    /// Transfers in a block run alone if its BEGIN failed, unless that is seen first.
    @Test func moneyIsNeverSentBehindABeginThatMayHaveFailed() {
        var random = Random(seed: 4)
        let transfer = WriteTemplates(rows: 12).transfer(&random)
        for seed in 0..<300 as Range<UInt64> {
            let moves = Self.moves(.transaction(TransactionBlock(statements: transfer)), seed: seed)
            let syncs = Self.requests(moves).filter { $0 == .sync }.count
            #expect(moves[1] == .await && (moves.count == 2 && syncs == 1 || moves[2] == .requireBlock))
        }
    }

    @Test func slowReadersSendBeforeTheyPause() {
        let moves = Self.moves(.readSlowly([Samples.select], pause: 7))
        #expect(moves.count == 5 && moves[0] == .read(false) && moves[2] == .pause(7) && moves[3] == .read(true))
    }
}
