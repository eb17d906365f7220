/// What unqualified names mean under a search path (manual, 5.9.3 The Schema Search Path).
extension Statement {
    /// The same statement over the tables that it means; nil where one of them is not found.
    func resolved(in schemas: [String]) -> Statement? {
        switch self {
        case .select(var select):
            guard let table = Table.found(select.table, in: schemas) else { return nil }
            select.table = table
            if let join = select.join {
                guard let other = Table.found(join.table, in: schemas) else { return nil }
                select.join?.table = other
            }
            return .select(select)
        case .insert(var insert):
            guard let table = Table.found(insert.table, in: schemas) else { return nil }
            insert.table = table
            return .insert(insert)
        case .update(var update):
            guard let table = Table.found(update.table, in: schemas) else { return nil }
            update.table = table
            return .update(update)
        case .delete(var delete):
            guard let table = Table.found(delete.table, in: schemas) else { return nil }
            delete.table = table
            return .delete(delete)
        case .truncate(let tables):
            let found = tables.compactMap { Table.found($0, in: schemas) }
            return found.count == tables.count ? .truncate(found) : nil
        case .begin, .commit, .rollback, .block, .setting, .catalog, .channel, .ping, .nonsense: return self
        }
    }

    static let unknownTable = OriginError(state: "42P01", message: "relation does not exist")
}

extension Table {
    /// The number of the table that another's name in a statement means.
    fileprivate static func found(_ number: Int, in schemas: [String]) -> Int? {
        guard !all[number].isQualified, schemas != ["public"] else { return number }
        for schema in schemas {
            if let found = all.firstIndex(where: { $0.schema == schema && $0.name == all[number].name }) {
                return found
            }
        }
        return nil
    }
}
