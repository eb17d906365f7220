import PGProtocol

/// A row description of the cache database, as the origin would have sent it [S4].
///
/// The names, the modifiers and the formats are the same there; numbers of tables, columns and of types that PostgreSQL
/// did not bring are the origin's own.
struct DescriptionMapping {
    enum Outcome: Equatable {
        case body([UInt8])
        /// Something in it is not known.
        case unknown
        /// Values of such a type in binary hold numbers of other types: those of the cache database are its own.
        case binaryTypes
    }

    /// By the cache database's numbers of tables.
    var relations: [OID: Relation]
    /// The origin's numbers of types by the cache database's.
    var types: [OID: OID]
    /// Those of them that are enums: in binary a value is its label.
    var enums: Set<OID> = []
    /// record and record[] (pg_type.dat): each value names the types of its fields.
    private static let records: Set<OID> = [OID(2249), OID(2287)]

    init(_ pools: some Sequence<RelationPool>) {
        relations = [:]
        types = [:]
        for pool in pools where pool.isReady {
            relations[pool.tableOID] = pool.relation
            for (column, type) in zip(pool.relation.columns, pool.columnTypes) where !type.isBuiltIn {
                types[type] = column.type
                if column.baseType == SettingClasses.anyEnum { enums.insert(type) }
            }
        }
    }

    /// The body of RowDescription (manual, 55.7).
    func mapped(_ body: ByteView) -> Outcome {
        do throws(ProtocolError) {
            var reader = ByteReader(body)
            var writer = ByteWriter(reserving: body.count)
            let count = try reader.uint16("RowDescription: fields")
            writer.uint16(count)
            for _ in 0..<count {
                let name = try reader.cString("RowDescription: name")
                let table = try reader.oid("RowDescription: table")
                let number = Int(try reader.uint16("RowDescription: column"))
                let type = try reader.oid("RowDescription: type")
                let rest = try reader.bytes(8, "RowDescription: size, modifier, format")
                writer.append(name)
                writer.uint8(0)
                if table.value == 0 {
                    writer.uint32(0)
                    writer.uint16(0)
                } else {
                    guard let relation = relations[table], relation.columns.indices.contains(number - 1) else {
                        return .unknown
                    }
                    writer.uint32(relation.oid.value)
                    writer.uint16(UInt16(bitPattern: relation.columns[number - 1].number))
                }
                guard let originType = type.isBuiltIn ? type : types[type] else { return .unknown }
                let isBinary = rest[6] != 0 || rest[7] != 0
                guard !isBinary || (type.isBuiltIn ? !Self.records.contains(type) : enums.contains(type)) else {
                    return .binaryTypes
                }
                writer.uint32(originType.value)
                writer.append(rest)
            }
            return reader.remaining == 0 ? .body(writer.bytes) : .unknown
        } catch {
            return .unknown
        }
    }
}
