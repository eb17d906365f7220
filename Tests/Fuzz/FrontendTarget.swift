import CDC
import PGProtocol

@testable import Cache

/// Arbitrary bytes of a client, after log-in, in pieces, while the world around it moves.
///
/// The session stands before a model origin and a warm store, so that hits, captures, coalescing and
/// injected messages are all within reach. Each control is a piece's size (low four bits) and what
/// happens behind it (high four bits). Whatever happens, the client must get byte for byte what the
/// model would have told it without a proxy in between, and all of it when its input ends with a
/// whole segment [S3].
enum FrontendTarget {
    static func run(_ input: FuzzInput) {
        var input = input
        let shop = CannedShop()
        let other = Dialogue.loggedIn(shop, number: 1)
        let client = Dialogue.loggedIn(shop, number: 0)
        shop.warmUp(other)
        let said = input.payload.bytes
        var world = World(shop: shop, client: client, other: other)
        var position = 0
        while position < said.count, !client.hasEnded {
            let control = input.control()
            let count = FuzzInput.piece(control, of: said.count - position)
            client.sends(Array(said[position..<position + count]))
            position += count
            world.happens(control >> 4)
        }
        world.calmsDown()
        compare(client, with: said)
    }

    /// The client heard what the origin alone would have told it.
    private static func compare(_ client: Dialogue, with said: [UInt8]) {
        var reference = ModelOrigin()
        let told = reference.heard(said)
        let isWhole = reference.isBetweenMessages && !reference.isGone
            && [FrontendType.sync, FrontendType.query, FrontendType.functionCall].contains(reference.lastType)
        let common = zip(client.received, told).prefix { $0 == $1 }.count
        // Whoever breaks the protocol is thrown out by the origin; what it asked behind that has no answer
        // that would be the right one.
        let certain = reference.bytesBeforeSpentPortal ?? (reference.isGone ? told.count : .max)
        expect(
            common == client.received.count || common >= certain,
            "told something else from byte \(common) on:\n\(client.received)\ninstead of\n\(told)")
        expect(
            !isWhole || common == told.count || common >= certain,
            "the client waits for \(told.count - common) bytes:\n\(client.received)\nof\n\(told)")
    }

    /// What goes on beside the client.
    private struct World {
        let shop: CannedShop
        let client: Dialogue
        let other: Dialogue
        private var script = 0

        init(shop: CannedShop, client: Dialogue, other: Dialogue) {
            self.shop = shop
            self.client = client
            self.other = other
        }

        mutating func happens(_ event: UInt8) {
            Trace.line("event \(event)")
            switch event {
            case 1, 2: client.originAnswers()
            case 3: shop.beat(shop.store.watermark)
            case 4: shop.passes()
            case 5: shop.inserts(CannedShop.items, ["7", "3", "1"])
            case 6: shop.receives(CannedShop.orders, .truncate)
            case 7: shop.store.schemaChanged()
            case 8:
                shop.store.streamLost(mustEmpty: true)
                shop.store.streamBecameLive(LSN(100))
            case 9: client.followerReleased()
            case 10:
                script = (script + 1) % ClientMessages.known.count
                other.sends(ClientMessages.known[script])
            case 11: other.originAnswers()
            case 12: shop.store.relationsUnfollowed([CannedShop.items])
            case 13: shop.store.streamLost(mustEmpty: false)
            case 14: shop.store.streamBecameLive(shop.store.watermark)
            case 15: shop.store.setBytesMax(shop.store.figures.bytesMax == 0 ? 128 << 10 : 0)
            default: break
            }
            // A turn ends now and then: what comes together is decided on together.
            if event != 0 { shop.turnEnds([client, other]) }
        }

        /// Everybody answers, until nobody has anything to say.
        mutating func calmsDown() {
            for turn in 0..<8 {
                other.originAnswers()
                client.originAnswers()
                shop.passes()
                shop.turnEnds([client, other])
                if turn > 3 { client.followerReleased() }
                if client.isParked { client.decides() }
            }
        }
    }
}
