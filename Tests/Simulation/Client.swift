import PGProtocol

/// Who hears what came of a client's requests.
protocol ClientObserver: AnyObject {
    /// A connection begins; `name` is its application_name.
    func began(client name: String, connection socket: Socket)
    func answered(_ exchange: Exchange)
    func violated(_ violation: Violation)
    /// Everything that it has asked for was answered.
    func settled(client name: String)
    /// A connection is over, by whoever's wish, and so many statements of it were not answered.
    func lost(client name: String, outstanding: Int)
}

extension ClientObserver {
    func settled(client name: String) {}
}

/// A client: goes through the steps of its plan, one after the other, on one connection at a time.
///
/// A connection that ends takes the rest of its step with it; the client connects again and goes on with the next
/// step. Ends that it did not ask for are violations unless `toleratesLosses`.
///
/// Invariant: a scheduled continuation belongs to one connection and one pause (`life`, `isPaused`), and does
/// nothing behind their end.
final class Client {
    let number: Int
    /// Faults are on: the connection may end at any time.
    var toleratesLosses = false
    /// Statements sent, connections begun.
    var statementCount: Int { statementsBefore + conversation.sent }
    private(set) var connectionCount = 0

    private enum State {
        /// No connection; one will be tried if there are steps.
        case away
        case open
        /// It has said that it goes, and waits for the end.
        case leaving
        /// Broke a rule, or met one that was: does nothing any more.
        case stopped
    }
    private var state = State.away
    private var isRetrying = false
    private var isPaused = false
    private var life = 0
    /// The life that `watch` looks at; 0 for none.
    private var watched = 0

    private var steps: [Step]
    private let login: Login
    private var nextStep = 0
    private var moves: [ClientMove] = []
    private var nextMove = 0
    private var isStepping = false
    /// The second part of a request.
    private var unsent: [UInt8] = []

    private var socket: Socket?
    private var conversation: ClientConversation
    private var statementsBefore = 0
    private var names = ClientScript.StatementNames()
    private var cancellers: [Canceller] = []
    private var exchanges: [Exchange] = []
    private var lastProgress: UInt64 = 0

    private let surroundings: Surroundings
    private let dial: (String, any SocketOwner) -> Socket?
    private weak var observer: (any ClientObserver)?

    /// A client gives up a silent connection after so long, if it tolerates losses.
    static let patience = 10 * second

    /// `dial` connects to the proxy, or gives nil when nobody listens.
    init(
        _ surroundings: Surroundings, plan: ClientPlan, observer: any ClientObserver,
        dial: @escaping (String, any SocketOwner) -> Socket?
    ) {
        self.surroundings = surroundings
        self.observer = observer
        self.dial = dial
        number = plan.number
        steps = plan.steps
        login = plan.login
        conversation = ClientConversation(name: "client-\(plan.number).0", surroundings)
    }

    convenience init(
        _ surroundings: Surroundings, _ reactor: ScriptedReactor, plan: ClientPlan, observer: any ClientObserver
    ) {
        self.init(surroundings, plan: plan, observer: observer) { [unowned reactor] name, owner in
            reactor.connect(client: name, owner: owner)
        }
    }

    // MARK: For the runner

    /// application_name of the connection that is there now, or was last.
    var name: String { conversation.name }

    /// All steps are through.
    var isDone: Bool {
        state == .stopped || (nextStep == steps.count && !isStepping && state != .leaving)
    }
    /// Something is owed to it: a reply, a connection, the end of one.
    var isWaiting: Bool {
        switch state {
        case .open: conversation.outstanding > 0
        case .leaving: true
        case .away: isRetrying
        case .stopped: false
        }
    }
    /// The moment of the last thing that happened to it, while it waits.
    var waitingSince: UInt64? { isWaiting ? lastProgress : nil }

    /// CancelRequests whose connections the proxy has not closed yet.
    var openCancels: Int { cancellers.count }

    /// Begins, a little later than asked.
    func start() {
        guard state == .away else { return advance() }
        retry(upTo: 200 * microsecond)
    }

    /// More to do; it begins at once if it had nothing.
    func give(_ more: [Step]) {
        let wasDone = isDone
        steps += more
        guard wasDone else { return }
        if state == .open { watch() }
        start()
    }

