import Mutation
import PGProtocol

/// Transaction blocks: which of them reads may be answered from the cache in, and what of them the origin must know
/// [S2].
///
///                  BEGIN                 the first statement that is sent             a write, a lock, an error, …
///           none ─────────▶ local ───────────────────────────────────────▶ clean ──────────────────────▶ dirty
///                             │ COMMIT, ROLLBACK: answered here              │ end                          │ end
///                             ▼                                              ▼                              ▼
///                           none                                           none                           none
///
/// - BEGIN is answered here and sent in front of the first statement that goes to the origin. It goes together with a
///   read, which comes to no harm without it; before anything else its answer is awaited.
/// - A block that begins in any other way (several statements in one text, an isolation level of its own, while the
///   session
///   does not use the cache) is dirty from the start.
extension Session {
    enum Block: UInt8 {
        case none
        /// BEGIN was answered here; the origin knows nothing of it.
        case local
        /// At the origin, READ COMMITTED, and nothing but reads so far.
        case clean
        /// Everything is forwarded until it ends.
        case dirty
    }

    /// What becomes of a statement that begins or ends a block.
    enum VerbAnswer {
        case answered
        case park
        case forward
    }

    /// Whether an answer may come from the cache, and be captured, where the session is.
    @inline(__always)
    var allowsHits: Bool { block != .dirty && (status != .failed || Mutation.hitInFailedTransaction.isOn) }

    /// BEGIN, and what ends a block that the origin never heard of: the session's own state changes here, and
    /// the caller answers with the verb's tag.
    mutating func answerVerb(_ statement: UnsafeMutablePointer<Statement>, _ store: CacheStore) -> VerbAnswer {
        let verb = statement.pointee.verb
        guard store.limits.cachesInTransactions, !segmentIsForwarded else { return .forward }
        switch block {
        case .none:
            guard verb.isBegin, status == .idle, !mayHaveBegun, store.isServing,
                standing == .cacheable || standing == .unknown
            else { return .forward }
            guard isQuiet else { return .park }
            block = .local
            status = .inTransaction
            store.statements.retain(statement.pointee.id)
            begin = statement.pointee.id
            beginFailures = 0
            settings.beforeBlock = schemaEpoch == store.schemaEpoch ? settings.now : .max
            settings.beforeBlockEpoch = schemaEpoch
            settings.blockChange = .none
        case .local:
            // What went along with a BEGIN that a cancel has hit is answered first.
            guard isQuiet else { return .park }
            switch verb {
            case .commit, .rollback:
                forgetBegin(store)
                block = .none
                status = .idle
                owesSnapshot = false
                settings.beforeBlock = .max
            case .commitAndChain, .rollbackAndChain: owesSnapshot = false
            case .none, .begin, .start, .savepoint, .rollbackTo: return .forward
            }
        case .clean, .dirty:
            return .forward
        }
        store.counters.blockVerbsAnswered += 1
        return .answered
    }

    /// Before something is sent that may do this: the origin must be in the block, too. A step if that takes one of
    /// its own.
    mutating func openBlock(before effect: StatementEffect, _ store: CacheStore) -> ClientStep? {
        // SET TRANSACTION is refused behind a read, also behind one that the origin has not seen.
        let asks: StatementEffect = [.controlsTransaction, .changesSession, .callsUnknownCode]
        let takesSnapshot = owesSnapshot && !effect.isDisjoint(with: asks)
        if block == .local {
            // What was sent behind a BEGIN that a cancel has hit is answered outside of any block: who hears of that
            // must not take it for the state of the next one.
            if beginFailures > 0, pipeline.owesReady { return .park }
            block = .clean
            if let begin, let statement = store.statements[begin], !Mutation.beginNotSent.isOn {
                send([statement.pointee.text.bytes] + (takesSnapshot ? [Session.snapshotTaker] : []))
            } else {
                forgetBegin(store)
            }
        } else if block == .clean, takesSnapshot, !segmentIsForwarded, !isBeginning {
            send([Session.snapshotTaker])
        } else {
            return isBeginning && !effect.isEmpty ? .park : nil
        }
        if takesSnapshot { owesSnapshot = false }
        return isBeginning && !effect.isEmpty ? .forward(consumed: 0) : nil
    }

    private static let snapshotTaker = Array("SELECT 1".utf8)

    /// Queries of ours that leave the origin in the block.
    private mutating func send(_ texts: [[UInt8]]) {
        isBeginning = true
        ask(.query, texts)
    }

    @inline(__always)
    var mustOpenBlock: Bool { block == .local || isBeginning || owesSnapshot && block == .clean }

    mutating func forgetBegin(_ store: CacheStore) {
        if let begin { store.statements.release(begin) }
        begin = nil
    }

    /// What is sent now is more than a read: no hit before the block has ended.
    mutating func spoilBlock() {
        if Mutation.hitAfterOwnWriteInTransaction.isOn { return }
        if block != .none { block = .dirty }
    }

    /// ReadyForQuery, whoever asked for it.
    mutating func statusReported(_ byte: UInt8, _ store: CacheStore) {
        // The origin is idle, and the client in a block that the origin does not know.
        if block == .local { return }
        status = TransactionStatus(rawValue: byte) ?? .failed
        if store.limits.readYourWrites.isOn {
            // A ReadyForQuery that was held back has waited for a beat that began behind it.
            bounds.answered(before: heldForBeat > 0 ? heldForBeat : store.beats.next, isAll: pipeline.isEmpty)
        }
        switch status {
        case .inTransaction:
            if block == .none {
                block = .dirty
                settings.beforeBlock = .max
            }
            settleStep(store)
        case .failed:
            if !Mutation.hitInFailedTransaction.isOn { block = .dirty }
            settleStep(store)
        case .idle:
            block = .none
            owesSnapshot = false
            settleStep(store)
            settleBlock(store)
            transactionEnded(store)
        }
    }

    /// What was written is visible now; what is still on its way stays noted.
    private mutating func transactionEnded(_ store: CacheStore) {
        let isAllAnswered = pipeline.writes == 0
        if hasWritten {
            if heldForBeat > 0 {
                // Its ReadyForQuery has waited for a beat that began behind the write.
                bounds.wrote(before: heldForBeat)
                heldForBeat = 0
            } else {
                raiseBound(store)
            }
            if isAllAnswered { hasWritten = false }
        }
        if isAllAnswered { mayHaveBegun = false }
        if hasChangedSchema {
            store.schemaChanged()
            if isAllAnswered { hasChangedSchema = false }
        }
    }
}
