/// A statement about roles, rights and the table `sheet`, as a value: `Statement.catalog`.
enum CatalogStatement: Hashable {
    /// nil: RESET ROLE.
    case setRole(OriginRole?)
    case setLocalRole(OriginRole)
    /// nil: DEFAULT.
    case setSession(OriginRole?)
    case change(CatalogChange)
    case read(SheetRead)
    case write(SheetWrite)
}

/// What changes the catalog.
enum CatalogChange: Hashable {
    /// SELECT on a table of `Table.all` by its number, or on `sheet` (nil).
    case grant(Int?, OriginRole)
    case revoke(Int?, OriginRole)
    case grantUsage(OriginRole)
    case revokeUsage(OriginRole)
    case join(OriginRole)
    case leave(OriginRole)
    case rowSecurity(Bool)
    /// With a default that older rows show as well.
    case addColumn(SheetColumn, ColumnType, standard: Int?)
    case dropColumn(SheetColumn)
    case rename(SheetColumn, SheetColumn)
    case alterType(SheetColumn, ColumnType)
    case drop
    case create

    /// What belongs to no database fires none.
    var firesEventTriggers: Bool {
        switch self {
        case .join, .leave: false
        default: true
        }
    }

    /// It takes the strongest lock on `sheet`: nobody reads it meanwhile.
    var locksSheet: Bool {
        switch self {
        case .rowSecurity, .addColumn, .dropColumn, .rename, .alterType, .drop: true
        case .grant, .revoke, .grantUsage, .revokeUsage, .join, .leave, .create: false
        }
    }
}

/// A SELECT on `sheet a`.
struct SheetRead: Hashable {
    enum Output: Hashable {
        /// `*`
        case everything
        case columns([SheetColumn])
        /// `count(*)`
        case count
    }
    var output: Output
    /// The primary key that is asked for; nil for all rows.
    var key: Operand?
    var isOrdered = false
}

enum SheetWrite: Hashable {
    case insert(Int, owner: OriginRole)
    /// Sets a column to a number, or to a number's text.
    case update(Int, SheetColumn, Int)
    case delete(Int)
    case truncate
}

extension CatalogStatement {
    var sql: String {
        switch self {
        case .setRole(let role): role.map { "set role \($0.rawValue)" } ?? "reset role"
        case .setLocalRole(let role): "set local role \(role.rawValue)"
        case .setSession(let role): "set session authorization \(role?.rawValue ?? "default")"
        case .change(let change): change.sql
        case .read(let read): read.sql
        case .write(.insert(let id, let owner)): "insert into sheet (id, owner) values (\(id), '\(owner.rawValue)')"
        case .write(.update(let id, let column, let value)):
            "update sheet set \(column.rawValue) = \(column.isText ? "'\(value)'" : "\(value)") where id = \(id)"
        case .write(.delete(let id)): "delete from sheet where id = \(id)"
        case .write(.truncate): "truncate sheet"
        }
    }

    /// How its command tag begins; a number may follow.
    var tag: String {
        switch self {
        case .setRole(nil): "RESET"
        case .setRole, .setLocalRole, .setSession: "SET"
        case .change(let change): change.tag
        case .read: "SELECT "
        case .write(.insert): "INSERT 0 "
        case .write(.update): "UPDATE "
        case .write(.delete): "DELETE "
        case .write(.truncate): "TRUNCATE TABLE"
        }
    }

    var parameterTypes: [ColumnType] {
        if case .read(let read) = self, case .parameter = read.key { [.int4] } else { [] }
    }
    var isRead: Bool { if case .read = self { true } else { false } }
    /// It may commit something.
    var mayWrite: Bool {
        switch self {
        case .change, .write: true
        case .setRole, .setLocalRole, .setSession, .read: false
        }
    }
}

extension CatalogChange {
    fileprivate var sql: String {
        func name(_ table: Int?) -> String { table.map { Table.all[$0].name } ?? Sheet.name }
        return switch self {
        case .grant(let table, let role): "grant select on \(name(table)) to \(role.rawValue)"
        case .revoke(let table, let role): "revoke select on \(name(table)) from \(role.rawValue)"
        case .grantUsage(let role): "grant usage on schema public to \(role.rawValue)"
        case .revokeUsage(let role): "revoke usage on schema public from \(role.rawValue)"
        case .join(let role): "grant staff to \(role.rawValue)"
        case .leave(let role): "revoke staff from \(role.rawValue)"
        case .rowSecurity(let isOn): "alter table sheet \(isOn ? "enable" : "disable") row level security"
        case .addColumn(let column, let type, let standard):
            "alter table sheet add column \(column.rawValue) \(type)"
                + (standard.map { " default \(column.isText ? "'\($0)'" : "\($0)")" } ?? "")
        case .dropColumn(let column): "alter table sheet drop column \(column.rawValue)"
        case .rename(let old, let new): "alter table sheet rename column \(old.rawValue) to \(new.rawValue)"
        case .alterType(let column, let type): "alter table sheet alter column \(column.rawValue) type \(type)"
        case .drop: "drop table sheet"
        case .create: "create table sheet (id int4 primary key, owner text, size int4, label text)"
        }
    }

    fileprivate var tag: String {
        switch self {
        case .grant, .grantUsage: "GRANT"
        case .revoke, .revokeUsage: "REVOKE"
        case .join: "GRANT ROLE"
        case .leave: "REVOKE ROLE"
        case .rowSecurity, .addColumn, .dropColumn, .rename, .alterType: "ALTER TABLE"
        case .drop: "DROP TABLE"
        case .create: "CREATE TABLE"
        }
    }
}

extension SheetRead {
    fileprivate var sql: String {
        let list =
            switch output {
            case .everything: "*"
            case .columns(let columns): columns.map { "a.\($0.rawValue)" }.joined(separator: ", ")
            case .count: "count(*)"
            }
        let condition =
            switch key {
            case .constant(.int(let id)): " where a.id = \(id)"
            case .parameter(let number): " where a.id = $\(number)"
            case .constant, nil: ""
            }
        return "select \(list) from sheet a\(condition)\(isOrdered ? " order by a.id" : "")"
    }
}

extension SheetColumn {
    var isText: Bool { self == .owner || self == .label || self == .title }
}
