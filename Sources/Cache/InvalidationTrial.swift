import CDC
import PGProtocol

/// A memo with many entries over one relation, and transactions of the stream that hit one of them each: what
/// `perf/bench --kinds invalidate` measures, and nothing else uses.
///
/// The relation has four columns: id, the key; tenant; size; name.
package final class InvalidationTrial {
    /// How the entries are constrained.
    package enum Kind: String, CaseIterable, Sendable {
        /// `id = n`
        case key
        /// `tenant = n`, the default replica identity, entries that hold their keys [I2]
        case held
        /// `tenant = n`, replica identity FULL
        case full
        /// `tenant = 7 and size = n`
        case twoColumns = "two columns"
        /// `size >= 10 n and size < 10 n + 10`
        case range
        /// `tenant = 7 and size >= 10 n and size < 10 n + 10`
        case rangeOfOne = "range of a tenant"
        /// `name like 'user-n-%'`
        case prefix
        /// `tenant in (3 n, 3 n + 1, 3 n + 2)`
        case list
        /// `tenant = n`, and once more `size >= 10 n and size < 10 n + 10`
        case twoUses = "two uses"
    }

    private let kind: Kind
    private let count: Int
    private let statements = StatementTable(countMax: 4, bytesMax: 1 << 20)
    private let memo: Memo
    private let statement: UnsafeMutablePointer<Statement>
    private let mapping: RowMapping
    private var builder = SourceTransactionBuilder()
    private var position = LSN(1)
    private var invalidated: [EntryID] = []

    /// Nil when the memo had no room, or the relation is not what it should be.
    package init?(_ kind: Kind, count: Int) {
        self.kind = kind
        self.count = count
        memo = Memo(statements: statements, bytesMax: 1 << 34, entryBytesMax: 1 << 20)
        let text = Array("select".utf8)
        let made = withView(text + [0]) { [statements, memo] key in
            statements.insert(
                profile: 0, key: key, textCount: text.count, hash: statements.hash(profile: 0, key: key),
                evictingFrom: memo)
        }
        let relation = Self.relation(isFull: kind != .key && kind != .held)
        let shape = RelationShape(
            oid: relation.oid, schema: relation.schema, name: relation.name, replicaIdentity: relation.replicaIdentity,
            columns: relation.columns.enumerated().map { position, column in
                RelationShape.Column(
                    name: column.name, type: column.type, typeModifier: -1,
                    isKey: relation.identityColumns.contains(position))
            })
        guard let made, let mapping = RowMapping(relation, shape) else { return nil }
        statement = made
        self.mapping = mapping
        _ = receive(transaction(describing(shape)))
        memo.dependencies.noteIdentity(of: relation)
        for number in 0..<count where !store(number) { return nil }
    }

    /// The messages of pgoutput for a transaction that hits this entry.
    package func messages(hitting number: Int) -> [[UInt8]] { transaction(update(number)) }

    /// Takes the messages of one transaction, as the stream brings them; how many entries are gone then. Nil for what
    /// cannot be read.
    package func receive(_ messages: [[UInt8]]) -> Int? {
        invalidated.removeAll(keepingCapacity: true)
        for message in messages {
            guard let completed = try? withView(message, { try builder.messageReceived($0) }) else { continue }
            for change in completed.transaction.changes {
                memo.invalidate(by: mapping.bind(change), at: completed.transaction.endLSN, into: &invalidated)
            }
            return invalidated.count
        }
        return nil
    }

    /// Stores these entries again.
    package func restore(_ numbers: [Int]) -> Bool { numbers.allSatisfy(store) }

    private static func relation(isFull: Bool) -> Relation {
        let columns = [("id", 23), ("tenant", 23), ("size", 23), ("name", 25)] as [(String, UInt32)]
        return Relation(
            oid: OID(20_000), schema: "public", name: "t", kind: UInt8(ascii: "r"), persistence: UInt8(ascii: "p"),
            hasRowSecurity: false, isInherited: false, hasRules: false,
            replicaIdentity: isFull ? UInt8(ascii: "f") : UInt8(ascii: "d"),
            columns: columns.enumerated().map { position, column in
                Column(
                    name: column.0, number: Int16(position + 1), type: OID(column.1),
                    kind: column.1 == 25 ? .text : .integer, isGenerated: false, isNotNull: position == 0)
            }, primaryKey: [0], identityColumns: isFull ? [0, 1, 2, 3] : [0], hasOnlyKnownTypes: true)
    }

    private func store(_ number: Int) -> Bool {
        let tail = withUnsafeBytes(of: number) { Array($0) }
        let id = withView(tail) { tail in
            memo.beginCapture(
                statement: statement.pointee.id, tail: tail, hash: memo.hash(statement, tail: tail), uses: uses(number))
        }
        let answer = [UInt8](repeating: 0x44, count: 128)
        guard let id, withView(answer, { memo.append(id, $0) }), memo.finishCapture(id, descriptionCount: 0) else {
            return false
        }
        if kind == .held { memo.hold(id, keys: [RowKey(first: .integer(Int64(number)))]) }
        return memo.makeServable(id)
    }

    private func uses(_ number: Int) -> [BoundUse] {
        func equal(_ column: Int, _ values: Int...) -> BoundConstraint {
            BoundConstraint(column: column, test: .among(values.map { .integer(Int64($0)) }))
        }
        func use(_ constraints: BoundConstraint...) -> BoundUse {
            BoundUse(relation: OID(20_000), constraints: constraints)
        }
        let sizes = BoundConstraint(
            column: 2,
            test: .range(
                lower: .init(value: .integer(Int64(10 * number)), isInclusive: true),
                upper: .init(value: .integer(Int64(10 * number + 10)), isInclusive: false)))
        switch kind {
        case .key: return [use(equal(0, number))]
        case .held, .full: return [use(equal(1, number))]
        case .twoColumns: return [use(equal(1, 7), equal(2, number))]
        case .range: return [use(sizes)]
        case .rangeOfOne: return [use(equal(1, 7), sizes)]
        case .prefix:
            let pattern = LikePattern.test(Array("user-\(number)-%".utf8)) ?? .isNull
            return [use(BoundConstraint(column: 3, test: pattern))]
        case .list: return [use(equal(1, 3 * number, 3 * number + 1, 3 * number + 2))]
        case .twoUses: return [use(equal(1, number)), use(sizes)]
        }
    }

    // MARK: Messages of pgoutput

    private func transaction(_ message: [UInt8]) -> [[UInt8]] {
        let begun = position
        position = LSN(position.value + 1000)
        var begin = ByteWriter()
        begin.uint8(UInt8(ascii: "B"))
        begin.uint64(begun.value)
        begin.uint64(0)
        begin.uint32(700)
        var commit = ByteWriter()
        commit.uint8(UInt8(ascii: "C"))
        commit.uint8(0)
        commit.uint64(begun.value)
        commit.uint64(position.value)
        commit.uint64(0)
        return [begin.bytes, message, commit.bytes]
    }

    private func describing(_ shape: RelationShape) -> [UInt8] {
        var writer = ByteWriter()
        writer.uint8(UInt8(ascii: "R"))
        writer.uint32(shape.oid.value)
        writer.cString(shape.schema)
        writer.cString(shape.name)
        writer.uint8(shape.replicaIdentity)
        writer.uint16(UInt16(shape.columns.count))
        for column in shape.columns {
            writer.uint8(column.isKey ? 1 : 0)
            writer.cString(column.name)
            writer.uint32(column.type.value)
            writer.uint32(UInt32(bitPattern: column.typeModifier))
        }
        return writer.bytes
    }

    /// A row comes to where entry `number` looks, and was nowhere before.
    private func update(_ number: Int) -> [UInt8] {
        let old = ["\(number)", "-1", "-1", "nobody"]
        var new = old
        switch kind {
        case .key: break
        case .held, .full: new[1] = "\(number)"
        case .twoColumns: (new[1], new[2]) = ("7", "\(number)")
        case .range, .twoUses: new[2] = "\(10 * number + 5)"
        case .rangeOfOne: (new[1], new[2]) = ("7", "\(10 * number + 5)")
        case .prefix: new[3] = "user-\(number)-x"
        case .list: new[1] = "\(3 * number + 1)"
        }
        var writer = ByteWriter()
        func image(_ mark: Character, _ values: [String]) {
            writer.uint8(mark.asciiValue ?? 0)
            writer.uint16(UInt16(values.count))
            for value in values {
                writer.uint8(UInt8(ascii: "t"))
                writer.uint32(UInt32(value.utf8.count))
                writer.append(Array(value.utf8))
            }
        }
        writer.uint8(UInt8(ascii: "U"))
        writer.uint32(20_000)
        if kind != .key, kind != .held { image("O", old) }
        image("N", new)
        return writer.bytes
    }
}
