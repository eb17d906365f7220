import PGProtocol

/// Where answers are found that hold the rows which another LIMIT or OFFSET asks for.
///
/// One cell for some of the bits of a family's hash; who comes later takes the cell, unless what is there is of the
/// same
/// family and holds more. It only finds candidates: whoever looks compares the family in full [K1].
struct WindowTable {
    static let cellCount = 4096
    /// Longer texts share nothing.
    static let textBytesMax = 8192

    private var cells: [(hash: UInt64, entry: EntryID)] = []

    func find(_ hash: UInt64) -> EntryID? {
        guard !cells.isEmpty else { return nil }
        let cell = cells[Int(truncatingIfNeeded: hash) & (Self.cellCount - 1)]
        return cell.hash == hash ? cell.entry : nil
    }

    mutating func set(_ hash: UInt64, _ entry: EntryID) {
        if cells.isEmpty {
            cells = Array(repeating: (0, EntryID(index: .max, generation: 0)), count: Self.cellCount)
        }
        cells[Int(truncatingIfNeeded: hash) & (Self.cellCount - 1)] = (hash, entry)
    }
}

/// Rows of the base of a family: `limit` of them at most behind the first `offset`.
struct RowRange {
    var offset: Int
    var limit: Int?

    /// Nil where a parameter is not plainly a number.
    init?(_ window: RowWindow, _ tail: BindTail?, _ declaredTypes: [OID]) {
        offset = 0
        switch window.offset {
        case .absent: break
        case .constant(let value): offset = value
        case .parameter(let number):
            guard let value = tail?.rowCount(number, declaredTypes) else { return nil }
            offset = value
        }
        switch window.limit {
        case .absent: break
        case .constant(let value): limit = value
        case .parameter(let number):
            guard let value = tail?.rowCount(number, declaredTypes) else { return nil }
            limit = value
        }
    }
}

/// Queries that differ only in LIMIT and OFFSET share what they have in common: the rows of one that holds enough are
/// an
/// answer that PostgreSQL could have given to another, at the same watermark.
///
/// Without ORDER BY, and among rows that it leaves equal, any rows are right; the rows of one answer are so together.
/// The rest of an answer does not depend on how much of it is asked for: what is volatile is not cached. Only misses
/// come here; what they are given is an entry of its own from then on.
extension CacheStore {
    /// An answer was captured that may hold what others ask for.
    func noteWindow(_ id: EntryID) {
        guard let entry = memo[id], entry.pointee.isLive, let statement = statements[entry.pointee.statement],
            statement.pointee.textCount <= WindowTable.textBytesMax,
            let count = entry.pointee.rowCount, statement.pointee.isRowWindow || count > 1
        else { return }
        let window = RowWindow(statement.pointee.text)
        let tail = entry.pointee.tail.view
        guard window.isKnown, let hash = family(statement, window, tail) else { return }
        if let other = windows.find(hash), other != id, let known = memo[other], known.pointee.isLive,
            let knownCount = known.pointee.rowCount, knownCount > count
        {
            return
        }
        windows.set(hash, id)
    }

    /// What a miss is answered with: the rows of another answer. Nil without one.
    func sharedWindow(_ execution: Execution) -> UnsafeMutablePointer<MemoEntry>? {
        let statement = execution.statement
        guard statement.pointee.isRowWindow, execution.key.count == execution.tail.count,
            statement.pointee.textCount <= WindowTable.textBytesMax
        else { return nil }
        let window = RowWindow(statement.pointee.text)
        guard window.isPart, let hash = family(statement, window, execution.tail), let id = windows.find(hash),
            let entry = memo[id], entry.pointee.state == .servable,
            let other = statements[entry.pointee.statement],
            let wanted = range(statement, window, execution.tail),
            let held = heldRange(of: entry, other, asFor: statement, window, execution.tail),
            let count = entry.pointee.rowCount, wanted.offset >= held.offset,
            !execution.isDescribed || entry.pointee.descriptionCount > 0
        else { return nil }
        var first = wanted.offset - held.offset
        if held.limit.map({ count >= $0 }) ?? false {
            // There may be more rows than it holds.
            guard let limit = wanted.limit, first <= count, limit <= count - first else { return nil }
        }
        first = min(first, count)
        let taken = min(wanted.limit ?? count, count - first)
        return keep(execution, rows: taken, from: first, of: entry)
    }

