import Loop
import PGProtocol

/// The modelled origin as the network knows it: backends for clients, links for pgcache's own connections, one
/// database behind all.
///
/// It relies on the reactor asking it before a connection of the proxy's stands. Backends are kept in the order in
/// which they were made, so that whatever concerns all of them happens in the same order in every run.
final class Origin: OriginHost {
    let surroundings: Surroundings
    let database: OriginDatabase
    let executions = ExecutionLog()
    /// Publications, the slot and the walsender: see Walsender.swift.
    let publications: Publications
    /// Open backends, by the socket of their client's session.
    private(set) var backends: [Backend] = []
    /// New connections are refused, or answered with 57P03, while the origin is down.
    private(set) var isUp = true
    /// The postmaster takes connections again, but the database is not ready: they are answered with 57P03.
    private(set) var isStarting = false
    /// A fault: only new connections are refused, open ones go on.
    var refusesConnections = false
    /// What else has to begin anew when the origin has been restarted, in order: links, publications.
    var restarted: [() -> Void] = []

    private var backendsMade = 0
    private var restarts = 0
    private var random: Random

    init(_ surroundings: Surroundings) {
        self.surroundings = surroundings
        database = OriginDatabase(surroundings)
        publications = Publications(surroundings, database)
        random = surroundings.random("origin")
        restarted.append { [publications] in publications.restarted() }
    }

    // MARK: Backends

    func accepts(_ socket: Socket) -> Bool {
        guard isUp || isStarting, !refusesConnections else { return false }
        socket.owner = open { output in
            switch output {
            case .bytes(let bytes): socket.send(bytes)
            case .end: socket.end()
            case .reset: socket.reset()
            }
        }
        return true
    }

    /// A new backend whose bytes go to `output`.
    func open(_ output: @escaping (Backend.Output) -> Void) -> Backend {
        backendsMade += 1
        let backend = Backend(self, number: backendsMade, output)
        backends.append(backend)
        return backend
    }

    /// A backend is gone: nobody can cancel its statements any more.
    func forget(_ backend: Backend) { backends.removeAll { $0 === backend } }

    /// CancelRequest: the statement that the key's backend executes fails. A wrong key does nothing.
    func cancel(_ key: BackendKey) {
        backends.first { $0.key == key }?.cancel()
    }

    /// A commit that notifies has become visible.
    func notify(of lsn: LSN) {
        for backend in backends { backend.notified(of: lsn) }
    }

    // MARK: Faults

    /// Every connection ends, what runs is rolled back, temporary slots and advisory locks are gone; up again after
    /// `nanoseconds`.
    func restart(downFor nanoseconds: UInt64) {
        restarts += 1
        let restart = restarts
        isUp = false
        isStarting = false
        surroundings.trace.note("origin", "restarts")
        for backend in backends { backend.terminate(isAnnounced: random.chance(500)) }
        backends = []
        database.crash()
        for body in restarted { body() }
        // The last quarter is recovery: who connects then is told so.
        surroundings.scheduler.after(nanoseconds / 4 * 3) { [self] in
            if restart == restarts { isStarting = true }
        }
        surroundings.scheduler.after(nanoseconds) { [self] in
            guard restart == restarts else { return }
            isStarting = false
            isUp = true
            surroundings.trace.note("origin", "is up")
        }
    }

    /// Ends one session, if there is one: announced with 57P01, as an administrator would, or by a broken connection.
    func terminateOne() {
        guard !backends.isEmpty else { return }
        let backend = random.pick(backends)
        backend.terminate(isAnnounced: random.chance(500))
        forget(backend)
    }
}
