import PGProtocol
import Testing

@testable import Cache

@Suite struct BindTailTests {
    typealias Format = BindTail.Format

    static func tail(
        formats: [UInt16] = [], values: [[UInt8]?] = [], results: [UInt16] = []
    ) -> [UInt8] {
        var writer = ByteWriter()
        writer.uint16(UInt16(formats.count))
        formats.forEach { writer.uint16($0) }
        writer.uint16(UInt16(values.count))
        for value in values {
            writer.uint32(value.map { UInt32($0.count) } ?? .max)
            writer.append(value ?? [])
        }
        writer.uint16(UInt16(results.count))
        results.forEach { writer.uint16($0) }
        return writer.bytes
    }

    /// What a constraint `column among ($1)` becomes.
    private func bound(
        _ kind: ValueKind, _ value: [UInt8]?, binary: Bool = false, type: UInt32 = 0,
        isEncodingShared: Bool = true
    ) throws -> Value? {
        let query = ResolvedQuery(
            uses: [
                RelationUse(
                    relation: OID(1),
                    constraints: [
                        Constraint(column: 0, kind: kind, test: .among([.parameter(1)]))
                    ])
            ], functions: [], isRowForRow: true, parameterCount: 1)
        let uses = try withView(Self.tail(formats: binary ? [1] : [], values: [value])) {
            OperandBinding(
                declaredTypes: type == 0 ? [] : [OID(type)], tail: try BindTail($0),
                isEncodingShared: isEncodingShared
            ).bind(query)
        }
        guard case .among(let values)? = uses[0].constraints.first?.test else { return nil }
        return values[0]
    }

    @Test func formatsAndValuesAreRead() throws {
        let bytes = Self.tail(formats: [0, 1], values: [[0x31], nil], results: [1])
        try withView(bytes) {
            let tail = try BindTail($0)
            #expect(tail.formats == [.text, .binary])
            #expect(tail.values[0]?.bytes == [0x31])
            #expect(tail.values[1] == nil)
            #expect(tail.resultFormats == [.binary])
            #expect(tail.resultFormat(of: 7) == .binary)
        }
        try withView(Self.tail(formats: [1], values: [[], []])) {
            let tail = try BindTail($0)
            #expect(tail.format(of: 1) == .binary)
            #expect(tail.resultFormat(of: 0) == .text)
        }
    }

    @Test(arguments: [
        [], [0], [0, 0], [0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1, 0, 0, 0, 9, 0, 0],
        [0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE, 0, 0], [0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0],
        [0xFF, 0xFF], [0, 0, 0xFF, 0xFF, 0, 0], [0, 1, 0, 2, 0, 0, 0, 0],
        [0, 2, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1],
    ] as [[UInt8]])
    func whatPostgreSQLWouldRefuseIsRefused(_ bytes: [UInt8]) {
        #expect(throws: ProtocolError.self) { try withView(bytes) { _ = try BindTail($0) } }
    }

