/// Reading a table reads what inherits from it, and a partitioned table has no rows but those of its leaves.
enum Descendants {
    /// One use for each relation with rows of its own, made of the use of the table that is named.
    static func uses(of relation: Relation, isOnly: Bool, _ use: RelationUse) -> [RelationUse] {
        var uses = relation.kind == UInt8(ascii: "p") ? [] : [use]
        if isOnly { return uses }
        for descendant in relation.descendants where descendant.kind != UInt8(ascii: "p") {
            uses.append(mapped(use, from: relation, to: descendant))
        }
        return uses
    }

    /// The columns of a child are found by name: their order may be another.
    private static func mapped(_ use: RelationUse, from parent: Relation, to child: Relation) -> RelationUse {
        var positions: [Int] = []
        for column in parent.columns {
            guard let position = child.columns.firstIndex(where: { $0.name == column.name }),
                child.columns[position].type == column.type
            else { return RelationUse(relation: child.oid, constraints: []) }
            positions.append(position)
        }
        let constraints = use.constraints.compactMap { constraint -> Constraint? in
            var constraint = constraint
            constraint.column = positions[constraint.column]
            let column = child.columns[constraint.column]
            // A child may generate what its parent does not [C2].
            return column.isGenerated || column.kind != constraint.kind ? nil : constraint
        }
        var reads = use.reads.map { Set($0.map { positions[$0] }) }
        if reads?.contains(where: { child.columns[$0].isGenerated }) ?? false { reads = nil }
        return RelationUse(relation: child.oid, constraints: constraints, reads: reads)
    }
}
