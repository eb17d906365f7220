/// One connection to PostgreSQL of pgcache's own: control, catalog, publication, replication.
///
/// An interface, because a simulator replaces it with a model. The real one is `LibpqLink`: a non-blocking
/// PGconn driven by the reactor. One query at a time. Events are taken with `nextEvent` after a `.ready` or `.timer`
/// completion that carries the link's tag was given to `advance`.
public protocol PostgresLink: AnyObject {
    /// Starts to connect. `.connected` or `.lost` follows.
    /// - Parameter parameters: libpq keywords (manual, 34.1.2); `host` may be a name, a numeric address or a
    ///   directory.
    func connect(_ parameters: [(keyword: String, value: String)])
    /// Sends one query; `.answered` or `.failed` follows (or `.lost`). With parameters it goes through the
    /// extended protocol. For COPY … TO STDOUT, `.streaming` and a `.copyData` for each row come before.
    func query(_ sql: String, _ parameters: [String?])
    /// Sends START_REPLICATION; `.streaming` or `.failed` follows, then `.copyData` for each message.
    func startReplication(_ sql: String)
    /// One CopyData message to the walsender; buffered where the socket is full.
    func sendCopyData(_ bytes: [UInt8])
    /// Takes no more from the server, so that it has to wait: for an owner who is slower. Events that are there already
    /// can still be taken. The end of the connection goes unnoticed meanwhile.
    func pause()
    /// Goes on. A connection begins unpaused.
    func resume()
    /// Ends the connection at once; no event follows.
    func close()

    /// Consumes input and writes output after a completion of this link.
    func advance(_ completion: Completion)
    /// The oldest event that was not taken yet.
    func nextEvent() -> LinkEvent?

    /// Connected, and neither asking nor streaming.
    var isIdle: Bool { get }
    /// PQserverVersion, e.g. 150018; 0 before the connection.
    var serverVersion: Int32 { get }
    /// The backend's process number (PQbackendPID); 0 before the connection.
    var backendProcess: Int32 { get }
}

public enum LinkEvent: Equatable, Sendable {
    case connected
    /// All rows of a query, in text format.
    case answered([[String?]])
    /// The query failed; the connection lives on. `state` is the SQLSTATE.
    case failed(state: String, message: String)
    case streaming
    /// The body of one CopyData message.
    case copyData([UInt8])
    /// The connection is gone, or could not be made; `state` is the SQLSTATE where the server gave one, else empty.
    case lost(state: String, message: String)
}
