import PGProtocol

/// `SELECT pgcache_explain('…')`: answered here, at any time when nothing else is owed; the origin never hears of it.
extension Session {
    private static let textType: UInt32 = 25

    /// In the simple protocol. Nil where the origin answers: that the transaction has failed, or that there is no such
    /// function.
    mutating func explain(
        _ statement: UnsafeMutablePointer<Statement>, _ total: Int, _ store: CacheStore
    ) -> ClientStep? {
        guard status != .failed, case .constant(let text) = statement.pointee.explainCall else { return nil }
        guard isQuiet, let rows = explanation(of: text, store) else { return .park }
        outgoing = Self.rowDescription + rows + readyForQuery
        return .reply(consumed: total)
    }

    /// In the extended protocol: the execution of one, parsed in the same unit or before.
    mutating func explain(
        _ statement: UnsafeMutablePointer<Statement>, _ bind: ExtendedUnit.BindHead, _ unit: ExtendedUnit,
        _ store: CacheStore
    ) -> ClientStep? {
        guard status != .failed, !segmentIsForwarded, unit.rowLimit == 0,
            unit.parse == nil || mayKeepLocal(unit, statement.pointee.id),
            let text = explained(statement.pointee.explainCall, bind.tail)
        else { return nil }
        let id = statement.pointee.id
        guard isQuiet, let rows = explanation(of: text, store) else { return .park }
        outgoing = []
        if unit.parse != nil {
            guard keepLocal(unit, id, store) else { return nil }
            outgoing += [BackendType.parseComplete, 0, 0, 0, 4]
        }
        outgoing += [BackendType.bindComplete, 0, 0, 0, 4]
        if unit.describesPortal { outgoing += Self.rowDescription }
        outgoing += rows
        segmentIsLocal = unit.following != FrontendType.sync
        if segmentIsLocal { return .reply(consumed: unit.end) }
        outgoing += readyForQuery
        return .reply(consumed: unit.end + 5)
    }

    /// Parse and Describe of one, ahead of its execution.
    mutating func prepareExplain(
        _ statement: UnsafeMutablePointer<Statement>, _ unit: ExtendedUnit, _ store: CacheStore
    ) -> ClientStep? {
        guard status != .failed, !segmentIsForwarded,
            unit.parse != nil ? mayKeepLocal(unit, statement.pointee.id) : isLocal(unit)
        else { return nil }
        guard isQuiet else { return .park }
        let hasParameter = statement.pointee.explainCall == .parameter
        outgoing = []
        if unit.parse != nil {
            guard keepLocal(unit, statement.pointee.id, store) else { return nil }
            outgoing += [BackendType.parseComplete, 0, 0, 0, 4]
        }
        if unit.describesStatement {
            var writer = ByteWriter()
            writer.message(BackendType.parameterDescription) {
                $0.uint16(hasParameter ? 1 : 0)
                if hasParameter { $0.uint32(Self.textType) }
            }
            outgoing += writer.bytes + Self.rowDescription
        }
        segmentIsLocal = true
        return .reply(consumed: unit.end)
    }

    /// The text that is asked about. Text has one form in both formats.
    private func explained(_ call: ExplainCall, _ tail: ByteView) -> [UInt8]? {
        switch call {
        case .none: nil
        case .constant(let text): text
        case .parameter: (try? BindTail(tail))?.values.first?.map(\.bytes)
        }
    }

    /// DataRow messages and the command tag; nil while the catalog is asked.
    private func explanation(of text: [UInt8], _ store: CacheStore) -> [UInt8]? {
        var explanation: Explanation?
        switch standing {
        case .refused(let reason), .bypass(let reason):
            explanation = Explanation()
            explanation?.refuse(reason)
        case .unknown, .cacheable:
            explanation = withView(text) {
                store.explain($0, profile: textProfile(store), role: role, standardConformingStrings, for: number)
            }
        }
        guard let explanation else { return nil }
        var writer = ByteWriter()
        for line in explanation.lines {
            writer.message(BackendType.dataRow) {
                $0.uint16(2)
                for value in [line.item, line.value] {
                    $0.uint32(UInt32(value.utf8.count))
                    $0.append(Array(value.utf8))
                }
            }
        }
        writer.message(BackendType.commandComplete) { $0.cString("SELECT \(explanation.lines.count)") }
        return writer.bytes
    }

    private static let rowDescription: [UInt8] = {
        var writer = ByteWriter()
        writer.message(BackendType.rowDescription) {
            $0.uint16(2)
            for name in ["item", "value"] {
                $0.cString(name)
                $0.uint32(0)  // of no table
                $0.uint16(0)
                $0.uint32(textType)
                $0.uint16(UInt16(bitPattern: -1))
                $0.uint32(UInt32(bitPattern: -1))
                $0.uint16(0)
            }
        }
        return writer.bytes
    }()
}
