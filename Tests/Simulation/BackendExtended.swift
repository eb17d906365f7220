import PGProtocol

/// A prepared statement of a session.
struct Prepared {
    /// nil: the empty query.
    var statement: Statement?
    /// The text, where nobody but pgcache asks it.
    var own: String?
    /// As declared, or else as they follow from the statement.
    var types: [OID]
    /// The result's columns, where they follow from the catalog.
    var fields: [ResultField]?
}

/// A portal: a statement with its parameters, ready to be executed. Ends with its transaction.
struct Portal {
    var statement: Statement?
    var own: String?
    /// The same over the tables that its names meant at Bind.
    var planned: Statement?
    var parameters: [Datum]
    var format: RowFormat
    /// A SELECT's, computed under the view that Bind took.
    var answer: Answer?
    /// `Scheduler.count` then.
    var viewedAt: UInt64?
    /// How many rows have been sent.
    var position = 0
    /// Something of it was fetched: what it does besides has happened.
    var isBegun = false
    var isAtEnd = false
    /// The RowDescription that was sent and whose Execute has not come yet.
    var description: [UInt8]?
}

/// The extended protocol (manual, 55.2.3 Extended Query).
///
/// Outside a block everything up to Sync is one transaction, committed there.
extension Backend {
    func parse(_ name: String, _ text: String, _ declared: [OID]) {
        if name.isEmpty { prepared[""] = nil }
        let statement = statement(text)
        if case .nonsense = statement { return failSyntax(text) }
        let own = isUnasked(text) ? text : nil
        if own != nil, isRefusedInFailedBlock(nil) { return }
        if let statement {
            if isRefusedInFailedBlock(statement) { return }
            // Analysing what is no transaction control takes a snapshot.
            if statement.needsSnapshot, block != .failed {
                _ = takeView()
                guard resolved(statement) != nil else { return }
            }
        }
        guard name.isEmpty || prepared[name] == nil else {
            return fail(SQLState("42P05"), "prepared statement \"\(name)\" already exists")
        }
        var types = statement?.parameterTypes.map(\.oid) ?? []
        for (place, type) in declared.enumerated() {
            if place >= types.count {
                types.append(type)
            } else if type.value != 0 {
                types[place] = type
            }
        }
        analyse(statement) { [self] fields in
            prepared[name] = Prepared(statement: statement, own: own, types: types, fields: fields)
            write(Messages.empty(BackendType.parseComplete))
            finished()
        }
    }

    func bind(_ bind: FrontendMessage.Bind) {
        guard let known = prepared[bind.statement] else { return failUnprepared(bind.statement) }
        let count = bind.values.count
        guard bind.formats.count <= 1 || bind.formats.count == count else {
            return fail(
                .protocolViolation,
                "bind message has \(bind.formats.count) parameter formats but \(count) parameters")
        }
        guard count == known.types.count else {
            return fail(
                .protocolViolation,
                "bind message supplies \(count) parameters, but prepared statement \"\(bind.statement)\" "
                    + "requires \(known.types.count)")
        }
        if let statement = known.statement, isRefusedInFailedBlock(statement) { return }
        // Planned again where the search path is another.
        var planned = known.statement
        if let statement = known.statement, statement.needsSnapshot {
            guard let resolved = resolved(statement) else { return }
            planned = resolved
        }
        guard bind.portal.isEmpty || portals[bind.portal] == nil else {
            return fail(SQLState("42P03"), "cursor \"\(bind.portal)\" already exists")
        }
        portals[bind.portal] = nil
        guard let parameters = parameters(bind, known.types) else { return }
        if case .catalog(.read)? = known.statement {
            return bindRead(bind, known, parameters) { [self] in bound(bind.portal, $0) }
        }
        let columns = known.statement?.resultTypes.count ?? 0
        // Codes for a statement without columns are ignored.
        guard let format = columns == 0 ? .text : RowFormat(bind.resultFormats, columns: columns) else {
            return fail(
                .protocolViolation,
                "bind message has \(bind.resultFormats.count) result formats but query has \(columns) columns")
        }
        var portal = Portal(
            statement: known.statement, own: known.own, planned: planned, parameters: parameters, format: format)
        guard let statement = planned, columns > 0 else {
            // A change takes its snapshot again when it is executed.
            if known.statement?.changesRows == true { _ = takeView() }
            return bound(bind.portal, portal)
        }
        run(statement, parameters) { [self] outcome in
            guard case .answer(let answer) = outcome else {
                preconditionFailure("a statement that returns rows gives an answer")
            }
            portal.answer = answer
            portal.viewedAt = viewedAt
            bound(bind.portal, portal)
        }
    }

    private func bound(_ name: String, _ portal: Portal) {
        portals[name] = portal
        write(Messages.empty(BackendType.bindComplete))
        finished()
    }

    /// The parameters' values; nil if one is not of its type, which has been told then.
    private func parameters(_ bind: FrontendMessage.Bind, _ types: [OID]) -> [Datum]? {
        var values: [Datum] = []
        for (place, bytes) in bind.values.enumerated() {
            let format =
                bind.formats.count == 1
                ? bind.formats[0] : place < bind.formats.count ? bind.formats[place] : 0
            guard let type = ColumnType(types[place]) else {
                fail(.featureNotSupported, "parameter $\(place + 1) has a type that is not in the model")
                return nil
            }
            guard let value = Wire.datum(bytes, type, isBinary: format == 1) else {
                fail(
                    SQLState(format == 1 ? "22P03" : "22P02"), "parameter $\(place + 1) is no value of its type")
                return nil
            }
            values.append(value)
        }
        return values
    }

