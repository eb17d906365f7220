import PGProtocol

/// Reading: under a view, and at positions of the past.
extension OriginDatabase {
    /// What the origin answers, or would have answered, to a snapshot at this position: every commit up to it, and no
    /// other.
    func answer(_ select: Select, _ parameters: [Datum], at lsn: LSN) -> Answer {
        answer(select, parameters, .position(lsn))
    }

    /// A row in another version than the one that a position has.
    struct Override {
        var table: Int
        var id: Int64
        /// nil: deleted.
        var row: Row?
        var lsn: LSN
    }

    /// The answer at a position if these rows were as given.
    func answer(_ select: Select, _ parameters: [Datum], at lsn: LSN, overriding overrides: [Override]) -> Answer {
        answer(select, parameters, .position(lsn), overriding: overrides)
    }

    /// The version of a row that was current at a position; nil where there was none.
    func row(_ table: Int, _ id: Int64, at lsn: LSN) -> (row: Row, lsn: LSN)? {
        tables[table].visible(id, .position(lsn)).map { ($0.row, $0.created.commit) }
    }

    /// The last commit that inserted, updated or deleted a row, of those that are seen; nil where none did.
    func lastChange(_ table: Int, _ id: Int64, _ sight: Sight) -> LSN? {
        for version in tables[table].chain(id).reversed() {
            if let ended = version.ended, ended.commit != .never, sight.sees(ended) { return ended.commit }
            if version.created.commit != .never, sight.sees(version.created) { return version.created.commit }
        }
        return nil
    }
    func lastChange(_ table: Int, _ id: Int64, at lsn: LSN) -> LSN? { lastChange(table, id, .position(lsn)) }
    func lastChange(_ table: Int, _ id: Int64, in view: View) -> LSN? {
        lastChange(table, id, .view(view, own: nil))
    }

    func answer(
        _ select: Select, _ parameters: [Datum], _ sight: Sight, overriding overrides: [Override] = []
    ) -> Answer {
        let keys = Evaluation.keys(select.conditions, parameters)
        var first = tables[select.table].rows(sight, keys: keys)
        var second = select.join.map { tables[$0.table].rows(sight) } ?? []
        for override in overrides {
            if override.table == select.table, keys?.contains(override.id) ?? true {
                Self.apply(override, to: &first)
            }
            if override.table == select.join?.table { Self.apply(override, to: &second) }
        }
        return Evaluation.answer(select, parameters, first: first, second: second)
    }

    private static func apply(_ override: Override, to rows: inout [VisibleRow]) {
        let key = Datum.int(override.id)
        let place = rows.firstIndex { Datum.less($0.row[0], key) == false } ?? rows.count
        if place < rows.count, rows[place].row[0] == key { rows.remove(at: place) }
        if let row = override.row { rows.insert(VisibleRow(row: row, lsn: override.lsn), at: place) }
    }
}
