import PGProtocol

@testable import Cache

/// A session between its client and its origin, performed as the shell does it, with each step checked.
///
/// Checked here: no step takes more than there is, or nothing; `needMore` asks for more than there is and
/// for no more than the receive buffer can hold; an entry that is hit is a whole answer.
final class Dialogue {
    let shop: CannedShop
    var session: Session
    var origin = ModelOrigin()
    /// All that the client has got.
    private(set) var received: [UInt8] = []
    /// What the origin was sent and has not read.
    private(set) var toOrigin: [UInt8] = []
    /// What the client said that is undecided, and what the origin said that the session has not heard.
    private(set) var unread: [UInt8] = []
    private var unheard: [UInt8] = []
    /// The client said goodbye, or an error ended the session.
    private(set) var hasEnded = false
    private(set) var isParked = false

    /// A unit, and the header of what follows it.
    static let bytesNeededMax = ExtendedUnit.bytesMax + 5

    init(_ shop: CannedShop, number: UInt32) {
        self.shop = shop
        session = Session(number: SessionNumber(index: number, generation: 1))
    }

    deinit { session.ended(shop.store) }

    /// Logged in, with its settings known.
    static func loggedIn(_ shop: CannedShop, number: UInt32) -> Dialogue {
        let dialogue = Dialogue(shop, number: number)
        dialogue.connects()
        dialogue.hears(OriginMessages.logIn)
        dialogue.originAnswers()
        dialogue.received = []
        expect(dialogue.session.standing == .cacheable, "the model's settings are cacheable")
        return dialogue
    }

    /// The startup packet is with the origin.
    func connects() {
        sends(ClientMessages.startup)
        toOrigin = []
    }

    // MARK: - The client

    func sends(_ bytes: [UInt8]) {
        unread += bytes
        decides()
    }

    /// What the client has said is looked at again.
    func decides() {
        isParked = false
        while !unread.isEmpty, !hasEnded {
            let count = unread.count
            let step = withExactCopy(unread[...]) { session.clientSent($0, shop.store) }
            Trace.line("session \(session.number.index): client \(unread.prefix(40)) \(step)")
            guard let consumed = perform(step, count) else { return }
            expect(consumed >= 0 && consumed <= count, "\(consumed) of \(count) bytes were taken")
            unread.removeFirst(consumed)
        }
    }

    /// Nil when nothing more can be decided now.
    private func perform(_ step: Session.ClientStep, _ count: Int) -> Int? {
        switch step {
        case .needMore(let needed):
            expect(needed > count, "\(needed) bytes asked for, \(count) are there")
            expect(needed <= Self.bytesNeededMax, "\(needed) bytes asked for")
            return nil
        case .park:
            isParked = true
            return nil
        case .hit(let consumed, let hit):
            expect(consumed > 0, "a hit answers something")
            answer(hit)
            return consumed
        case .reply(let consumed):
            expect(consumed > 0, "a reply answers something")
            received += session.takeOutgoing()
            return consumed
        case .forward(let consumed):
            expect(consumed > 0 || session.hasInjection, "nothing was forwarded")
            toOrigin += session.takeInjection() + unread.prefix(consumed)
            return consumed
        case .open(let consumed):
            toOrigin += unread.prefix(consumed)
            return consumed
        case .refuseEncryption(let consumed):
            received.append(UInt8(ascii: "N"))
            return consumed
        case .terminate(let consumed):
            hasEnded = true
            return consumed
        case .cancel(let consumed, _):
            hasEnded = true
            return consumed
        case .fail(let error):
            received += error.encoded
            hasEnded = true
            return nil
        }
    }

    private func answer(_ hit: Session.Hit) {
        if hit.parts.contains(.parseComplete) { received += OriginMessages.message(BackendType.parseComplete) }
        if hit.parts.contains(.bindComplete) { received += OriginMessages.message(BackendType.bindComplete) }
        let bytes = shop.store.bytes(hit.entry, describes: hit.parts.contains(.description))
        let last = bytes.lastMessage
        expect(
            last.count > 0
                && (last[0] == BackendType.commandComplete || last[0] == BackendType.portalSuspended),
            "an entry is whole messages that end an execution")
        received += bytes.bytes
        guard hit.parts.contains(.ready) else { return }
        let status: TransactionStatus = hit.parts.contains(.isInBlock) ? .inTransaction : .idle
        received += OriginMessages.ready(status.rawValue)
    }

    // MARK: - The origin

    /// The origin reads what it was sent and answers it.
    func originAnswers() {
        var turns = 0
        while !toOrigin.isEmpty {
            turns += 1
            expect(turns < 1000, "session and origin never stop talking")
            let bytes = toOrigin
            toOrigin = []
            hears(origin.heard(bytes))
        }
    }

    /// The origin says this.
    func hears(_ bytes: [UInt8]) {
        unheard += bytes
        while !unheard.isEmpty {
            let count = unheard.count
            let step = withExactCopy(unheard[...]) { session.originSent($0, shop.store) }
            Trace.line("session \(session.number.index): origin \(unheard.prefix(40)) \(step)")
            signalled()
            switch step {
            case .needMore(let needed):
                expect(needed > count, "\(needed) bytes asked for, \(count) are there")
                expect(needed <= Self.bytesNeededMax, "\(needed) bytes asked for")
                return wake()
            case .relay(let taken):
                expect(taken > 0 && taken <= count, "\(taken) of \(count) bytes were relayed")
                received += unheard.prefix(taken)
                unheard.removeFirst(taken)
            case .swallow(let taken):
                expect(taken > 0 && taken <= count, "\(taken) of \(count) bytes were swallowed")
                received += session.takeOutgoing()
                toOrigin += session.takeInjection()
                unheard.removeFirst(taken)
            case .hold:
                // The stream never comes here: the client waits no longer.
                session.woken()
            }
        }
        wake()
    }

    private func signalled() {
        if session.signals.contains(.loggedIn) {
            toOrigin += session.takeInjection()
            isParked = true
        }
        if session.signals.contains(.wake) { isParked = true }
        session.signals = session.signals.intersection(.originSaidFatal)
    }

    private func wake() { if isParked { decides() } }

    // MARK: - What the shell tells at the end of a turn

    /// What this session waits for has come: a leader's end, or the watermark.
    func woken() {
        session.woken()
        wake()
    }

    /// The leader is too slow, or the watermark is.
    func followerReleased() {
        if session.awaitsBeat { shop.store.watermarkIsLate(forWrites: session.awaitsOwnWrite) }
        guard session.awaited != nil else { return }
        session.followerReleased()
        wake()
    }
}

extension CannedShop {
    /// The end of a turn: who waits is told, and what the store wants to know is asked.
    func turnEnds(_ dialogues: [Dialogue]) {
        settle()
        while let number = store.nextWoken() {
            for dialogue in dialogues where dialogue.session.number == number { dialogue.woken() }
        }
        settle()
    }

    /// Tables known and followed, rights proven, and the answers to `ClientMessages.known` cached.
    func warmUp(_ dialogue: Dialogue) {
        for _ in 0..<2 {
            for script in ClientMessages.known {
                dialogue.sends(script)
                dialogue.originAnswers()
                turnEnds([dialogue])
            }
            describesTables()
            passes()
        }
    }
}

extension ClientMessages {
    /// Whole segments whose answers can be cached.
    static let known: [[UInt8]] = [
        query("select id from items"),
        execution("select id from items where id = $1", ["7"]),
        execution("select id, name from orders where tenant = 3"),
    ]
}
