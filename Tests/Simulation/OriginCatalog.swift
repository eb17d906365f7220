import PGProtocol

/// What can be changed in the modelled origin's catalog: who may read what, and the shape of one table.
///
/// A value: a transaction that changes it has a copy of its own, which becomes everybody's when its commit is visible.
/// The tables of `Table.all` never change their shape; `sheet` does, and comes and goes.
struct CatalogState: Equatable {
    /// Members of the group `staff`.
    var staff: Set<OriginRole> = [.clerk]
    /// Who was granted SELECT, by the number of a table of `Table.all`.
    var readers: [Set<OriginRole>] = Table.all.map { _ in [.staff, .guest] }
    /// Who was granted USAGE on the schema `public`.
    var schemaUsers: Set<OriginRole> = [.staff, .guest]
    var sheet: Sheet?

    static let schema = "public"

    /// A role and the groups whose rights it has.
    private func identities(_ role: OriginRole) -> [OriginRole] { staff.contains(role) ? [role, .staff] : [role] }

    func isMember(_ role: OriginRole, of group: OriginRole) -> Bool {
        if role == .app { return group != .boss }
        return group == .staff && staff.contains(role)
    }

    func mayUseSchema(_ role: OriginRole) -> Bool {
        role.isUnbound || identities(role).contains { schemaUsers.contains($0) }
    }

    func mayUseSchema(_ role: OriginRole, of table: Int) -> Bool {
        table < Table.all.count && Table.all[table].schema != Self.schema || mayUseSchema(role)
    }

    /// SELECT, by the number that the table has in the database.
    func mayRead(_ role: OriginRole, _ table: Int) -> Bool {
        if role.isUnbound { return true }
        let granted = table < readers.count ? readers[table] : sheet?.table == table ? sheet?.readers ?? [] : []
        return identities(role).contains { granted.contains($0) }
    }

    /// Why a role may not read these tables of `Table.all`.
    func refusal(_ tables: [Int], _ role: OriginRole) -> OriginError? {
        if role.isUnbound { return nil }
        for table in tables {
            guard mayUseSchema(role, of: table) else { return Self.missing(Table.all[table].name) }
            guard mayRead(role, table) else { return Self.denied(Table.all[table].name) }
        }
        return nil
    }

    /// The table as a role finds it by its name.
    func found(_ role: OriginRole) throws(OriginError) -> Sheet {
        guard let sheet, mayUseSchema(role) else { throw Self.missing(Sheet.name) }
        return sheet
    }

    static func missing(_ name: String) -> OriginError {
        OriginError(state: "42P01", message: "relation \"\(name)\" does not exist")
    }
    static func denied(_ name: String) -> OriginError {
        OriginError(state: "42501", message: "permission denied for table \(name)")
    }
}

/// The columns that `sheet` may have.
enum SheetColumn: String, CaseIterable {
    case id, owner, size, label, title, extra
}

/// The shape of the table `sheet`: its columns by their attribute numbers, which are never given again.
///
/// The rows in the database hold a value for every attribute that there was when they were written; a column that was
/// added later has its default in older rows (pg_attribute.attmissingval), so nothing in the stream tells of it.
struct Sheet: Equatable {
    struct Attribute: Equatable {
        var column: SheetColumn
        var type: ColumnType
        /// From 1.
        var number: Int
        var standard = Datum.null

        func value(in row: Row) -> Datum { number <= row.count ? row[number - 1] : standard }
    }

    static let name = "sheet"
    /// Number in the database: another one when the table is made again.
    var table: Int
    var oid: OID
    /// Of what there is now, ascending.
    var attributes: [Attribute] = [
        Attribute(column: .id, type: .int4, number: 1), Attribute(column: .owner, type: .text, number: 2),
        Attribute(column: .size, type: .int4, number: 3), Attribute(column: .label, type: .text, number: 4),
    ]
    /// How many there ever were.
    var attributeCount = 4
    /// A policy shows a role the rows whose owner it is.
    var hasRowSecurity = false
    var readers: Set<OriginRole> = []

    init(table: Int) {
        self.table = table
        oid = OID(UInt32(17_000 + table))
    }

    func attribute(_ column: SheetColumn) -> Attribute? { attributes.first { $0.column == column } }

    func shows(_ row: Row, to role: OriginRole) -> Bool {
        guard hasRowSecurity, !role.isUnbound, let owner = attribute(.owner) else { return true }
        return owner.value(in: row) == .text(role.rawValue)
    }

    /// As the stream describes it, and a row as the stream shows it.
    var published: Table {
        Table(
            oid: oid, name: Self.name,
            columns: attributes.map { Column(name: $0.column.rawValue, type: $0.type, isNotNull: $0.number == 1) },
            replicaIdentity: .primaryKey)
    }
    func published(_ row: Row) -> Row { attributes.map { $0.value(in: row) } }

    func missing(_ column: SheetColumn) -> OriginError {
        OriginError(state: "42703", message: "column \"\(column.rawValue)\" does not exist")
    }
}

/// A state that the catalog had for everybody from an event on.
struct CatalogVersion {
    /// `Scheduler.count`, and nanoseconds, when it became visible.
    var event: UInt64
    var time: UInt64
    var state: CatalogState
    /// The transaction that made it.
    var xid: TransactionID?
    /// `Scheduler.count` from which on the proxy must know of it; nil as long as it need not.
    var noticedAt: UInt64?
}
