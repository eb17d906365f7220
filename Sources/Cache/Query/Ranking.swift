import PGProtocol

/// Whether a SELECT's rows come in the order of one column, so that its LIMIT is a matter of the first of these.
///
/// The answer to such a SELECT is that to the same with a further condition in WHERE, that the column is not behind
/// some value, if that has as many rows as LIMIT and OFFSET ask for. So the order says something of the relations
/// that a condition there would constrain [I1].
extension ConstraintReader {
    /// The column, and whether it is in descending order. Nil where a NULL could come in front of its values.
    func ranking() -> (place: Place, isDescending: Bool)? {
        guard let level = select.levels.first, level.hasLimit, !level.hasGrouping, !level.hasWindow,
            !level.isSetOperation, !level.isValues, let order = select.order, let named = column(of: order.item, level),
            let place = resolver.place(of: named, in: .whole(0)), let column = resolver.names.column(at: place),
            column.type == column.baseType, !column.isGenerated, Self.rankedKinds.contains(column.kind),
            applies(Bound(scope: .whole(0), place: place, test: .isNotNull))
        else { return nil }
        let isNeverNull = column.isNotNull && !resolver.tree.isNullable(resolver.tree.paths[place.source])
        return isNeverNull || !order.putsNullsFirst ? (place, order.isDescending) : nil
    }

    /// An item of the result by its name comes before a column of FROM (manual, SELECT, "ORDER BY Clause").
    private func column(of item: ParsedSelect.Order.Item, _ level: ParsedSelect.Level) -> ParsedColumn? {
        switch item {
        case .position(let number):
            guard level.outputs.prefix(max(number, 0)).allSatisfy({ !$0.isStar }),
                level.outputs.indices.contains(number - 1)
            else { return nil }
            return level.outputs[number - 1].column
        case .column(let column):
            if column.relation != nil { return column }
            let named = level.outputs.filter { !$0.isStar && $0.name == column.name }
            guard let first = named.first else { return column }
            return named.count == 1 ? first.column : nil
        }
    }

    /// Those that PostgreSQL orders as `Value` does.
    private static let rankedKinds: Set<ValueKind> = [.integer, .uuid, .date, .timestamp, .timestampWithZone, .numeric]
}
