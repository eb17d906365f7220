internal import CPgQuery
import PGProtocol

/// What a function of users' does, where it is a single SELECT that can be read.
///
/// Only for functions in SQL that run as their caller and under his settings (`CatalogQueries.functions`): then the
/// body is one more SELECT of the statement that calls it. Its names are looked up like the statement's own, by the
/// caller's search path.
public final class FunctionBody: Sendable {
    let mentions: Mentions
    /// Why the statement is forwarded whatever the names mean.
    let reason: ForwardReason?

    init(mentions: Mentions, reason: ForwardReason?) {
        self.mentions = mentions
        self.reason = reason
    }

    static let bytesMax = 16 << 10

    /// Nil for what is more than a SELECT, or may do more than read.
    ///
    /// - Parameters:
    ///   - isDefinition: the source is the whole CREATE FUNCTION, whose body is of the standard's form.
    ///   - types: of the arguments and the result.
    convenience init?(source: Swift.String, isDefinition: Bool, types: [OID]) {
        // A backslash means what the caller's settings say.
        guard source.utf8.count <= Self.bytesMax, !source.utf8.contains(UInt8(ascii: "\\")),
            !source.utf8.contains(0)
        else { return nil }
        let memory = pg_query_enter_memory_context()
        defer { pg_query_exit_memory_context(memory) }
        let result = source.withCString { pgcache_raw_parse($0, true) }
        defer {
            pgcache_release(result.stderr_buffer)
            if let error = result.error { pg_query_free_error(error) }
        }
        let statements = NodeList(result.tree)
        guard result.error == nil, statements.count == 1,
            let statement = statements[0]?.cast(to: RawStmt.self, if: T_RawStmt)?.pointee.stmt,
            let body = isDefinition ? Self.body(of: statement) : statement
        else { return nil }

        guard body.tag == T_SelectStmt || body.tag == T_ReturnStmt else { return nil }
        var walker = StatementWalker()
        walker.walk(select: body)
        let select = walker.reader.select
        guard walker.effect.isEmpty, walker.customSettings.isEmpty, !walker.mentions.isIncomplete else { return nil }
        self.init(
            mentions: walker.mentions, reason: walker.reason ?? Self.reason(select, walker.mentions, types))
    }

    /// The only statement of `BEGIN ATOMIC … END`, or `RETURN`.
    private static func body(of statement: NodePointer) -> NodePointer? {
        guard
            let body = statement.cast(to: CreateFunctionStmt.self, if: T_CreateFunctionStmt)?.pointee.sql_body
        else { return nil }
        guard let block = list(body) else { return body }
        guard block.count == 1, let only = block[0] else { return nil }
        guard let inner = list(only) else { return only }
        return inner.count == 1 ? inner[0] : nil
    }

    private static func list(_ node: NodePointer) -> NodeList? {
        node.tag == T_List ? NodeList(node.cast(to: List.self)) : nil
    }

    /// As in a statement, but here the text that a cast reads may be that of any argument.
    private static func reason(_ select: ParsedSelect, _ mentions: Mentions, _ types: [OID]) -> ForwardReason? {
        func isFixed(_ source: ValueSource) -> Bool {
            switch source {
            case .constant, .dateTime: true
            case .oneOf(let sources): sources.allSatisfy(isFixed)
            case .parameter, .column, .computed, .other: false
            }
        }
        func isMoment(_ type: Swift.String) -> Bool {
            DateTimeText.types.contains(Swift.String(type.drop { $0 == "_" }))
        }
        if types.contains(where: { DateTimeText.timeWithZoneTypes.contains($0) }) { return .timeDependent }
        // Calls with one argument among them, and AT TIME ZONE.
        for cast in select.casts where isMoment(cast.type.name) || cast.type.name == "timezone" {
            if !isFixed(cast.source) { return .timeDependent }
        }
        for type in mentions.types {
            let name = Swift.String(type.name.drop { $0 == "_" })
            if name == "timetz" { return .timeDependent }
            if Volatility.catalogTypes.contains(name) { return .catalogDependent }
            if name == "xml" { return .unsupportedExpression }
        }
        return nil
    }
}
