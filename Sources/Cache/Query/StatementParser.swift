internal import CPgQuery
import PGProtocol

/// Turns a statement's text into what the cache needs to know of it, with PostgreSQL's own parser.
///
/// A text is parsed once and remembered by its owner; nothing here is on the path of a hit. The
/// parser is PostgreSQL 15's: what a newer origin understands and it does not is `unparsable`,
/// forwarded and assumed to do anything, never an error. No client can exhaust the stack: the
/// grammar's own is bounded and what follows does not recurse. Works for any text whose bytes above
/// 127 are UTF-8 (see `ParsedStatement.isASCII`). One parser state per thread, inside libpg_query.
public enum StatementParser {
    /// `text` without its terminating zero. `bytesMax` is the longest text to be parsed, in bytes.
    public static func parse(
        _ text: ByteView, standardConformingStrings: Bool, bytesMax: Int
    ) -> ParsedStatement {
        let isASCII = text.buffer.allSatisfy { $0 < 0x80 }
        func unread(_ reason: ForwardReason) -> ParsedStatement {
            var mentions = Mentions()
            mentions.isIncomplete = true
            return ParsedStatement(
                effect: .anything, body: .forward(reason), mentions: mentions, isASCII: isASCII)
        }
        guard text.count <= bytesMax else { return unread(.tooLong) }
        guard !text.buffer.contains(0) else { return unread(.unparsable) }

        var terminated = [CChar]()
        terminated.reserveCapacity(text.count + 1)
        for byte in text.buffer { terminated.append(CChar(bitPattern: byte)) }
        terminated.append(0)

        let memory = pg_query_enter_memory_context()
        defer { pg_query_exit_memory_context(memory) }
        let result = pgcache_raw_parse(terminated, standardConformingStrings)
        defer {
            pgcache_release(result.stderr_buffer)
            // The library's own function does not take a null pointer.
            if let error = result.error { pg_query_free_error(error) }
        }
        guard result.error == nil else { return unread(.unparsable) }

        let statements = NodeList(result.tree)
        if statements.isEmpty {
            return ParsedStatement(
                effect: [], body: .forward(.emptyStatement), mentions: Mentions(), isASCII: isASCII)
        }
        // Names are compared as Swift strings, which would repair what is not UTF-8.
        let isReadable = isASCII || isUTF8(text)
        var effect: StatementEffect = []
        var customSettings: Set<Swift.String> = []
        var mentions = Mentions()
        var body = ParsedStatement.Body.forward(.severalStatements)
        var verb = TransactionVerb.none
        var changes: Set<SettingChange?> = []
        var deallocation = ParsedStatement.Deallocation.none
        var explainCall = ExplainCall.none
        for statement in statements {
            guard let raw = statement?.cast(to: RawStmt.self, if: T_RawStmt),
                let tree = raw.pointee.stmt
            else { return unread(.unparsable) }
            let read = StatementReader.read(tree, text: text)
            effect.formUnion(read.effect)
            customSettings.formUnion(read.customSettings)
            let change = StatementReader.settingChange(of: tree)
            if change != SettingChange.none { changes.insert(change) }
            deallocation.formUnion(StatementReader.deallocation(of: tree))
            if statements.count == 1 {
                verb = StatementReader.verb(of: tree)
                explainCall = ExplainCall(tree)
                mentions = read.mentions
                body = isReadable ? read.body : .forward(.unparsable)
            } else {
                mentions.formUnion(read.mentions)
            }
        }
        if !isReadable { mentions.isIncomplete = true }
        var parsed = ParsedStatement(
            effect: effect, customSettings: customSettings, body: body, mentions: mentions,
            isASCII: isASCII)
        parsed.verb = verb
        if changes.count == 1, case .some(.some(let change)) = changes.first { parsed.settingChange = change }
        parsed.deallocation = deallocation
        parsed.explainCall = explainCall
        return parsed
    }

    /// Whether a text, such as a parameter's value, means another moment whenever it is read as a date
    /// or time: a statement with such a parameter is forwarded as `timeDependent` [C1].
    public static func isTimeDependentText(_ view: ByteView) -> Bool {
        DateTimeText.isTimeDependent(view.buffer)
    }

    private static func isUTF8(_ text: ByteView) -> Bool {
        Swift.String(validating: text.buffer.bindMemory(to: UInt8.self), as: UTF8.self) != nil
    }
}

extension Mentions {
    mutating func formUnion(_ other: Mentions) {
        for relation in other.relations { add(relation: relation) }
        for call in other.calls { add(call: call) }
        for name in other.operators { add(operator: name) }
        for type in other.types { add(type: type) }
        for field in other.fields { add(field: field) }
        for field in other.valueFields { add(valueField: field) }
        if other.isIncomplete { isIncomplete = true }
    }
}
