import PGProtocol

@testable import Cache

/// Arbitrary bytes behind the names of a Bind, and arbitrary values of parameters and rows.
///
/// What was understood is what was there: formats and values fit the count, and a number or uuid that
/// was read is written again as it was.
enum BindTarget {
    private static let kinds: [ValueKind] = [
        .integer, .text, .uuid, .boolean, .date, .timestamp, .timestampWithZone, .numeric, .opaque,
    ]
    private static let types: [OID] = [
        0, 16, 20, 21, 23, 25, 26, 1043, 2950, 1700, 1082, 1114, 1184, 1007, 1009, 1231,
    ].map { OID($0) }

    static func run(_ input: FuzzInput) {
        var input = input
        let declared = [UInt8](repeating: 0, count: 3).map { _ in types[Int(input.control()) % types.count] }
        withExactCopy(input.payload.bytes[...]) { view in
            if let tail = try? BindTail(view) { check(tail, declared, view) }
            for kind in kinds { check(view, kind) }
        }
    }

    private static func check(_ tail: BindTail, _ declared: [OID], _ view: ByteView) {
        let length = 6 + 2 * (tail.formats.count + tail.resultFormats.count)
            + tail.values.reduce(0) { $0 + 4 + ($1?.count ?? 0) }
        expect(length == view.count, "a Bind of \(view.count) bytes was read as one of \(length)")
        for position in tail.values.indices { _ = tail.format(of: position) }
        for column in 0..<(tail.resultFormats.count + 2) { _ = tail.resultFormat(of: column) }
        let binding = OperandBinding(declaredTypes: declared, tail: tail, isEncodingShared: view.count & 1 == 0)
        for kind in kinds {
            let query = query(kind, parameters: min(tail.values.count, 8) + 1)
            let bound = binding.bind(query)
            expect(bound.count == 1, "every use is bound")
            for constraint in bound[0].constraints {
                let known: [KnownValue] = [.unknown, .null, .notNull, .value(.integer(1)), .value(.bytes([1]))]
                for value in known { _ = constraint.mayHold(value) }
                expect(constraint.mayHold(.unknown), "what is not known may match")
            }
        }
    }

    /// One use whose constraints hold every parameter, and one that is not there, in every place.
    private static func query(_ kind: ValueKind, parameters: Int) -> ResolvedQuery {
        var constraints: [Constraint] = []
        for number in 1...parameters {
            let bound = Constraint.Bound(operand: .parameter(number), isInclusive: number & 1 == 0)
            for test in [
                Constraint.Test.among([.parameter(number), .parameter(1)]),
                .range(lower: bound, upper: nil), .range(lower: nil, upper: bound), .elements(number),
                .like(.parameter(number)), .symmetric(.parameter(number), .parameter(1)),
            ] {
                constraints.append(Constraint(column: 0, kind: kind, test: test))
            }
        }
        return ResolvedQuery(
            uses: [RelationUse(relation: OID(20_001), constraints: constraints)], functions: [],
            isRowForRow: true, parameterCount: parameters)
    }

    private static func check(_ view: ByteView, _ kind: ValueKind) {
        if let value = Value(text: view, kind: kind) {
            let text = withView(written(value, kind)) { Value(text: $0, kind: kind) }
            expect(text == value, "\(value) of kind \(kind) is another when it is written and read")
        }
        for type in types {
            guard let value = Value(binary: view, kind: kind, type: type) else { continue }
            let text = withView(written(value, kind)) { Value(text: $0, kind: kind) }
            expect(text == value, "\(value) of kind \(kind) is another in text than in binary")
        }
    }

    private static func written(_ value: Value, _ kind: ValueKind) -> [UInt8] {
        // Text may be no UTF-8.
        if kind == .text, case .bytes(let bytes) = value { return bytes }
        return Array(value.text(kind).utf8)
    }
}
