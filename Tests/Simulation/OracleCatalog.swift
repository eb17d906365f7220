import PGProtocol

/// Rule 10: a role never gets from the cache what it may not read, nor a shape that the table does not have any more.
///
/// A hit may be of any version of the catalog since the last one that the proxy must know of
/// (`CatalogVersion.noticedAt`) and that makes a difference to the role and the tables: what others change behind its
/// back, it learns from its poll.
extension Oracle {
    /// What others change unseen is known after so long, whatever the poll's connection goes through.
    static let unnoticedMax = 120 * second

    /// The states of the catalog that a hit may be of.
    private func states(
        _ role: OriginRole, _ tables: [Int], atSheet: Bool, _ mark: Ledger.Mark
    ) -> [CatalogState] {
        let versions = database.catalogVersions
        var first = 0
        var last = 0
        for number in versions.indices.dropFirst() {
            let version = versions[number]
            guard version.event <= mark.event else { break }
            last = number
            let isNoticed = version.noticedAt.map { $0 < mark.event } ?? false
            let isOld = database.surroundings.scheduler.now > version.time + Oracle.unnoticedMax
            guard isNoticed || isOld else { continue }
            let before = versions[number - 1].state
            let isOther =
                tables.contains { before.refusal([$0], role) != version.state.refusal([$0], role) }
                || (atSheet && before.sheetSeen(by: role) != version.state.sheetSeen(by: role))
            if isOther { first = number }
        }
        return versions[first...last].map(\.state)
    }

    /// A hit over tables whose shape is always the same.
    func checkRights(_ exchange: Exchange, _ tables: [Int], _ mark: Ledger.Mark) -> Violation? {
        let role = executions.role(of: exchange.client, at: mark.event)
        if role.isUnbound { return nil }
        for table in tables {
            let states = states(role, [table], atSheet: false, mark)
            guard let refusal = states.last?.refusal([table], role),
                states.allSatisfy({ $0.refusal([table], role) != nil })
            else { continue }
            return Violation(
                rule: 10,
                text: exchange.title + " is a hit for \(role) at event \(mark.event): \(refusal.message)\n"
                    + ReplyText.got(exchange) + "\n" + catalogText(mark))
        }
        return nil
    }

    func checkSheetHit(
        _ exchange: Exchange, _ read: SheetRead, _ session: OracleSession, _ mark: Ledger.Mark
    ) -> Violation? {
        guard mark.isServing else {
            return Violation(
                rule: 1, text: exchange.title + " was answered from the cache while the stream was not live")
        }
        if let violation = checkBlock(exchange, session) { return violation }
        let role = executions.role(of: exchange.client, at: mark.event)
        let states = states(role, [], atSheet: true, mark)
        if case .error(state: "0A000", _) = exchange.reply {
            return checkChangedResult(exchange, session, mark)
        }
        guard case .rows(let description, let rows, let tag) = exchange.reply else {
            return Violation(
                rule: 1, text: exchange.title + " got from the cache what is no answer\n" + ReplyText.got(exchange))
        }
        var isFollowed = false
        var expected: String?
        for state in states.reversed() {
            guard let answer = try? state.answer(
                read, exchange.parameters, as: role, database.tables, .position(mark.watermark)),
                let fields = answer.fields
            else { continue }
            let format = RowFormat.all(isBinary: exchange.isBinary)
            if let description, description != Messages.rowDescription(of: fields, format) { continue }
            let bytes = Messages.dataRows(answer.rows, of: fields, format)
            let isWhole = bytes == rows && tag == "SELECT \(answer.rows.count)"
            if tag == Reply.suspended ? bytes.starts(with: rows) : isWhole {
                return checkOwnWrites(exchange, session, mark)
            }
            expected = expected ?? "\(answer.rows)"
            // What another session was just answered, if this one would have got the same of it.
            if state.sheet?.hasRowSecurity != true || role.isUnbound { isFollowed = true }
        }
        // A policy, or another table of the name, that nobody need know of yet: what is cached may be what another role
        // was shown of it. It is not kept from whoever could read all of the table that is known.
        let sawAll = states.contains { $0.sheet.map { !$0.hasRowSecurity } ?? false && $0.mayReadSheet(role) }
        if sawAll || role.isUnbound,
            isOfAnotherRole(rows, read, exchange, states, mark)
        {
            return checkOwnWrites(exchange, session, mark)
        }
        if isFollowed, hasLeader(exchange, mark) {
            counts.followed += 1
            return checkOwnWrites(exchange, session, mark)
        }
        return Violation(
            rule: 10,
            text: exchange.title + " is a hit for \(role) at W = \(mark.watermark), event \(mark.event), that the "
                + "origin would not have given\n" + ReplyText.got(exchange)
                + "\n  expected: \(expected ?? "an error")\n"
                + catalogText(mark))
    }

