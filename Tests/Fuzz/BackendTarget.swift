import PGProtocol

@testable import Cache

/// Arbitrary bytes of an origin, during log-in or with requests outstanding.
///
/// The first control chooses what the client has asked. Then the bytes come twice: whole, and in
/// pieces of the sizes that the controls give. The client must hear the same; only what a session
/// still waits for at the end may differ.
enum BackendTarget {
    static func run(_ input: FuzzInput) {
        let whole = heard(input, inPieces: false)
        let pieces = heard(input, inPieces: true)
        let common = zip(whole, pieces).prefix { $0 == $1 }.count
        expect(
            common == min(whole.count, pieces.count),
            "what the client hears depends on how it was cut, from byte \(common) on:\n\(whole)\n\(pieces)")
    }

    private static func heard(_ given: FuzzInput, inPieces: Bool) -> [UInt8] {
        var input = given
        let script = Int(input.control())
        let shop = CannedShop()
        let client: Dialogue
        if script == 0 {
            client = Dialogue(shop, number: 0)
            client.connects()
        } else {
            let other = Dialogue.loggedIn(shop, number: 1)
            shop.warmUp(other)
            client = Dialogue.loggedIn(shop, number: 0)
            client.sends(scripts[(script - 1) % scripts.count])
        }
        let said = input.payload.bytes
        var position = 0
        while position < said.count {
            let count = inPieces ? FuzzInput.piece(input.control(), of: said.count - position) : said.count
            client.hears(Array(said[position..<position + count]))
            position += count
        }
        shop.turnEnds([client])
        shop.passes()
        expect(
            client.session.reported.count <= Session.reportedMax, "more settings are kept than there may be")
        return client.received
    }

    private typealias Client = ClientMessages

    /// Requests of every kind, alone and one behind the other.
    private static let scripts: [[UInt8]] = [
        Client.query("select name from items where tenant = 4"),
        Client.execution("select id, name from items where tenant = $1", ["4"]),
        Client.parse("select id from orders", name: "a") + Client.describe("S", "a") + Client.sync,
        // Answered by the session, then injected because the second one must be executed.
        Client.parse("select id from items where id = $1", name: "b") + Client.describe("S", "b") + Client.sync
            + Client.bind("b", ["8"]) + Client.describe("P") + Client.execute() + Client.sync,
        Client.query("begin") + Client.query("insert into items values (1)") + Client.query("commit"),
        Client.query("create table more (id integer)") + Client.query("select id from orders"),
        Client.execution("select id from orders where id = $1", ["1"])
            + Client.execution("select id from orders where id = $1", ["2"]),
        Client.query("copy items from stdin"),
        Client.parse("copy items from stdin") + Client.bind() + Client.execute() + Client.sync,
        Client.bind("unknown") + Client.execute() + Client.sync + Client.query("deallocate all"),
        Client.message(FrontendType.functionCall) { $0.uint32(0) },
        Client.query("select id from items"),
    ]
}