    /// The hash of what all members of a family have in common; nil where that is not certain.
    private func family(
        _ statement: UnsafeMutablePointer<Statement>, _ window: RowWindow, _ tail: ByteView
    ) -> UInt64? {
        let base = statement.pointee.text.slice(from: 0, count: window.baseCount)
        var hash = statements.hash(profile: 0, key: base)
        guard window.hasParameters else { return XXHash.hash(tail, seed: hash) }
        guard let parsed = try? BindTail(tail) else { return nil }
        for (position, value) in parsed.values.enumerated() {
            guard let value, ![window.limit.parameter, window.offset.parameter].contains(position + 1) else { continue }
            hash = XXHash.hash(value, seed: hash &+ UInt64(position))
        }
        return hash
    }

    /// The rows that an entry holds, if it is of the same family: the same text in front of LIMIT and OFFSET, the same
    /// parameters but for theirs, and names that mean the same under settings that differ in nothing it depends on
    /// [K1].
    private func heldRange(
        of entry: UnsafeMutablePointer<MemoEntry>, _ other: UnsafeMutablePointer<Statement>,
        asFor statement: UnsafeMutablePointer<Statement>, _ window: RowWindow, _ tail: ByteView
    ) -> RowRange? {
        let otherTail = entry.pointee.tail.view
        if other == statement {
            guard window.hasParameters, let left = try? BindTail(tail), let right = try? BindTail(otherTail),
                left.isEqual(to: right, exceptFor: [window.limit.parameter, window.offset.parameter])
            else { return nil }
            return range(other, window, otherTail)
        }
        let otherWindow = RowWindow(other.pointee.text)
        guard !window.hasParameters, !otherWindow.hasParameters, otherWindow.baseCount == window.baseCount,
            entry.pointee.tail.equals(tail), other.pointee.state == .cacheable,
            statement.pointee.projection != nil, statement.pointee.projection == other.pointee.projection,
            other.pointee.text.slice(from: 0, count: window.baseCount)
                .isEqual(to: statement.pointee.text.slice(from: 0, count: window.baseCount)),
            other.pointee.key.view.dropFirst(other.pointee.textCount)
                .isEqual(to: statement.pointee.key.view.dropFirst(statement.pointee.textCount)),
            let query = statement.pointee.query, let otherQuery = other.pointee.query,
            query.meansTheSame(as: otherQuery)
        else { return nil }
        return range(other, otherWindow, otherTail)
    }

    /// What LIMIT and OFFSET of an execution say; nil where that is not plain.
    func rowRange(_ statement: UnsafeMutablePointer<Statement>, _ tail: BindTail?) -> RowRange? {
        guard statement.pointee.isRowWindow, statement.pointee.textCount <= WindowTable.textBytesMax else { return nil }
        let window = RowWindow(statement.pointee.text)
        return window.isPart ? RowRange(window, tail, statement.pointee.declaredTypes) : nil
    }

    private func range(
        _ statement: UnsafeMutablePointer<Statement>, _ window: RowWindow, _ tail: ByteView
    ) -> RowRange? {
        guard window.hasParameters else { return RowRange(window, nil, []) }
        guard let parsed = try? BindTail(tail) else { return nil }
        return RowRange(window, parsed, statement.pointee.declaredTypes)
    }

