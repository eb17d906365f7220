import PGProtocol
import Testing

@testable import Cache

/// Row descriptions of the cache database under the origin's numbers.
@Suite struct ReadAnswerTests {
    static let mood = OID(20_001)
    static let pair = OID(20_002)

    /// A table of an integer, an enum and a composite value, 30000 in the cache database and its types from 30001 on.
    static let mapping = {
        var pool = RelationPool(
            Relation(
                oid: OID(20_000), schema: "public", name: "t", kind: UInt8(ascii: "r"),
                persistence: UInt8(ascii: "p"), hasRowSecurity: false, isInherited: false, hasRules: false,
                replicaIdentity: UInt8(ascii: "d"),
                columns: [
                    Column(name: "id", number: 1, type: OID(23), kind: .integer, isGenerated: false, isNotNull: true),
                    Column(
                        name: "m", number: 3, type: mood, baseType: OID(3500), kind: .opaque, isGenerated: false,
                        isNotNull: false),
                    Column(name: "p", number: 4, type: pair, kind: .opaque, isGenerated: false, isNotNull: false),
                ], primaryKey: [0], identityColumns: [0], hasOnlyKnownTypes: false))
        pool.tableOID = OID(30_000)
        pool.columnTypes = [OID(23), OID(30_001), OID(30_002)]
        pool.state = .ready
        return DescriptionMapping([pool])
    }()

    struct Field {
        var table: UInt32 = 0
        var column: UInt16 = 0
        var type: UInt32
        var isBinary = false
    }

    static func body(_ fields: [Field]) -> [UInt8] {
        var writer = ByteWriter()
        writer.uint16(UInt16(fields.count))
        for field in fields {
            writer.cString("x")
            writer.uint32(field.table)
            writer.uint16(field.column)
            writer.uint32(field.type)
            writer.append([0, 4, 255, 255, 255, 255, 0, field.isBinary ? 1 : 0])
        }
        return writer.bytes
    }

    static func outcome(_ fields: Field...) -> DescriptionMapping.Outcome {
        withView(body(fields)) { mapping.mapped($0) }
    }

    @Test func numbersAreTheOrigins() {
        #expect(
            Self.outcome(Field(table: 30_000, column: 2, type: 30_001), Field(type: 30_002), Field(type: 2249))
                == .body(
                    Self.body([Field(table: 20_000, column: 3, type: 20_001), Field(type: 20_002), Field(type: 2249)])))
    }

    @Test func whatIsNotKnownIsRefused() {
        #expect(Self.outcome(Field(table: 30_009, column: 1, type: 23)) == .unknown)
        #expect(Self.outcome(Field(table: 30_000, column: 4, type: 23)) == .unknown)
        #expect(Self.outcome(Field(type: 30_009)) == .unknown)
    }

    @Test(arguments: [(23, true), (25, true), (30_001, true), (30_002, false), (2249, false), (2287, false)])
    func binaryValuesThatNameTypes(type: UInt32, isAlike: Bool) {
        #expect((Self.outcome(Field(type: type, isBinary: true)) == .binaryTypes) == !isAlike)
    }
}
