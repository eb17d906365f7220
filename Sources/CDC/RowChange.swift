import PGProtocol

/// One column of a row image as pgoutput carries it (manual, 55.9 TupleData).
public enum ColumnImage: Equatable, Sendable {
    case null
    /// A TOASTed value that the UPDATE did not touch: unknown to us.
    case unchanged
    /// The value in text format, under the fixed settings of the replication connection.
    case text([UInt8])
    case binary([UInt8])
}

/// The columns of a row, in the order of the relation message.
public typealias RowImage = [ColumnImage]

/// One change of one row, or of a whole relation.
public struct RowChange: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        case insert(new: RowImage)
        case update(old: OldImage, new: RowImage)
        case delete(old: OldImage)
        case truncate
    }

    /// What is known of a row before its change, which the replica identity decides.
    public enum OldImage: Equatable, Sendable {
        /// UPDATE that left the key alone: the key columns are those of the new image.
        case absent
        /// Only the columns of the replica identity are there; the others are null in the image
        /// and must be taken for unknown.
        case key(RowImage)
        /// REPLICA IDENTITY FULL.
        case full(RowImage)
    }

    public var relation: OID
    public var kind: Kind

    public init(relation: OID, kind: Kind) {
        self.relation = relation
        self.kind = kind
    }
}

/// All changes of one committed transaction of the origin.
public struct SourceTransaction: Equatable, Sendable {
    /// The top-level transaction's number, 32 bits as the stream carries it.
    public var narrowID: UInt32
    /// Behind the commit record: the watermark once these changes are applied.
    public var endLSN: LSN
    /// Microseconds since 2000-01-01, the origin's clock.
    public var commitMicroseconds: Int64
    public var changes: [RowChange]
    /// Relations with more changes than are kept row by row: each counts as truncated.
    public var whollyChanged: Set<OID>
    /// It changed the schema: an event trigger says so [D1].
    public var changesSchema: Bool
    /// It changed, or may have, which relations are published.
    public var changesPublications: Bool

    public init(
        narrowID: UInt32, endLSN: LSN, commitMicroseconds: Int64, changes: [RowChange] = [],
        whollyChanged: Set<OID> = [], changesSchema: Bool = false, changesPublications: Bool = false
    ) {
        self.narrowID = narrowID
        self.endLSN = endLSN
        self.commitMicroseconds = commitMicroseconds
        self.changes = changes
        self.whollyChanged = whollyChanged
        self.changesSchema = changesSchema
        self.changesPublications = changesPublications
    }
}

/// A relation as the stream describes it before its first change and after each change of its shape.
public struct RelationShape: Equatable, Sendable {
    public struct Column: Equatable, Sendable {
        public var name: String
        public var type: OID
        public var typeModifier: Int32
        /// Part of the replica identity.
        public var isKey: Bool
        public init(name: String, type: OID, typeModifier: Int32, isKey: Bool) {
            self.name = name
            self.type = type
            self.typeModifier = typeModifier
            self.isKey = isKey
        }
    }

    public var oid: OID
    public var schema: String
    public var name: String
    /// `d`efault, `n`othing, `f`ull or `i`ndex (pg_class.relreplident).
    public var replicaIdentity: UInt8
    public var columns: [Column]

    public init(oid: OID, schema: String, name: String, replicaIdentity: UInt8, columns: [Column]) {
        self.oid = oid
        self.schema = schema
        self.name = name
        self.replicaIdentity = replicaIdentity
        self.columns = columns
    }
}