    /// Leaves out the steps that it has not begun.
    func finish() { steps.removeSubrange(nextStep...) }

    /// Ends the connection of a client that is done.
    func hangUp() {
        guard state == .open, isDone else { return }
        leave(.terminate)
    }

    // MARK: Connecting

    private func retry(upTo nanoseconds: UInt64) {
        guard !isRetrying, nextStep < steps.count else { return }
        isRetrying = true
        lastProgress = surroundings.scheduler.now
        schedule(upTo: nanoseconds)
    }

    private func schedule(upTo nanoseconds: UInt64) {
        var random = surroundings.random("connection of client \(number)", connectionCount)
        surroundings.scheduler.after(random.next() % nanoseconds + 1) { [weak self] in self?.connect() }
    }

    private func connect() {
        guard state == .away else { return }
        var random = surroundings.random("client \(number)", connectionCount)
        connectionCount += 1
        let name = "client-\(number).\(connectionCount)"
        guard let socket = dial(name, self) else {
            surroundings.trace.note(name, "nobody listens")
            schedule(upTo: 5 * millisecond)
            return
        }
        isRetrying = false
        life += 1
        statementsBefore += conversation.sent
        conversation = ClientConversation(name: name, surroundings)
        self.socket = socket
        state = .open
        lastProgress = surroundings.scheduler.now
        observer?.began(client: name, connection: socket)
        moves = ClientScript.connecting(name: name, login, asksForEncryption: random.chance(250))
        nextMove = 0
        isStepping = true
        watch()
        advance()
    }

    /// While losses are tolerated, a connection that says nothing is given up in the end.
    private func watch() {
        guard watched != life else { return }
        let life = life
        watched = life
        surroundings.scheduler.after(second) { [weak self] in
            guard let self, self.watched == life else { return }
            self.watched = 0
            guard self.life == life, !self.isDone else { return }
            if self.toleratesLosses, let since = self.waitingSince,
                self.surroundings.scheduler.now - since > Client.patience
            {
                let silent = self.socket
                self.ended("gave up")
                silent?.reset()
            } else {
                self.watch()
            }
        }
    }

    // MARK: Steps

    private func advance() {
        while state == .open, !isPaused {
            if nextMove < moves.count {
                let move = moves[nextMove]
                if case .await = move, conversation.outstanding > 0 { return }
                nextMove += 1
                perform(move)
            } else if conversation.outstanding > 0 {
                return
            } else if conversation.status != .idle {
                send([.query(BoundStatement(.rollback))])
            } else {
                isStepping = false
                guard nextStep < steps.count else { return }
                isStepping = true
                begin(steps[nextStep])
            }
        }
    }

    private func begin(_ step: Step) {
        nextStep += 1
        surroundings.trace.note(name, "step \(nextStep): \(step.action.words)")
        moves = ClientScript.moves(for: step, &names) { [unowned self] in conversation.isPrepared($0) }
        nextMove = 0
    }

    private func perform(_ move: ClientMove) {
        switch move {
        case .send(let messages): send(messages)
        case .sendInTwo(let messages, let cutPerMille, let nanoseconds):
            let bytes = encoded(messages)
            let cut = min(max(1, bytes.count * cutPerMille / 1000), bytes.count)
            unsent = Array(bytes[cut...])
            socket?.send(Array(bytes[..<cut]))
            pause(nanoseconds)
        case .await: break
        case .pause(let nanoseconds): pause(nanoseconds)
        case .read(let reads): socket?.isReading = reads
        case .requireBlock: if conversation.status != .inTransaction { nextMove = moves.count }
        case .cancel: cancel()
        case .leave(let leaving): leave(leaving)
        }
    }

    private func pause(_ nanoseconds: UInt64) {
        isPaused = true
        let life = life
        surroundings.scheduler.after(nanoseconds) { [weak self] in
            guard let self, self.life == life, self.isPaused else { return }
            self.isPaused = false
            if !self.unsent.isEmpty {
                self.socket?.send(self.unsent)
                self.unsent = []
            }
            self.advance()
        }
    }

    private func send(_ messages: [ClientRequest]) { socket?.send(encoded(messages)) }

