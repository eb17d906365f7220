import PGProtocol

/// The type family of a column for which comparisons are certain to agree with PostgreSQL's.
enum ValueFamily: Equatable {
    case integer, text, uuid, boolean

    var kind: ValueKind {
        switch self {
        case .integer: .integer
        case .text: .text
        case .uuid: .uuid
        case .boolean: .boolean
        }
    }

    var isOrdered: Bool { self == .integer || self == .uuid }

    /// Of a column: nil where nothing may be concluded from its values.
    init?(_ column: Column) {
        // A generated column's values are not in the stream [C2].
        guard !column.isGenerated, let family = ValueFamily(type: column.type) ?? (
            column.type == Self.oidType ? .integer : nil), family.kind == column.kind
        else { return nil }
        self = family
    }

    /// Of a parameter's declared type. Not oid: its values wrap around where integers have a sign.
    init?(type: OID) {
        switch type.value {
        case 20, 21, 23: self = .integer  // int8, int2, int4
        case 25, 1043: self = .text  // text, varchar
        case 2950: self = .uuid
        case 16: self = .boolean
        default: return nil
        }
    }

    /// Of a cast's type, where the cast leaves values alone.
    init?(cast: ParsedTypeName) {
        guard cast.schema == nil || cast.schema == "pg_catalog", !cast.isArray, !cast.hasModifier
        else { return nil }
        switch cast.name {
        case "int2", "int4", "int8": self = .integer
        case "text", "varchar": self = .text
        case "uuid": self = .uuid
        case "bool": self = .boolean
        default: return nil
        }
    }

    static let oidType = OID(26)
}