    /// Makes an entry of some rows of another one. It is servable at once: that one is, so its rows are right at W.
    private func keep(
        _ execution: Execution, rows count: Int, from first: Int, of source: UnsafeMutablePointer<MemoEntry>
    ) -> UnsafeMutablePointer<MemoEntry>? {
        guard let query = execution.statement.pointee.query,
            execution.tail.count == 0 || !StatementParser.isTimeDependentText(execution.tail),
            let binding = binding(execution.statement, execution.tail),
            let start = source.pointee.place(ofRow: first), let end = source.pointee.place(ofRow: first + count)
        else { return nil }
        // Making room must not take what is copied.
        memo.pin(source.pointee.id)
        defer { memo.unpin(source.pointee.id) }
        let bytes = source.pointee.bytes
        let described = source.pointee.descriptionCount
        var tag = ByteWriter()
        tag.message(BackendType.commandComplete) { $0.cString("SELECT \(count)") }
        guard
            let id = memo.beginCapture(
                statement: execution.statement.pointee.id, tail: execution.key,
                hash: memo.hash(execution.statement, tail: execution.key), uses: binding.bind(query)),
            memo.append(id, bytes.slice(from: 0, count: described)),
            memo.append(id, bytes.slice(from: start, count: end - start)),
            withView(tag.bytes, { memo.append(id, $0) }),
            memo.finishCapture(id, descriptionCount: described), memo.makeServable(id)
        else { return nil }
        counters.windowsShared += 1
        return memo[id]
    }
}

extension MemoEntry {
    /// How many rows it holds, by its command tag (manual, 55.7 CommandComplete); nil if that is not `SELECT n`.
    var rowCount: Int? {
        let bytes = bytes
        guard bytes.count > 14, bytes[bytes.count - 1] == 0 else { return nil }
        var position = bytes.count - 1
        while position > 0, TextScanner.isDigit(bytes[position - 1]) { position -= 1 }
        let start = position - 12
        guard start >= descriptionCount, bytes[start] == BackendType.commandComplete,
            Int(bytes.uint32(at: start + 1)) == bytes.count - start - 1,
            bytes.slice(from: start + 5, count: 7).string == "SELECT "
        else { return nil }
        return bytes.slice(from: position, count: bytes.count - 1 - position).plainNumber
    }

    /// Where the row with this number begins, from 0, or ends that has the one before; nil if there are not as many.
    func place(ofRow number: Int) -> Int? {
        let bytes = bytes
        var position = descriptionCount
        for _ in 0..<max(number, 0) {
            guard bytes.count - position >= 5, bytes[position] == BackendType.dataRow else { return nil }
            let total = 1 + Int(bytes.uint32(at: position + 1))
            guard total >= 5, total <= bytes.count - position else { return nil }
            position += total
        }
        return position
    }
}

extension BindTail {
    /// The value of `$number` where LIMIT or OFFSET has it: PostgreSQL takes int8 there.
    fileprivate func rowCount(_ number: Int, _ declaredTypes: [OID]) -> Int? {
        guard number >= 1, number <= values.count, let value = values[number - 1] else { return nil }
        let declared = number <= declaredTypes.count ? declaredTypes[number - 1].value : 0
        guard declared == 0 || declared == 20 || declared == 23 else { return nil }
        if format(of: number - 1) == .text { return value.plainNumber }
        switch (declared, value.count) {
        case (0, 8), (20, 8): return Int(exactly: value.uint64(at: 0)).flatMap { $0 < 1 << 50 ? $0 : nil }
        case (23, 4): return Int(exactly: Int32(bitPattern: value.uint32(at: 0))).flatMap { $0 >= 0 ? $0 : nil }
        default: return nil
        }
    }

    /// The same but for the values of these parameters, whose formats are compared.
    fileprivate func isEqual(to other: BindTail, exceptFor parameters: [Int?]) -> Bool {
        guard formats == other.formats, resultFormats == other.resultFormats, values.count == other.values.count else {
            return false
        }
        for (position, (left, right)) in zip(values, other.values).enumerated()
        where !parameters.contains(position + 1) {
            switch (left, right) {
            case (nil, nil): continue
            case (let left?, let right?): if !left.isEqual(to: right) { return false }
            case (nil, _), (_, nil): return false
            }
        }
        return true
    }
}
