import PGProtocol

@testable import Cache

/// Arbitrary text of a statement, read under both meanings of the backslash, resolved, and shown.
///
/// A text means the same twice, and with a blank behind it; what is shown of it stays within its bound.
enum StatementTarget {
    static func run(_ input: FuzzInput) {
        let text = input.payload
        let catalog = FullCatalog()
        for standard in [true, false] {
            let parsed = parse(text.bytes, standard)
            expect(parsed == parse(text.bytes, standard), "a text means the same twice")
            let padded = parse(text.bytes + [0x20], standard)
            expect(
                parsed.effect == padded.effect && parsed.body == padded.body
                    && parsed.mentions == padded.mentions,
                "a blank at the end changes what a text means")
            resolve(parsed, catalog)
        }
        compareShape(text, catalog)
        let preview = StatementPreview.of(text)
        expect(
            preview.utf8.count <= 4 * StatementPreview.bytesScannedMax, "a preview of \(preview.utf8.count) bytes")
        _ = StatementParser.isTimeDependentText(text)
    }

    /// What is learned of a text's shape says of another text of it what the parser says [K2] [I1].
    private static func compareShape(_ text: ByteView, _ catalog: FullCatalog) {
        let scanner = ShapeScanner()
        let rest = text.slice(from: 0, count: 0)
        guard !text.buffer.contains(0), let key = scanner.scan(text, rest: rest)?.bytes else { return }
        let constants = scanner.constants
        let types = [OID(23), OID(0), OID(25)]
        func resolve(_ parsed: ParsedStatement) -> Resolution {
            parsed.resolved(with: catalog, declaredTypes: types, allows: { _ in true })
        }
        let parsed = parse(text.bytes, true)
        guard let lesson = Lesson(
            text, constants, parsed, resolve(parsed), relation: { _ in FullCatalog.table }, resolve: resolve)
        else { return }
        withExactCopy(otherText(text, constants)[...]) { other in
            guard scanner.scan(other, rest: rest)?.bytes == key else { return }
            let read = parse(other.bytes, true)
            expect(read.isLiftable && read.isAlike(parsed), "texts of a shape do the same")
            switch resolve(read) {
            case .needs(let names): fatalError("\(names) are needed of a catalog that knows all")
            case .forward: expect(lesson.query == nil, "a lesson caches what is forwarded")
            case .cacheable(let expected):
                guard let learned = lesson.query(for: other, scanner.constants) else {
                    fatalError("a lesson forwards what is cacheable")
                }
                expect(learned.columns == expected.columns && learned.rights == expected.rights, "of all alike")
                // An alternative of an OR whose constant says nothing is left open, where the text has no OR any more.
                for use in expected.uses {
                    let isCovered = learned.uses.contains { wider in
                        wider.relation == use.relation
                            && wider.constraints.allSatisfy { use.constraints.contains($0) }
                    }
                    expect(isCovered, "a lesson constrains more than the text does")
                }
            }
        }
    }

    /// The text with each constant replaced by the next one of its class, or by another number.
    private static func otherText(_ text: ByteView, _ constants: [ShapeScanner.Constant]) -> [UInt8] {
        var other: [UInt8] = []
        var end = 0
        for (number, constant) in constants.enumerated() {
            other += text.slice(from: end, count: constant.start - end).bytes
            let next = constants[(number + 1)...].first { $0.lexicalClass == constant.lexicalClass }
            if let next {
                other += text.slice(from: next.start, count: next.end - next.start).bytes
            } else if constant.lexicalClass == .int4 {
                other += Array("\(number * 7919 % 1000)".utf8)
            } else {
                other += text.slice(from: constant.start, count: constant.end - constant.start).bytes
            }
            end = constant.end
        }
        return other + text.dropFirst(end).bytes
    }

    private static func parse(_ text: [UInt8], _ standardConformingStrings: Bool) -> ParsedStatement {
        withExactCopy(text[...]) {
            StatementParser.parse(
                $0, standardConformingStrings: standardConformingStrings, bytesMax: 1 << 16)
        }
    }

    private static func resolve(_ parsed: ParsedStatement, _ catalog: FullCatalog) {
        switch parsed.resolved(with: catalog, declaredTypes: [OID(23), OID(0), OID(25)], allows: { _ in true }) {
        case .needs(let names): fatalError("\(names) are needed of a catalog that knows all")
        case .forward: break
        case .cacheable(let query):
            expect(parsed.effect.isEmpty, "what may be cached does nothing")
            for use in query.uses {
                expect(
                    use.constraints.allSatisfy { FullCatalog.table.columns.indices.contains($0.column) },
                    "a constraint is about a column that there is")
            }
            let bound = OperandBinding(isEncodingShared: true).bind(query)
            expect(bound.count == query.uses.count, "every use is bound")
        }
    }

    /// Every relation exists and has a column of each kind; functions are PostgreSQL's, and volatile but for a few.
    private struct FullCatalog: CatalogLookup {
        private static let immutable: Set<String> = [
            "count", "sum", "min", "max", "avg", "lower", "upper", "length", "abs", "concat", "substring", "int4",
            "text", "date_trunc", "timezone", "like_escape", "extract", "btrim", "position", "overlaps",
        ]

        static let table = Relation(
            oid: OID(20_001), schema: "public", name: "items", kind: UInt8(ascii: "r"),
            persistence: UInt8(ascii: "p"), hasRowSecurity: false, isInherited: false, hasRules: false,
            replicaIdentity: UInt8(ascii: "d"),
            columns: zip(["id", "tenant", "name", "key", "flag", "made"], [23, 20, 25, 2950, 16, 1114])
                .enumerated().map { position, column in
                    Column(
                        name: column.0, number: Int16(position + 1), type: OID(column.1),
                        kind: ValueKind(type: OID(column.1), isDeterministic: true), isGenerated: false,
                        isNotNull: position == 0)
                },
            primaryKey: [0], identityColumns: [0], hasOnlyKnownTypes: true)

        func relation(_ name: RelationName) -> RelationLookup {
            if name.name == "absent" { return .absent }
            var relation = Self.table
            relation.name = name.name
            relation.schema = name.schema ?? "public"
            return .found(relation)
        }
        func functions(named name: String) -> [FunctionFact] {
            if name == "effect" { return [FunctionFact(oid: OID(20_500), schema: "public", volatility: 0x76)] }
            let isImmutable = Self.immutable.contains(name)
            return [
                FunctionFact(
                    oid: OID(2803), schema: "pg_catalog",
                    volatility: isImmutable ? UInt8(ascii: "i") : UInt8(ascii: "v"),
                    isAggregate: name == "count" || name == "sum")
            ]
        }
        func hasUserOperator(named name: String) -> Bool { name == "@@@" }
        func isUserType(named name: String) -> Bool { name == "mood" }
    }
}
