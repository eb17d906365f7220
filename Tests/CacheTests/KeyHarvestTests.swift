import PGProtocol
import Testing

@testable import Cache

@Suite struct KeyHarvestTests {
    private struct Field {
        var name: String
        var table: UInt32 = 100
        var number: Int16
        var type: UInt32
        var format: UInt16 = 0
    }
    private static let id = Field(name: "id", number: 1, type: 23)
    private static let name = Field(name: "name", number: 4, type: 25)

    private func description(_ fields: [Field]) -> [UInt8] {
        var writer = ByteWriter()
        writer.message(BackendType.rowDescription) { body in
            body.uint16(UInt16(fields.count))
            for field in fields {
                body.cString(field.name)
                body.uint32(field.table)
                body.uint16(UInt16(bitPattern: field.number))
                body.uint32(field.type)
                body.uint16(4)
                body.uint32(.max)
                body.uint16(field.format)
            }
        }
        return writer.bytes
    }

    private func rows(_ rows: [[[UInt8]?]], isComplete: Bool = true) -> [UInt8] {
        var writer = ByteWriter()
        for row in rows {
            writer.message(BackendType.dataRow) { body in
                body.uint16(UInt16(row.count))
                for value in row {
                    body.uint32(value.map { UInt32($0.count) } ?? .max)
                    body.append(value ?? [])
                }
            }
        }
        if isComplete { writer.message(BackendType.commandComplete) { $0.cString("SELECT 1") } }
        return writer.bytes
    }

    private func harvest(
        _ description: [UInt8], _ rows: [UInt8], described: [UInt8]? = nil, tail: [UInt8]? = nil,
        relation: Relation = Sample.relation(), isEncodingShared: Bool = true
    ) throws -> [RowKey]? {
        try withView(description + rows) { answer in
            try withView(described ?? []) { described in
                try withView(tail ?? []) { bytes in
                    KeyHarvest.keys(
                        answer: answer, descriptionCount: description.count,
                        described: described.count > 0 ? described : nil,
                        tail: tail == nil ? nil : try BindTail(bytes), relation: relation,
                        isEncodingShared: isEncodingShared)
                }
            }
        }
    }

    private func key(_ values: Value...) throws -> RowKey { try #require(RowKey(values)) }

    @Test func keysAreReadWhereverTheyStand() throws {
        let bytes = rows([[[0x61], [0x37]], [nil, [0x38]]])
        #expect(
            try harvest(description([Self.name, Self.id]), bytes)
                == [key(.integer(7)), key(.integer(8))])
        #expect(try harvest(description([Self.name, Self.id]), rows([])) == [])
    }

    @Test func bindDecidesTheFormats() throws {
        let tail = BindTailTests.tail(results: [0, 1])
        let bytes = rows([[[0x61], [0, 0, 0, 7]]])
        // What Describe said of the statement knows no formats.
        let described: [UInt8] = [UInt8(ascii: "t"), 0, 0, 0, 6, 0, 0]
            + description([Self.name, Self.id])
        #expect(try harvest([], bytes, described: described, tail: tail) == [key(.integer(7))])
        #expect(
            try harvest(description([Self.name, Self.id]), bytes, tail: tail) == [key(.integer(7))])
    }

    @Test func keysOfSeveralColumnsComeInTheirOrder() throws {
        let relation = Sample.relation(identityColumns: [0, 2], primaryKey: [2, 0])
        #expect(
            try harvest(
                description([Self.id, Self.name]), rows([[[0x37], [0x61]]]), relation: relation)
                == [key(.bytes([0x61]), .integer(7))])
        #expect(
            try harvest(
                description([Self.id, Self.name]), rows([[[0x37], [0xE4]]]), relation: relation,
                isEncodingShared: false) == nil)
    }

    @Test func withoutTheWholeKeyThereIsNothingToHold() throws {
        let bytes = rows([[[0x37]]])
        #expect(try harvest(description([Self.name]), bytes) == nil)
        #expect(try harvest([], bytes) == nil)
        #expect(try harvest(description([Field(name: "id", table: 0, number: 0, type: 23)]), bytes) == nil)
        #expect(
            try harvest(description([Field(name: "id", table: 101, number: 1, type: 23)]), bytes)
                == nil)
        // Cast on the way.
        #expect(try harvest(description([Field(name: "id", number: 1, type: 25)]), bytes) == nil)
        #expect(
            try harvest(description([Self.id]), bytes, relation: Sample.relation(primaryKey: []))
                == nil)
        #expect(
            try harvest(
                description([Field(name: "blob", number: 5, type: 17)]), bytes,
                relation: Sample.relation(primaryKey: [3])) == nil)
        #expect(try harvest(description([Self.id]), rows([[nil]])) == nil)
    }

    @Test func tooManyRowsAreNotHeld() throws {
        let most = [[[UInt8]?]](repeating: [[0x37]], count: KeyHarvest.rowsMax)
        #expect(try harvest(description([Self.id]), rows(most))?.count == KeyHarvest.rowsMax)
        #expect(try harvest(description([Self.id]), rows(most + [[[0x37]]])) == nil)
    }

    @Test func anythingUnexpectedYieldsNothing() throws {
        let whole = description([Self.name, Self.id]) + rows([[[0x61], [0x37]]])
        let count = description([Self.name, Self.id]).count
        #expect(try harvest(description([Self.id]), rows([[[0x37]]], isComplete: false)) == nil)
        var random = Seeded(state: 2)
        for _ in 0..<20_000 {
            var bytes = whole
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                in: 0...255, using: &random)
            bytes.removeLast(Int.random(in: 0...3, using: &random))
            withView(bytes) {
                _ = KeyHarvest.keys(
                    answer: $0, descriptionCount: count, described: nil, tail: nil,
                    relation: Sample.relation(), isEncodingShared: true)
            }
        }
    }

    @Test func holdingKeysPaysWhereOldImagesDoNotTellAConstraint() {
        func isWorthwhile(
            _ columns: [Int], _ relation: Relation = Sample.relation(), isRowForRow: Bool = true
        ) -> Bool {
            let query = ResolvedQuery(
                uses: [], functions: [], isRowForRow: isRowForRow, parameterCount: 0)
            let use = BoundUse(
                relation: OID(100),
                constraints: columns.map {
                    BoundConstraint(column: $0, test: .among([.integer(1)]))
                })
            return KeyHarvest.isWorthwhile(query, uses: [use], relation: relation)
        }
        #expect(isWorthwhile([1]))
        #expect(isWorthwhile([0, 1]))
        #expect(!isWorthwhile([0]))
        #expect(!isWorthwhile([]))
        #expect(!isWorthwhile([1], isRowForRow: false))
        #expect(!isWorthwhile([2], Sample.relation(identityColumns: [1])))
        #expect(!isWorthwhile([1], Sample.relation(identityColumns: [0, 1, 2, 3])))
    }
}
