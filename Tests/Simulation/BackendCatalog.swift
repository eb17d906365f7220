import PGProtocol

/// Roles of a session, and statements whose result follows from the catalog of the moment.
///
/// A prepared statement is analysed again when it is used (plancache.c, RevalidateCachedQuery): what is gone is an
/// error, and so is a result that has other columns than the one that was prepared.
extension Backend {
    /// The session's own statements about roles; nil for any other.
    func changeRole(_ statement: Statement) -> OriginDatabase.Outcome? {
        guard case .catalog(let catalog) = statement else { return nil }
        let state = database.catalog(for: currentTransaction())
        do throws(OriginError) {
            switch catalog {
            case .setRole(let role): try identity.become(role, isLocal: false, state)
            case .setLocalRole(let role):
                if block == .open { try identity.become(role, isLocal: true, state) }
            case .setSession(let role): try identity.authorize(role)
            case .change, .read, .write: return nil
            }
        } catch {
            return .failed(error)
        }
        surroundings.trace.note(traceName, "is \(identity.current)")
        return .changed(tag: catalog.tag)
    }

    /// What the protocol reports (guc.h, GUC_REPORT): the settings, and of the role whether it is a superuser.
    var reportedNow: [(name: String, value: String)] {
        settings.report.map { name, value in
            switch name {
            case "session_authorization": (name, identity.session.rawValue)
            case "is_superuser": (name, identity.current.isSuperuser ? "on" : "off")
            default: (name, value)
            }
        }
    }

    /// USAGE on the schema `public`.
    var mayUsePublic: Bool { (transaction?.catalog ?? database.catalog).mayUseSchema(identity.current) }

    /// Looks the names of a statement up, behind whoever changes them, and goes on with the columns of its result; nil
    /// where these do not depend on the catalog.
    func analyse(_ statement: Statement?, _ done: @escaping ([ResultField]?) -> Void) {
        do throws(OriginError) {
            let state = transaction?.catalog ?? database.catalog
            switch statement {
            case .catalog(.read(let read))?:
                if let other = database.sheetHolder(other: transaction) {
                    return wait(for: other) { [self] in analyse(statement, done) }
                }
                done(try state.found(identity.current).fields(of: read))
            default: done(nil)
            }
        } catch {
            fail(error)
        }
    }

    /// What was prepared must return what it did then.
    func hasSameResult(_ known: Prepared, _ fields: [ResultField]?) -> Bool {
        if known.fields == fields { return true }
        fail(OriginError(state: "0A000", message: "cached plan must not change result type"))
        return false
    }

    /// Bind of a SELECT on `sheet`.
    func bindRead(
        _ bind: FrontendMessage.Bind, _ known: Prepared, _ parameters: [Datum], _ done: @escaping (Portal) -> Void
    ) {
        guard let statement = known.statement else { return }
        analyse(statement) { [self] fields in
            guard hasSameResult(known, fields) else { return }
            guard let format = RowFormat(bind.resultFormats, columns: fields?.count ?? 0) else {
                return fail(.protocolViolation, "bind message has \(bind.resultFormats.count) result formats")
            }
            run(statement, parameters) { [self] outcome in
                guard case .answer(let answer) = outcome else { preconditionFailure("a SELECT gives an answer") }
                // It may have waited for somebody who has changed that.
                guard hasSameResult(known, answer.fields) else { return }
                done(
                    Portal(
                        statement: statement, planned: statement, parameters: parameters, format: format,
                        answer: answer, viewedAt: viewedAt))
            }
        }
    }
}

extension Statement {
    /// The RowDescription of an answer; nil where there are no rows.
    func rowDescription(_ fields: [ResultField]?, _ format: RowFormat) -> [UInt8]? {
        guard let fields else { return rowDescription(format) }
        return Messages.rowDescription(of: fields, format)
    }

    /// The DataRow messages of rows with these columns.
    func dataRows(
        _ rows: [[Datum]], _ fields: [ResultField]?, _ format: RowFormat, _ style: TextStyle
    ) -> [UInt8] {
        guard let fields else { return dataRows(rows, format, style) }
        return Messages.dataRows(rows, of: fields, format)
    }
}

extension Messages {
    static func rowDescription(of fields: [ResultField], _ format: RowFormat) -> [UInt8] {
        Wire.message(BackendType.rowDescription) { body in
            body.uint16(UInt16(fields.count))
            for (place, field) in fields.enumerated() {
                body.cString(field.name)
                body.uint32(field.table?.value ?? 0)
                body.uint16(UInt16(field.attribute))
                body.uint32(field.type.oid.value)
                body.uint16(UInt16(bitPattern: field.type.size))
                body.uint32(.max)
                body.uint16(format.isBinary(place) ? 1 : 0)
            }
        }
    }

    static func dataRows(_ rows: [[Datum]], of fields: [ResultField], _ format: RowFormat) -> [UInt8] {
        var bytes: [UInt8] = []
        for row in rows {
            bytes += dataRow(
                row.indices.map { Wire.bytes(row[$0], fields[$0].type, isBinary: format.isBinary($0)) })
        }
        return bytes
    }
}