    private func encoded(_ messages: [ClientRequest]) -> [UInt8] {
        if conversation.outstanding == 0 { lastProgress = surroundings.scheduler.now }
        if surroundings.trace.isOn {
            let words = messages.map { $0.words(surroundings.book) }.joined(separator: "; ")
            surroundings.trace.note(name, words)
        }
        return conversation.send(messages, event: surroundings.scheduler.count)
    }

    // MARK: Going away

    private func cancel() {
        guard let key = conversation.key else { return }
        let canceller = Canceller("\(name) cancel \(cancellers.count + 1)", self)
        guard let socket = dial(canceller.name, canceller) else { return }
        surroundings.trace.note(name, "CancelRequest")
        cancellers.append(canceller)
        canceller.socket = socket
        socket.send(key.cancelRequest)
    }

    fileprivate func cancelled(_ canceller: Canceller, saidSomething: Bool) {
        if saidSomething, !toleratesLosses {
            stop(Violation(rule: 5, text: "\(canceller.name): a CancelRequest was answered"))
        }
        cancellers.removeAll { $0 === canceller }
        canceller.socket?.end()
    }

    private func leave(_ leaving: Step.Leaving) {
        guard let socket else { return }
        surroundings.trace.note(name, "leaves: \(leaving)")
        lastProgress = surroundings.scheduler.now
        switch leaving {
        case .terminate:
            send([.terminate])
            state = .leaving
            socket.end()
        case .end:
            state = .leaving
            socket.end()
        case .reset:
            ended("reset")
            socket.reset()
        case .vanish:
            ended("vanished")
            socket.vanish()
        }
    }

    /// The connection is over: what was asked is given up, and so is the rest of the step.
    private func ended(_ words: String) {
        let name = name
        let outstanding = conversation.sent - conversation.answered
        surroundings.trace.note(name, "\(words), \(outstanding) outstanding")
        socket = nil
        state = .away
        life += 1
        isPaused = false
        isStepping = false
        unsent = []
        moves = []
        nextMove = 0
        lastProgress = surroundings.scheduler.now
        observer?.lost(client: name, outstanding: outstanding)
        retry(upTo: 5 * millisecond)
    }

    private func lost(_ words: String) {
        if state != .leaving, !toleratesLosses {
            stop(Violation(rule: 5, text: "\(name): \(words) without a fault"))
        } else {
            ended(words)
        }
    }

    private func stop(_ violation: Violation) {
        surroundings.trace.note(name, violation.description)
        state = .stopped
        observer?.violated(violation)
    }
}

extension Client: SocketOwner {
    func received(_ bytes: [UInt8], on socket: Socket) {
        guard socket === self.socket, state != .stopped else { return }
        lastProgress = surroundings.scheduler.now
        var violation: Violation?
        do throws(Violation) {
            try conversation.receive(bytes, &exchanges)
        } catch {
            violation = error
        }
        for exchange in exchanges {
            if surroundings.trace.isOn { surroundings.trace.note(name, exchange.reply.words) }
            observer?.answered(exchange)
        }
        exchanges.removeAll(keepingCapacity: true)
        if let violation { return stop(violation) }
        if let fatal = conversation.fatal {
            lost(fatal)
            socket.end()
            return
        }
        if conversation.outstanding == 0 { observer?.settled(client: name) }
        advance()
    }

    func ended(_ socket: Socket) {
        guard socket === self.socket, state != .stopped else { return }
        lost("end of the stream")
        socket.end()
    }

    func closed(_ socket: Socket) {
        guard socket === self.socket, state != .stopped else { return }
        lost("closed")
    }
}

/// A connection for one CancelRequest; the server closes it without a word.
private final class Canceller: SocketOwner {
    let name: String
    var socket: Socket?
    private weak var client: Client?

    init(_ name: String, _ client: Client) {
        self.name = name
        self.client = client
    }

    func received(_ bytes: [UInt8], on socket: Socket) { client?.cancelled(self, saidSomething: true) }
    func ended(_ socket: Socket) { client?.cancelled(self, saidSomething: false) }
    func closed(_ socket: Socket) { client?.cancelled(self, saidSomething: false) }
}

extension Reply {
    /// For the trace.
    var words: String {
        switch self {
        case .rows(_, _, let tag): tag.hasPrefix("SELECT ") ? "\(tag.dropFirst(7)) rows" : tag
        case .done(let tag): tag
        case .error(let state, _): "ERROR \(state)"
        case .empty: "empty"
        }
    }
}
