import PGProtocol

/// The type family of a column for which comparisons are certain to agree with PostgreSQL's: a `ValueKind`, by the
/// types that columns, parameters and casts have.
struct ValueFamily: Equatable {
    let kind: ValueKind

    /// Of a column: nil where nothing may be concluded from its values.
    init?(_ column: Column) {
        // A generated column's values are not in the stream [C2].
        guard !column.isGenerated, let family = ValueFamily(type: column.type) ?? (
            column.type == Self.oidType ? ValueFamily(kind: .integer) : nil), family.kind == column.kind
        else { return nil }
        self = family
    }

    init(kind: ValueKind) { self.kind = kind }

    /// Of a parameter's declared type. Not oid: its values wrap around where integers have a sign.
    init?(type: OID) {
        switch type.value {
        case 20, 21, 23: kind = .integer  // int8, int2, int4
        case 25, 1043: kind = .text  // text, varchar
        case 2950: kind = .uuid
        case 16: kind = .boolean
        case 1082: kind = .date
        case 1114: kind = .timestamp
        case 1184: kind = .timestampWithZone
        case 1700: kind = .numeric
        default: return nil
        }
    }

    /// Of the elements of a parameter's declared type, an array.
    init?(elementsOf type: OID) {
        switch type.value {
        case 1005, 1007, 1016: kind = .integer
        case 1009, 1015: kind = .text
        case 2951: kind = .uuid
        case 1000: kind = .boolean
        case 1182: kind = .date
        case 1115: kind = .timestamp
        case 1185: kind = .timestampWithZone
        case 1231: kind = .numeric
        default: return nil
        }
    }

    /// Of a cast's type, or of the elements of it, where the cast leaves values alone.
    init?(cast: ParsedTypeName, isArray: Bool = false) {
        guard cast.schema == nil || cast.schema == "pg_catalog", cast.isArray == isArray, !cast.hasModifier
        else { return nil }
        switch cast.name {
        case "int2", "int4", "int8": kind = .integer
        case "text", "varchar": kind = .text
        case "uuid": kind = .uuid
        case "bool": kind = .boolean
        case "date": kind = .date
        case "timestamp": kind = .timestamp
        case "timestamptz": kind = .timestampWithZone
        case "numeric": kind = .numeric
        default: return nil
        }
    }

    /// A value of this family meets a column of the other as `Value.converted` has it.
    func isComparable(with column: ValueFamily) -> Bool { self == column || kind.isComparable(with: column.kind) }

    static let text = ValueFamily(kind: .text)
    static let oidType = OID(26)
}