    @Test func randomBytesNeverTrap() {
        var random = Seeded(state: 5)
        var parsed = 0
        for _ in 0..<20_000 {
            var bytes = Self.tail(formats: [0, 1], values: [[1, 2], nil], results: [0])
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                    in: 0...255, using: &random)
            }
            bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            withView(bytes) { if (try? BindTail($0)) != nil { parsed += 1 } }
        }
        #expect(parsed < 20_000)
    }

    @Test func integersAreReadFromText() throws {
        for (text, value) in [
            ("5", 5), ("+5", 5), ("007", 7), ("0", 0), ("9223372036854775807", Int64.max),
        ] as [(String, Int64)] {
            #expect(try bound(.integer, Array(text.utf8)) == .integer(value))
        }
        for text in [
            "", "-", "+", " 5", "5 ", "5.0", "5e1", "0x5", "1_000", "--5", "9223372036854775808",
            "99999999999999999999",
        ] {
            #expect(try bound(.integer, Array(text.utf8)) == nil, "\(text)")
        }
        // oid reads it as 4294967291.
        #expect(try bound(.integer, Array("-5".utf8)) == nil)
        #expect(try bound(.integer, Array("-5".utf8), type: 26) == nil)
        #expect(try bound(.integer, Array("-5".utf8), type: 20) == .integer(-5))
        #expect(try bound(.integer, Array("-9223372036854775808".utf8), type: 20) == .integer(.min))
    }

    @Test func integersAreReadFromBinaryByTheirWidth() throws {
        #expect(try bound(.integer, [0, 7], binary: true) == .integer(7))
        #expect(try bound(.integer, [0xFF, 0xFF], binary: true) == .integer(-1))
        #expect(try bound(.integer, [0, 0, 0, 7], binary: true) == .integer(7))
        #expect(
            try bound(.integer, [UInt8](repeating: 0xFF, count: 8), binary: true) == .integer(-1))
        let ones = [UInt8](repeating: 0xFF, count: 4)
        #expect(try bound(.integer, ones, binary: true) == nil)
        #expect(try bound(.integer, ones, binary: true, type: 23) == .integer(-1))
        #expect(try bound(.integer, ones, binary: true, type: 26) == .integer(4_294_967_295))
        #expect(try bound(.integer, [0, 0, 7], binary: true) == nil)
        #expect(try bound(.integer, [0, 0, 0, 7], binary: true, type: 20) == nil)
    }

    @Test func aParameterOfAnotherFamilyConstrainsNothing() throws {
        #expect(try bound(.integer, Array("5".utf8), type: 1700) == nil)
        #expect(try bound(.integer, Array("5".utf8), type: 25) == nil)
        #expect(try bound(.text, Array("5".utf8), type: 1042) == nil)
        #expect(try bound(.text, Array("5".utf8), type: 1043) == .bytes([0x35]))
        #expect(try bound(.opaque, Array("5".utf8)) == nil)
    }

    @Test func textIsItsBytesWhereBothSidesMeanTheSameByThem() throws {
        #expect(try bound(.text, [0x61, 0x20]) == .bytes([0x61, 0x20]))
        #expect(try bound(.text, []) == .bytes([]))
        #expect(try bound(.text, [0xC3, 0xA4]) == .bytes([0xC3, 0xA4]))
        #expect(try bound(.text, [0xC3, 0xA4], isEncodingShared: false) == nil)
        #expect(try bound(.text, [0x61], isEncodingShared: false) == .bytes([0x61]))
    }

    @Test func uuidsHaveTwoSpellings() throws {
        let bytes = (0..<16 as Range<UInt8>).map { $0 * 16 + $0 }
        for text in [
            "00112233-4455-6677-8899-aabbccddeeff", "00112233445566778899AABBCCDDEEFF",
        ] {
            #expect(try bound(.uuid, Array(text.utf8)) == .bytes(bytes))
        }
        #expect(try bound(.uuid, bytes, binary: true) == .bytes(bytes))
        for text in [
            "", "{00112233-4455-6677-8899-aabbccddeeff}", "0011-2233-4455-6677-8899-aabb-ccdd-eeff",
            "00112233-4455-6677-8899-aabbccddeef", "g0112233445566778899aabbccddeeff",
            "001122334-455-6677-8899-aabbccddeeff",
        ] {
            #expect(try bound(.uuid, Array(text.utf8)) == nil, "\(text)")
        }
        #expect(try bound(.uuid, [1, 2], binary: true) == nil)
    }

    @Test func booleansAreReadWherePlain() throws {
        #expect(try bound(.boolean, Array("t".utf8)) == .integer(1))
        #expect(try bound(.boolean, Array("false".utf8)) == .integer(0))
        #expect(try bound(.boolean, Array("yes".utf8)) == nil)
        #expect(try bound(.boolean, [1], binary: true) == .integer(1))
        #expect(try bound(.boolean, [0], binary: true) == .integer(0))
        #expect(try bound(.boolean, [0, 0], binary: true) == nil)
    }

    @Test func nullAndMissingParametersConstrainNothing() throws {
        #expect(try bound(.integer, nil) == nil)
        let query = ResolvedQuery(
            uses: [
                RelationUse(
                    relation: OID(1),
                    constraints: [
                        Constraint(column: 0, kind: .integer, test: .among([.parameter(2)])),
                        Constraint(
                            column: 1, kind: .integer,
                            test: .among([.constant(.integer(1)), .parameter(2)])),
                        Constraint(
                            column: 2, kind: .integer,
                            test: .range(
                                lower: .init(operand: .constant(.integer(3)), isInclusive: true),
                                upper: .init(operand: .parameter(2), isInclusive: false))),
                        Constraint(column: 3, kind: .opaque, test: .isNull),
                        Constraint(
                            column: 4, kind: .text,
                            test: .range(
                                lower: .init(operand: .constant(.bytes([1])), isInclusive: true),
                                upper: nil)),
                        Constraint(column: 5, kind: .integer, test: .among([])),
                    ])
            ], functions: [], isRowForRow: true, parameterCount: 2)
        let uses = OperandBinding(tail: nil, isEncodingShared: true).bind(query)
        #expect(
            uses == [
                BoundUse(
                    relation: OID(1),
                    constraints: [
                        BoundConstraint(
                            column: 2,
                            test: .range(
                                lower: .init(value: .integer(3), isInclusive: true), upper: nil)),
                        BoundConstraint(column: 3, test: .isNull),
                    ])
            ])
    }

    @Test func aConstantOfTheWrongSortConstrainsNothing() {
        let query = ResolvedQuery(
            uses: [
                RelationUse(
                    relation: OID(1),
                    constraints: [
                        Constraint(
                            column: 0, kind: .integer, test: .among([.constant(.bytes([5]))])),
                        Constraint(column: 1, kind: .uuid, test: .among([.constant(.bytes([5]))])),
                    ])
            ], functions: [], isRowForRow: true, parameterCount: 0)
        #expect(OperandBinding(isEncodingShared: true).bind(query)[0].constraints.isEmpty)
    }
}
