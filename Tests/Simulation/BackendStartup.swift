import PGProtocol

/// The beginning of a session: start-up packets, log-in, and CancelRequest, which is a connection of its own
/// (manual, 55.2.1 Start-up and 55.2.8 Canceling Requests in Progress).
extension Backend {
    func startUp(_ bytes: [UInt8]) {
        do {
            switch try withView(bytes, { try StartupPacket($0) }) {
            case .sslRequest, .gssEncryptionRequest:
                // Neither is there: the client goes on without.
                write([UInt8(ascii: "N")])
                flush()
                finished()
            case .cancel(let key):
                spend { [self] in
                    surroundings.trace.note("origin", "CancelRequest for process \(key.process)")
                    origin.cancel(key)
                    end()
                }
            case .session(let version, let parameters):
                settings.set(parameters)
                settings.configuration = surroundings.configuration.values
                if let name = settings["application_name"], !name.isEmpty { client = name }
                spend { [self] in spend { [self] in logIn(version) } }
            }
        } catch {
            fatal(.protocolViolation, "invalid startup packet layout")
        }
    }

    private func logIn(_ version: UInt32) {
        guard version >> 16 == 3 else {
            return fatal(.featureNotSupported, "unsupported frontend protocol")
        }
        guard origin.isUp else { return fatal(.cannotConnectNow, "the database system is starting up") }
        guard !settings.user.isEmpty else {
            return fatal(SQLState("28000"), "no PostgreSQL user name specified in startup packet")
        }
        guard settings.database == "sim" else {
            return fatal(SQLState("3D000"), "database \"\(settings.database)\" does not exist")
        }
        if version & 0xFFFF > 0 {
            write(
                Wire.message(BackendType.negotiateProtocolVersion) { body in
                    body.uint32(0)
                    body.uint32(0)
                })
        }
        surroundings.trace.note(traceName, "is process \(key.process)")
        write(Wire.message(BackendType.authentication) { $0.uint32(0) })
        for (name, value) in reportedNow {
            reported[name] = value
            write(Messages.parameterStatus(name, value))
        }
        write(
            Wire.message(BackendType.backendKeyData) { body in
                body.uint32(key.process)
                body.append(key.secret)
            })
        if let login = OriginRole(rawValue: settings.user) { settledIdentity = Identity(login) }
        identity = settledIdentity
        isLoggedIn = true
        ready()
        finished()
    }
}
