import PGProtocol

/// Names a memo entry; goes stale when the entry is gone.
public struct EntryID: Hashable, Sendable {
    var index: UInt32
    var generation: UInt32
}

/// One answer of the origin, as the bytes that go to a client.
///
///     capturing ─finish→ captured ─nothing more in `waits`→ servable
///         │                  │ ▲──────── patch, suspend ───────┤
///         └──────────────────┴── invalidate, abandon, evict ───┴→ dead
///
/// Lives in the raw memory of `Memo` and holds no counted reference. Its key is the statement and the
/// *tail*: what Bind carries behind the statement's name, so parameters and formats in their own
/// bytes; empty for the simple protocol. A dead entry is in no index; it keeps its bytes while they
/// are pinned.
struct MemoEntry {
    enum State: UInt8 {
        case free
        /// The answer is streaming by.
        case capturing
        /// Complete, and may not be served yet: see `waits`.
        case captured
        case servable
        case dead
    }

    /// What keeps a captured entry from being servable; one that is servable waits for nothing.
    struct Waits: OptionSet {
        let rawValue: UInt8
        /// The watermark must have passed what the capture may have seen [T4].
        static let watermark = Waits(rawValue: 1)
        /// A snapshot of the origin must show the transaction `patchedBy` [T2].
        static let proof = Waits(rawValue: 2)
        /// The row tier must tell what changed rows were like before [I2].
        static let image = Waits(rawValue: 4)
    }

    var id: EntryID
    var state: State = .free
    var waits: Waits = []
    /// Was found since the clock's hand came by.
    var isRecent = false
    /// Indexed by the primary keys its rows hold [I2].
    var isKeyHeld = false
    /// Of statement and tail, see `Memo.hash`.
    var hash: UInt64 = 0
    var statement = StatementID(index: .max, generation: 0)
    var tail = KeyBytes.empty

    /// The answer: a RowDescription message of `descriptionCount` bytes, which may be none, then
    /// DataRow messages and CommandComplete.
    var base: UnsafeMutableRawPointer?
    var count = 0
    var capacity = 0
    var descriptionCount = 0
    /// Readers of the bytes that come back for them in a later turn.
    var pins: UInt32 = 0

    /// Sessions that wait for the capture to end; written by the coalescer.
    var followers: UInt32 = 0
    /// The last transaction that was written into it, as the store numbers what it receives; 0 for none.
    var patchedBy: UInt64 = 0
    /// Captures are numbered in the order of their beginning.
    var captureSequence: UInt64 = 0
    var hits: UInt64 = 0

    /// Bytes accounted for tail, slot, cells and dependency index; those of the answer are `capacity`.
    var overhead = 0

    // Links to other slots; `SlotIndex.none` ends a list.
    var nextInQueue = SlotIndex.none
    var previousInQueue = SlotIndex.none
    var nextOfStatement = SlotIndex.none
    var previousOfStatement = SlotIndex.none

    init(id: EntryID) { self.id = id }

    /// Everything that was captured. Valid while the entry is not dead, or pinned.
    @inline(__always) var bytes: ByteView {
        ByteView(UnsafeRawBufferPointer(start: UnsafeRawPointer(base), count: count))
    }
    /// The RowDescription message, empty without one.
    @inline(__always) var description: ByteView { bytes.slice(from: 0, count: descriptionCount) }
    /// DataRow messages and CommandComplete.
    @inline(__always) var rows: ByteView { bytes.dropFirst(descriptionCount) }

    /// It was servable, or would be but for the same reason. What was captured a moment ago may be told to those who
    /// waited for it, whatever the watermark [S6].
    var isSuspendable: Bool { state == .servable || state == .captured && waits == .image }

    /// In the index, so that `Memo.find` finds it.
    var isLive: Bool {
        switch state {
        case .capturing, .captured, .servable: true
        case .free, .dead: false
        }
    }
}
