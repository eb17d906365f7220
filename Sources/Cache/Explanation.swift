import PGProtocol

/// What pgcache thinks of a statement, for whoever wonders why it is cached, or not.
public struct Explanation: Equatable, Sendable {
    public struct Line: Equatable, Sendable {
        public var item: String
        public var value: String
    }
    public private(set) var lines: [Line] = []

    mutating func refuse(_ reason: ForwardReason) {
        add("cached", "no")
        add("reason", "\(reason.rawValue): \(reason.meaning)")
    }
    mutating func add(_ item: String, _ value: String) { lines.append(Line(item: item, value: value)) }
}

extension CacheStore {
    /// Explains a text as a simple query of this profile and role would meet it, and counts what was made of it in any
    /// protocol. Nil while something of it is still being found out: the caller asks again when it is woken.
    func explain(
        _ text: ByteView, profile: UInt32, role: UInt8, _ standardConformingStrings: Bool, for session: SessionNumber
    ) -> Explanation? {
        let key = text.bytes + [0]
        let found = withView(key) { self.statement(profile: profile, key: $0, standardConformingStrings) }
        var explanation = Explanation()
        guard let statement = found else {
            explanation.refuse(key.count > limits.statementBytesMax ? .tooLong : .noRoom)
            return explanation
        }
        if statement.pointee.state == .pending, catalogIsConnected, isLive {
            waitingForCatalog.append(session)
            return nil
        }
        guard statement.pointee.state == .cacheable, let query = statement.pointee.query else {
            explanation.refuse(statement.pointee.reason)
            return explanation
        }
        let canonical = canonical(statement)
        var right = ForwardReason?.none
        if !mayRead(canonical, role) { right = askRights(canonical, role) }
        if right == .pendingRights, catalogIsConnected {
            waitingForCatalog.append(session)
            return nil
        }
        if let right { explanation.refuse(right) } else { explanation.add("cached", "yes") }
        for use in query.uses { explanation.add("reads", describe(use, hidesConstants: false)) }
        explanation.add("settings", describe(query.classes))
        addFigures(of: canonical, to: &explanation)
        return explanation
    }

    /// Of all statements with this text: each set of parameter types and each profile has its own.
    private func addFigures(of statement: UnsafeMutablePointer<Statement>, to explanation: inout Explanation) {
        var entries = 0
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        var last: Invalidation?
        let text = statement.pointee.text
        statements.forEach(max: .max) { other in
            guard other.pointee.textCount == text.count, other.pointee.text.buffer.elementsEqual(text.buffer) else {
                return
            }
            entries += memo.entryCount(of: other)
            hits &+= other.pointee.hits
            misses &+= other.pointee.misses
            if let found = other.pointee.lastInvalidation, found.watermark >= last?.watermark ?? .zero { last = found }
        }
        explanation.add("entries", "\(entries)")
        explanation.add("hits", "\(hits)")
        explanation.add("misses", "\(misses)")
        explanation.add("last invalidation", last.map { describe($0) } ?? "none")
    }

    // MARK: - Words

    /// `public.orders(id, total) where tenant_id = 1`.
    func describe(_ use: RelationUse, hidesConstants: Bool) -> String {
        guard let relation = catalog.relation(use.relation) else { return "relation \(use.relation)" }
        func name(_ column: Int) -> String {
            relation.columns.indices.contains(column) ? relation.columns[column].name : "?"
        }
        var words = "\(relation.schema).\(relation.name)"
        if let reads = use.reads, reads.count < relation.columns.count {
            words += "(" + reads.sorted().map(name).joined(separator: ", ") + ")"
        }
        let conditions = use.constraints.map { $0.words(of: name($0.column), hidesConstants: hidesConstants) }
        return conditions.isEmpty ? words : words + " where " + conditions.joined(separator: " and ")
    }

    func describe(_ invalidation: Invalidation) -> String {
        func name(_ oid: OID) -> String {
            catalog.relation(oid).map { "\($0.schema).\($0.name)" } ?? "relation \(oid)"
        }
        let cause =
            switch invalidation.cause {
            case .insert(let oid): "insert into \(name(oid))"
            case .update(let oid): "update of \(name(oid))"
            case .delete(let oid): "delete from \(name(oid))"
            case .many(let oid): "change of many rows of \(name(oid))"
            case .schema: "change of the schema or of rights"
            case .stream: "loss of the change stream"
            }
        return "\(cause), behind \(invalidation.watermark)"
    }

    func describe(_ classes: SettingClasses) -> String {
        var names = zip(Profile.settings, Profile.classes).compactMap { name, ofSetting in
            ofSetting.map { classes.contains($0) ? name : nil } ?? nil
        }
        if classes.contains(.path) { names.append("search_path") }
        if classes.contains(.custom) { names += declaredOrder }
        return names.isEmpty ? "none" : names.joined(separator: ", ")
    }
}

extension Constraint {
    fileprivate func words(of column: String, hidesConstants: Bool) -> String {
        func value(_ operand: Operand) -> String {
            switch operand {
            case .parameter(let number): "$\(number)"
            case .constant where hidesConstants, .promoted where hidesConstants: "?"
            case .constant(let value), .promoted(let value): value.words(kind)
            }
        }
        switch test {
        case .among(let operands):
            if operands.count == 1 { return "\(column) = \(value(operands[0]))" }
            let isLong = hidesConstants || operands.count > 16
            let shown = isLong ? "… \(operands.count) values" : operands.map(value).joined(separator: ", ")
            return "\(column) in (\(shown))"
        case .elements(let number): return "\(column) = any($\(number))"
        case .range(let lower, let upper):
            let low = lower.map { "\(column) \($0.isInclusive ? ">=" : ">") \(value($0.operand))" }
            let high = upper.map { "\(column) \($0.isInclusive ? "<=" : "<") \(value($0.operand))" }
            return [low, high].compactMap { $0 }.joined(separator: " and ")
        case .symmetric(let one, let other): return "\(column) between symmetric \(value(one)) and \(value(other))"
        case .like(let pattern): return "\(column) like \(value(pattern))"
        case .isNull: return "\(column) is null"
        case .isNotNull: return "\(column) is not null"
        }
    }
}

extension Value {
    fileprivate func words(_ kind: ValueKind) -> String {
        let text = text(kind)
        switch kind {
        case .integer, .numeric: return text
        case .boolean: return self == .integer(0) ? "false" : "true"
        default: return "'" + text.prefix(64) + (text.count > 64 ? "…'" : "'")
        }
    }
}