    private func failUnprepared(_ name: String) {
        fail(
            SQLState("26000"),
            name.isEmpty
                ? "unnamed prepared statement does not exist" : "prepared statement \"\(name)\" does not exist")
    }

    func describe(_ kind: UInt8, _ name: String) {
        if kind == UInt8(ascii: "S") {
            guard let known = prepared[name] else { return failUnprepared(name) }
            var described = known.statement
            if let statement = known.statement, statement.needsSnapshot, block != .failed {
                guard let resolved = resolved(statement) else { return }
                described = resolved
            }
            let description = described?.rowDescription(known.fields, .text)
            if description != nil, isRefusedInFailedBlock(nil) { return }
            return analyse(known.statement) { [self] fields in
                guard hasSameResult(known, fields) else { return }
                write(Messages.parameterDescription(known.types))
                write(description ?? Messages.empty(BackendType.noData))
                finished()
            }
        } else {
            guard let portal = portals[name] else { return failUnbound(name) }
            let description = portal.planned?.rowDescription(portal.answer?.fields, portal.format)
            if description != nil, isRefusedInFailedBlock(nil) { return }
            portals[name]?.description = description
            write(description ?? Messages.empty(BackendType.noData))
        }
        finished()
    }

    private func failUnbound(_ name: String) {
        fail(.invalidCursorName, "portal \"\(name)\" does not exist")
    }

    func execute(_ name: String, _ rowsMax: Int) {
        guard let portal = portals[name] else { return failUnbound(name) }
        if let own = portal.own { return answerUnasked(own) }
        guard let statement = portal.planned else {
            write(Messages.empty(BackendType.emptyQueryResponse))
            return finished()
        }
        if isRefusedInFailedBlock(statement) { return }
        if let answer = portal.answer { return fetch(name, portal, statement, answer, rowsMax) }
        guard !portal.isAtEnd else {
            return fail(SQLState("55000"), "portal \"\(name)\" cannot be run")
        }
        portals[name]?.isAtEnd = true
        if statement.isTransactionControl {
            return control(statement) { [self] tag, lsn in
                surroundings.trace.note(traceName, tag)
                note(.done(tag: tag), lsn)
                write(Messages.commandComplete(tag))
                finished()
            }
        }
        if case .channel(let channel) = statement {
            join(channel)
            note(.done(tag: channel.tag))
            write(Messages.commandComplete(channel.tag))
            return finished()
        }
        if case .setting(let setting) = statement {
            guard change(setting) else { return }
            note(.done(tag: setting.tag))
            write(Messages.commandComplete(setting.tag))
            return finished()
        }
        run(statement, portal.parameters) { [self] outcome in
            guard case .changed(let tag) = outcome else { preconditionFailure("a change gives its tag") }
            spend { [self] in
                if let place = note(.done(tag: tag)), block == .none { implicitChanges.append(place) }
                write(Messages.commandComplete(tag))
                finished()
            }
        }
    }

    /// Sends rows of a portal: all, or as many as Execute asks for, whether or not there are more behind them.
    private func fetch(_ name: String, _ portal: Portal, _ statement: Statement, _ answer: Answer, _ rowsMax: Int) {
        if case .setting(let setting) = statement, !portal.isBegun { settings.apply(setting) }
        portals[name]?.isBegun = true
        let left = answer.rows.count - portal.position
        let isSuspended = !portal.isAtEnd && rowsMax > 0 && rowsMax <= left
        let count = isSuspended ? rowsMax : left
        let rows = statement.dataRows(
            Array(answer.rows[portal.position..<portal.position + count]), answer.fields, portal.format,
            settings.style)
        let fails = !isSuspended && !portal.isAtEnd && answer.error != nil
        portals[name]?.position += count
        portals[name]?.isAtEnd = !isSuspended
        portals[name]?.description = nil
        noticeNowAndThen()
        write(rows)
        if fails, let error = answer.error { return fail(SQLState(error.state), error.message, rows: rows) }
        let tag = isSuspended ? Reply.suspended : "SELECT \(count)"
        note(.rows(description: portal.description, rows: rows, tag: tag))
        write(isSuspended ? Messages.empty(BackendType.portalSuspended) : Messages.commandComplete(tag))
        finished()
    }

    func close(_ kind: UInt8, _ name: String) {
        if kind == UInt8(ascii: "S") {
            prepared[name] = nil
        } else {
            portals[name] = nil
        }
        write(Messages.empty(BackendType.closeComplete))
        finished()
    }

    func sync() {
        skipsToSync = false
        guard block == .none else {
            // A description belongs to an Execute of the same segment.
            for name in portals.keys { portals[name]?.description = nil }
            ready()
            return finished()
        }
        commit { [self] _ in
            ready()
            finished()
        }
    }
}

extension Reply {
    /// In place of the tag where PortalSuspended came.
    static let suspended = "PortalSuspended"
}

extension ColumnType {
    init?(_ oid: OID) {
        let all: [ColumnType] = [.bool, .int4, .int8, .text, .date, .bytea]
        guard let type = all.first(where: { $0.oid == oid }) else { return nil }
        self = type
    }
}
