/// Which entry goes when there is no room.
enum EvictionPolicy: String, Sendable {
    /// The oldest that was not found since the clock's hand came by.
    case clock
    /// The oldest.
    case fifo
}

/// Eviction from the memo.
///
/// One queue in order of age serves both policies: FIFO takes its head; CLOCK gives a head that was
/// found since its last turn a second chance at the tail, so the queue is the clock's face. Captures are
/// not in it, and what is pinned moves among the youngest: neither is ever evicted. One victim costs
/// at most `chancesMax` second chances, so that a memo full of popular entries does not stall the loop.
extension Memo {
    static let chancesMax = 256

    /// Room for that many more bytes, by evicting what it takes. False, with nothing evicted in vain
    /// but what was too old anyway, when everything left is pinned or capturing.
    func makeRoom(for more: Int) -> Bool {
        guard more <= storage.pointee.bytesMax else { return false }
        var chances = 0
        var pinned = 0
        while storage.pointee.counters.bytes + more > storage.pointee.bytesMax {
            let slot = storage.pointee.queueHead
            guard slot != SlotIndex.none, pinned <= storage.pointee.counters.entries else {
                return false
            }
            let entry = pointer(slot)
            if entry.pointee.pins > 0 {
                pinned += 1
                dequeue(entry)
                enqueue(entry)
            } else if policy == .clock, entry.pointee.isRecent, chances < Self.chancesMax {
                chances += 1
                entry.pointee.isRecent = false
                dequeue(entry)
                enqueue(entry)
            } else {
                chances = 0
                storage.pointee.counters.evictions &+= 1
                kill(entry)
            }
        }
        return true
    }

    /// Changes the bound; evicts down to it. 0 turns the memo off and empties it.
    func setBytesMax(_ bytesMax: Int) {
        storage.pointee.bytesMax = bytesMax
        if bytesMax <= 0 { removeAll(nil) } else { _ = makeRoom(for: 0) }
    }

    /// Puts an entry behind the youngest.
    func enqueue(_ entry: UnsafeMutablePointer<MemoEntry>) {
        let slot = entry.pointee.id.index
        let tail = storage.pointee.queueTail
        entry.pointee.previousInQueue = tail
        entry.pointee.nextInQueue = SlotIndex.none
        if tail == SlotIndex.none {
            storage.pointee.queueHead = slot
        } else {
            pointer(tail).pointee.nextInQueue = slot
        }
        storage.pointee.queueTail = slot
    }

    func dequeue(_ entry: UnsafeMutablePointer<MemoEntry>) {
        let next = entry.pointee.nextInQueue
        let previous = entry.pointee.previousInQueue
        if next == SlotIndex.none {
            storage.pointee.queueTail = previous
        } else {
            pointer(next).pointee.previousInQueue = previous
        }
        if previous == SlotIndex.none {
            storage.pointee.queueHead = next
        } else {
            pointer(previous).pointee.nextInQueue = next
        }
    }
}
