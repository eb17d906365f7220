import PGProtocol

/// Which versions of rows somebody sees.
enum Sight {
    /// A statement: what its view sees, and what its own transaction did.
    case view(View, own: TransactionID?)
    /// Every commit up to a position, and no other.
    case position(LSN)

    func sees(_ stamp: Version.Stamp) -> Bool {
        switch self {
        case .view(let view, let own): stamp.xid == own || view.sees(stamp.xid)
        case .position(let lsn): stamp.commit <= lsn && stamp.commit != .never
        }
    }
}

/// One version of a row.
struct Version {
    /// The transaction that made it or ended it.
    struct Stamp: Hashable {
        var xid: TransactionID
        /// The end of its commit record; `LSN.never` as long as there is none.
        var commit: LSN = .never
    }
    let row: Row
    var created: Stamp
    /// By an UPDATE, DELETE or TRUNCATE.
    var ended: Stamp?
    /// Made by the UPDATE that ended the version before it.
    let isUpdated: Bool
}

/// All versions of all rows of a table.
///
/// Locks let one transaction at a time change a row, so the versions of a row are in the order of their commits, and
/// what is not committed is at the end. What was rolled back is not there.
struct VersionedTable {
    /// Every id that was ever there, ascending, and its versions.
    private(set) var ids: [Int64] = []
    private(set) var chains: [[Version]] = []

    /// Where an id is or would be.
    private func place(of id: Int64) -> Int {
        var low = 0
        var high = ids.count
        while low < high {
            let middle = (low + high) / 2
            if ids[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func chain(_ id: Int64) -> [Version] {
        let place = place(of: id)
        return place < ids.count && ids[place] == id ? chains[place] : []
    }

    // MARK: Reading

    /// The place of the version that is seen in a chain.
    static func visible(in chain: [Version], _ sight: Sight) -> Int? {
        var place = chain.count - 1
        while place >= 0 {
            if sight.sees(chain[place].created) {
                if let ended = chain[place].ended, sight.sees(ended) { return nil }
                return place
            }
            place -= 1
        }
        return nil
    }

    func visible(_ id: Int64, _ sight: Sight) -> Version? {
        let place = place(of: id)
        guard place < ids.count, ids[place] == id else { return nil }
        return Self.visible(in: chains[place], sight).map { chains[place][$0] }
    }

    /// What is seen of these ids, or of all of them, in their order.
    func rows(_ sight: Sight, keys: [Int64]? = nil) -> [VisibleRow] {
        var rows: [VisibleRow] = []
        if let keys {
            for key in keys {
                if let version = visible(key, sight) {
                    rows.append(VisibleRow(row: version.row, lsn: version.created.commit))
                }
            }
            return rows
        }
        rows.reserveCapacity(ids.count)
        for chain in chains {
            if let place = Self.visible(in: chain, sight) {
                rows.append(VisibleRow(row: chain[place].row, lsn: chain[place].created.commit))
            }
        }
        return rows
    }

    // MARK: Changing

    mutating func append(_ version: Version, _ id: Int64) {
        let place = place(of: id)
        if place == ids.count || ids[place] != id {
            ids.insert(id, at: place)
            chains.insert([], at: place)
        }
        chains[place].append(version)
    }

    /// Ends a version; returns its row.
    mutating func end(_ id: Int64, _ index: Int, by xid: TransactionID) -> Row {
        let place = place(of: id)
        precondition(chains[place][index].ended == nil, "a version ends once")
        chains[place][index].ended = Version.Stamp(xid: xid)
        return chains[place][index].row
    }

    /// A transaction's commit is in the log: what it did to a row gets its position.
    mutating func commit(_ id: Int64, _ xid: TransactionID, at lsn: LSN) {
        let place = place(of: id)
        var index = chains[place].count - 1
        while index >= 0 {
            if chains[place][index].ended?.xid == xid { chains[place][index].ended?.commit = lsn }
            guard chains[place][index].created.xid == xid else { return }
            chains[place][index].created.commit = lsn
            index -= 1
        }
    }

    /// The last thing that a transaction did to a row has not happened.
    mutating func undoLast(_ id: Int64, _ xid: TransactionID) {
        let place = place(of: id)
        guard let last = chains[place].last else { return }
        if let ended = last.ended {
            if ended.xid == xid { chains[place][chains[place].count - 1].ended = nil }
            return
        }
        guard last.created.xid == xid else { return }
        chains[place].removeLast()
        if last.isUpdated { chains[place][chains[place].count - 1].ended = nil }
    }

    /// What a transaction did to a row has not happened.
    mutating func undo(_ id: Int64, _ xid: TransactionID) {
        let place = place(of: id)
        while let last = chains[place].last, last.created.xid == xid { chains[place].removeLast() }
        guard let index = chains[place].indices.last, chains[place][index].ended?.xid == xid else { return }
        chains[place][index].ended = nil
    }
}
