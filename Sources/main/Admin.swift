import CAdmin
import Loop

/// What the admin endpoints show; the proxy implements it.
///
/// Called from inside `AdminServer.run`, so an answer must come at once: no waiting, and no work that grows
/// with the number of entries in the cache.
public protocol AdminPages: AnyObject {
    /// Whether clients are served from the cache by now, and if not, why.
    func readiness() -> (isReady: Bool, reason: String)
    /// The body of /status.
    func status() -> JSON
    /// The samples of /metrics.
    func metrics() -> [MetricValue]
}

/// The HTTP server for operators: /healthz, /readyz, /status, /metrics.
///
/// libmicrohttpd without a thread: it polls on an epoll descriptor of its own, which the owner adopts
/// into the reactor and polls for reading. The owner calls `run()` when that is readable, and again when
/// `timeoutMilliseconds` has passed. Nobody is asked for a password: bind it to loopback.
///
/// Bounds: `connectionsMax` at once, 32 KiB of memory for each, closed after `idleSeconds` of silence.
/// Owner: the proxy, for the whole run. `stop()` must follow `release` of the descriptor.
public final class AdminServer {
    public static let connectionsMax: UInt32 = 64
    public static let idleSeconds: UInt32 = 15

    private var daemon: OpaquePointer?
    /// Weak: the proxy owns the server.
    private weak var pages: (any AdminPages)?

    /// Listens at once.
    /// - Parameter address: numeric, or `localhost`; names are for whoever has a resolver.
    /// - Throws: `SystemError` with the errno of bind, or EADDRNOTAVAIL for a name.
    public init(address: String, port: UInt16, pages: any AdminPages) throws(SystemError) {
        self.pages = pages
        var code: Int32 = 0
        let numeric = address == "localhost" ? "127.0.0.1" : address
        daemon = cadmin_start(
            numeric, port, Self.connectionsMax, Self.idleSeconds,
            { owner, request, method, path in
                guard let owner else { return }
                let server = Unmanaged<AdminServer>.fromOpaque(owner).takeUnretainedValue()
                server.answer(request, method: String(cString: method), path: String(cString: path))
            }, Unmanaged.passUnretained(self).toOpaque(), &code)
        if daemon == nil { throw SystemError(code, "admin server on \(address):\(port)") }
    }

    deinit { stop() }

    /// Readable when `run` has something to do. Owned by the server.
    public var descriptor: Int32 { daemon.map { cadmin_descriptor($0) } ?? -1 }
    /// The port that is listened on.
    public var port: UInt16 { daemon.map { cadmin_port($0) } ?? 0 }
    /// When `run` is due at the latest; nil when only the descriptor matters.
    public var timeoutMilliseconds: UInt64? {
        guard let daemon else { return nil }
        let milliseconds = cadmin_timeout(daemon)
        return milliseconds < 0 ? nil : UInt64(milliseconds)
    }

    /// Does what is ready; never waits.
    public func run() {
        if let daemon { cadmin_run(daemon) }
    }

    /// Closes every connection. Harmless when called again.
    public func stop() {
        if let daemon { cadmin_stop(daemon) }
        daemon = nil
    }

    // MARK: Pages

    private func answer(_ request: OpaquePointer, method: String, path: String) {
        let page = Self.page(method: method, path: path, pages)
        var body = page.body
        body.withUTF8 { bytes in
            // An empty body may have no address; any address does for no bytes.
            let start = bytes.baseAddress.map(UnsafeRawPointer.init)
                ?? UnsafeRawPointer(Unmanaged.passUnretained(self).toOpaque())
            cadmin_answer(
                request, page.status, page.contentType, page.status == 405 ? "GET, HEAD" : nil, start,
                bytes.count)
        }
    }

    struct Page: Equatable {
        var status: UInt32
        var contentType = "text/plain; charset=utf-8"
        var body: String
    }

    /// What a request is answered with; a function of what the pages say.
    static func page(method: String, path: String, _ pages: (any AdminPages)?) -> Page {
        guard ["/healthz", "/readyz", "/status", "/metrics"].contains(path) else {
            return Page(status: 404, body: "not found: /healthz, /readyz, /status, /metrics\n")
        }
        guard method == "GET" || method == "HEAD" else { return Page(status: 405, body: "GET only\n") }
        guard let pages else { return Page(status: 503, body: "stopping\n") }
        switch path {
        case "/healthz": return Page(status: 200, body: "ok\n")
        case "/readyz":
            let answer = pages.readiness()
            return Page(status: answer.isReady ? 200 : 503, body: (answer.isReady ? "ready" : answer.reason) + "\n")
        case "/status":
            return Page(status: 200, contentType: "application/json", body: pages.status().text + "\n")
        default:
            // Version 0.0.4 of the text format (Prometheus, Exposition formats).
            return Page(
                status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8",
                body: MetricsText.render(pages.metrics()))
        }
    }
}