    private func isOfAnotherRole(
        _ rows: [UInt8], _ read: SheetRead, _ exchange: Exchange, _ states: [CatalogState], _ mark: Ledger.Mark
    ) -> Bool {
        states.contains { state in
            OriginRole.allCases.contains { role in
                guard let answer = try? state.answer(
                    read, exchange.parameters, as: role, database.tables, .position(mark.watermark))
                else { return false }
                let format = RowFormat.all(isBinary: exchange.isBinary)
                return rows == Messages.dataRows(answer.rows, of: answer.fields ?? [], format)
            }
        }
    }

    /// The proxy refuses what it had answered Parse for itself [S4]; what the origin has executed instead, nobody gets.
    func checkChangedResult(
        _ exchange: Exchange, _ session: OracleSession, _ mark: Ledger.Mark
    ) -> Violation? {
        counts.errors += 1
        if let list = executions.executions[exchange.client] {
            while session.consumed < list.count, list[session.consumed].event <= mark.event { session.consumed += 1 }
        }
        guard database.catalogVersions.contains(where: { $0.state.sheet != database.catalogVersions[0].state.sheet })
        else {
            return Violation(rule: 1, text: exchange.title + " got 0A000, and the table has never changed")
        }
        return nil
    }

    private func hasLeader(_ exchange: Exchange, _ mark: Ledger.Mark) -> Bool {
        executions.executions.contains { client, list in
            client != exchange.client
                && list.suffix(Oracle.leadersLooked).contains {
                    $0.event <= mark.event && $0.statement == exchange.statement
                        && $0.parameters == exchange.parameters && $0.reply.isSame(as: exchange.reply)
                }
        }
    }

    /// The last versions of the catalog, for people.
    private func catalogText(_ mark: Ledger.Mark) -> String {
        database.catalogVersions.indices.filter { database.catalogVersions[$0].event <= mark.event }.suffix(4).map {
            let version = database.catalogVersions[$0]
            let noticed = version.noticedAt.map { "noticed at \($0)" } ?? "not noticed"
            return "  catalog \($0): visible at \(version.event), \(noticed): \(version.state.words)"
        }.joined(separator: "\n")
    }
}

extension CatalogState {
    /// All of `sheet` that makes a difference to a role.
    fileprivate func sheetSeen(by role: OriginRole) -> Sheet? {
        guard var sheet = try? found(role), mayRead(role, sheet.table) else { return nil }
        sheet.readers = []
        if role.isUnbound { sheet.hasRowSecurity = false }
        return sheet
    }

    fileprivate func mayReadSheet(_ role: OriginRole) -> Bool {
        sheet.map { mayUseSchema(role) && mayRead(role, $0.table) } ?? false
    }

    fileprivate var words: String {
        func names(_ roles: Set<OriginRole>) -> String { roles.map(\.rawValue).sorted().joined(separator: "+") }
        var words = ["staff=\(names(staff))", "usage=\(names(schemaUsers))"]
        for (table, roles) in zip(Table.all, readers) { words.append("\(table.name)=\(names(roles))") }
        if let sheet {
            words.append("sheet=\(names(sheet.readers))" + (sheet.hasRowSecurity ? " by policy" : ""))
            words.append("(" + sheet.attributes.map { "\($0.column) \($0.type)" }.joined(separator: ", ") + ")")
        }
        return words.joined(separator: " ")
    }
}
