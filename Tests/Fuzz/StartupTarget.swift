import PGProtocol

@testable import Cache

/// Arbitrary first bytes of a client: startup packets, requests for encryption, cancel requests.
///
/// They are decided on alike however they are cut, and a cancel request is understood to the last byte.
enum StartupTarget {
    /// Nothing is asked of it before there is a session.
    nonisolated(unsafe) private static let shop = CannedShop()

    static func run(_ input: FuzzInput) {
        let whole = steps(input, inPieces: false)
        let pieces = steps(input, inPieces: true)
        expect(whole == pieces, "cut otherwise, \(whole) became \(pieces)")
    }

    private static func steps(_ given: FuzzInput, inPieces: Bool) -> [String] {
        var input = given
        var session = Session(number: SessionNumber(index: 0, generation: 1))
        defer { session.ended(shop.store) }
        let said = input.payload.bytes
        var told: [String] = []
        var end = inPieces ? 0 : said.count
        var position = 0
        while true {
            let count = end - position
            let step = withExactCopy(said[position..<end]) { session.clientSent($0, shop.store) }
            var taken = 0
            switch step {
            case .needMore(let needed):
                expect(needed > count, "\(needed) bytes asked for, \(count) are there")
                expect(needed <= StartupPacket.lengthMax, "\(needed) bytes asked for")
                if end == said.count { return told }
                end += FuzzInput.piece(input.control(), of: said.count - end)
                continue
            case .refuseEncryption(let consumed):
                taken = consumed
                told.append("refuse \(consumed)")
            case .cancel(let consumed, let key):
                expect(
                    key.cancelRequest == Array(said[position..<position + consumed]),
                    "a cancel request is its key and nothing else")
                return told + ["cancel \(consumed)"]
            case .open(let consumed):
                expect(consumed <= count, "\(consumed) of \(count) bytes were taken")
                return told + ["open \(consumed) \(session.state) \(session.startupUser) "
                    + "\(session.startupDatabase) \(session.isReplication)"]
            case .fail(let error):
                expect(error.encoded.count > 5, "an error says something")
                return told + ["fail \(error.message)"]
            case .park, .hit, .reply, .forward, .terminate:
                fatalError("\(step) before there is a session")
            }
            expect(taken > 0 && taken <= count, "\(taken) of \(count) bytes were taken")
            position += taken
        }
    }
}
