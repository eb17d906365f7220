internal import CPgQuery
import PGProtocol

/// Classifies one statement of a text by its kind.
///
/// A kind that is not named here is taken for DDL. What a statement carries that is executed or
/// planned with it (EXPLAIN, PREPARE, COPY, a cursor, CREATE TABLE AS) is walked as well.
enum StatementReader {
    struct Reading {
        var effect: StatementEffect
        var customSettings: Set<Swift.String>
        var body: ParsedStatement.Body
        var mentions: Mentions
    }

    static func read(_ tree: NodePointer, text: ByteView) -> Reading {
        if tree.tag == T_SelectStmt { return readSelect(tree, text) }
        var walker = StatementWalker()
        for part in parts(of: tree) { walker.walk(part) }
        var customSettings = walker.customSettings
        // EXPLAIN without ANALYZE does not execute, and is no worse off for the doubt.
        var effect = walker.effect
        if let name = customSetting(of: tree) {
            customSettings.insert(name)
        } else {
            effect.formUnion(self.effect(of: tree, text))
        }
        var mentions = walker.mentions
        if let truncate = tree.cast(to: TruncateStmt.self, if: T_TruncateStmt),
            truncate.pointee.behavior == DROP_CASCADE
        {
            mentions.isIncomplete = true  // and whatever refers to its relations
        }
        return Reading(
            effect: effect, customSettings: customSettings, body: .forward(.notSelect),
            mentions: mentions)
    }

    private static func readSelect(_ tree: NodePointer, _ text: ByteView) -> Reading {
        var walker = StatementWalker()
        walker.walk(select: tree)
        var effect = walker.effect
        if effect.contains(.changesSchema), mayMakeTemporary(text) {
            effect.insert(.changesSession)  // SELECT INTO TEMP
        }
        var select = walker.reader.select
        if holdsStringSyntax(text) { select.classes.insert(.strings) }
        let reason = walker.mentions.relations.isEmpty ? .noRelation : walker.reason
        return Reading(
            effect: effect, customSettings: walker.customSettings,
            body: reason.map { .forward($0) } ?? .select(select), mentions: walker.mentions)
    }

    /// The expressions and queries inside a statement that is not a SELECT.
    private static func parts(of tree: NodePointer) -> [NodePointer?] {
        switch tree.tag {
        case T_InsertStmt, T_UpdateStmt, T_DeleteStmt, T_MergeStmt: [tree]
        case T_ExplainStmt: [tree.cast(to: ExplainStmt.self).pointee.query]
        case T_PrepareStmt: [tree.cast(to: PrepareStmt.self).pointee.query]
        case T_DeclareCursorStmt: [tree.cast(to: DeclareCursorStmt.self).pointee.query]
        case T_CreateTableAsStmt: [tree.cast(to: CreateTableAsStmt.self).pointee.query]
        case T_CopyStmt:
            [
                tree.cast(to: CopyStmt.self).pointee.query,
                tree.cast(to: CopyStmt.self).pointee.whereClause,
                treeNode(tree.cast(to: CopyStmt.self).pointee.relation),
            ]
        case T_TruncateStmt: Array(NodeList(tree.cast(to: TruncateStmt.self).pointee.relations))
        default: []
        }
    }

    private static func effect(of tree: NodePointer, _ text: ByteView) -> StatementEffect {
        switch tree.tag {
        case T_InsertStmt, T_UpdateStmt, T_DeleteStmt, T_MergeStmt, T_TruncateStmt, T_LockStmt,
            T_VacuumStmt, T_ClusterStmt, T_CheckPointStmt, T_NotifyStmt:
            return .mayWrite
        // Event triggers may act on them.
        case T_CommentStmt, T_ReindexStmt: return [.mayWrite, .changesSession]
        // The cursor's query goes on, whatever it calls.
        case T_FetchStmt: return [.mayWrite, .callsUnknownCode]
        case T_VariableShowStmt, T_ListenStmt, T_UnlistenStmt, T_ClosePortalStmt,
            T_DeclareCursorStmt:
            return []
        case T_ExplainStmt:
            return nestedEffect(tree.cast(to: ExplainStmt.self).pointee.query, text)
        case T_CopyStmt: return tree.cast(to: CopyStmt.self).pointee.is_from ? .mayWrite : []
        case T_PrepareStmt: return .namesPrepared
        case T_DeallocateStmt: return tree.cast(to: DeallocateStmt.self).pointee.name == nil ? [] : .namesPrepared
        // What was prepared may be anything, a SET that came as a Parse message included.
        case T_ExecuteStmt: return [.namesPrepared, .mayWrite, .changesSession]
        case T_DiscardStmt: return .changesSession
        case T_VariableSetStmt: return effect(ofSetting: tree.cast(to: VariableSetStmt.self))
        case T_TransactionStmt: return effect(of: tree.cast(to: TransactionStmt.self).pointee.kind)
        // SET CONSTRAINTS … IMMEDIATE runs what was deferred.
        case T_ConstraintsSetStmt: return [.controlsTransaction, .mayWrite]
        case T_CallStmt: return [.mayWrite, .changesSession, .controlsTransaction]
        case T_DoStmt: return .anything
        case T_LoadStmt: return [.mayWrite, .changesSession]
        // A script of many statements, and a library that may add settings.
        case T_CreateExtensionStmt, T_AlterExtensionStmt:
            return [.mayWrite, .changesSchema, .changesSession]
        default: return effectOfDefinition(tree, text)
        }
    }

    private static func effectOfDefinition(
        _ tree: NodePointer, _ text: ByteView
    ) -> StatementEffect {
        var effect: StatementEffect = [.mayWrite, .changesSchema]
        if makesTemporaryTable(tree) {
            // Nobody else sees it, so nobody else's answers change.
            effect = [.mayWrite, .changesSession]
        } else if mayMakeTemporary(text) {
            effect.insert(.changesSession)
        }
        if tree.tag == T_CreateTableAsStmt {
            effect.formUnion(
                nestedEffect(tree.cast(to: CreateTableAsStmt.self).pointee.query, text))
        }
        return effect
    }

    /// CREATE TEMP TABLE, with columns or from a query, said so by its own words.
    private static func makesTemporaryTable(_ tree: NodePointer) -> Bool {
        let relation: UnsafeMutablePointer<RangeVar>?
        switch tree.tag {
        case T_CreateStmt: relation = tree.cast(to: CreateStmt.self).pointee.relation
        case T_CreateTableAsStmt:
            relation = tree.cast(to: CreateTableAsStmt.self).pointee.into?.pointee.rel
        default: relation = nil
        }
        return relation.map { $0.pointee.relpersistence == CChar(bitPattern: UInt8(ascii: "t")) } ?? false
    }

    /// Of the statement behind EXPLAIN or CREATE TABLE AS. The grammar nests them once: CREATE TABLE AS
    /// may follow EXPLAIN, and EXECUTE either.
    private static func nestedEffect(_ tree: NodePointer?, _ text: ByteView) -> StatementEffect {
        guard let tree else { return .anything }
        switch tree.tag {
        case T_SelectStmt: return []  // the walker's
        case T_InsertStmt, T_UpdateStmt, T_DeleteStmt, T_MergeStmt: return .mayWrite
        case T_DeclareCursorStmt: return []
        case T_ExecuteStmt: return [.namesPrepared, .mayWrite, .changesSession]
        case T_CreateTableAsStmt:
            return [.mayWrite, .changesSchema, .changesSession, .namesPrepared]
        default: return .anything
        }
    }

    /// The setting of an application, or of an extension, that a statement changes; nil if it is another.
    private static func customSetting(of tree: NodePointer) -> Swift.String? {
        guard let setting = tree.cast(to: VariableSetStmt.self, if: T_VariableSetStmt),
            setting.pointee.kind != VAR_SET_MULTI, setting.pointee.kind != VAR_RESET_ALL,
            let name = treeText(setting.pointee.name), name.utf8.contains(UInt8(ascii: "."))
        else { return nil }
        return HarmlessSettings.folded(name)
    }

    private static func effect(
        ofSetting setting: UnsafeMutablePointer<VariableSetStmt>
    ) -> StatementEffect {
        let name = treeText(setting.pointee.name) ?? ""
        if setting.pointee.kind == VAR_SET_MULTI {
            // SET TRANSACTION and its SNAPSHOT end with the transaction; SESSION CHARACTERISTICS last.
            return name.hasPrefix("TRANSACTION")
                ? .controlsTransaction : [.controlsTransaction, .changesSession]
        }
        if setting.pointee.kind == VAR_RESET_ALL { return .changesSession }
        if HarmlessSettings.contains(name) { return [] }
        return name.lowercased().hasPrefix("transaction_")
            ? [.controlsTransaction, .changesSession] : .changesSession
    }

    private static func effect(of kind: TransactionStmtKind) -> StatementEffect {
        switch kind {
        case TRANS_STMT_PREPARE: [.controlsTransaction, .mayWrite]
        // What that transaction did is not known here.
        case TRANS_STMT_COMMIT_PREPARED, TRANS_STMT_ROLLBACK_PREPARED:
            [.controlsTransaction, .mayWrite, .changesSchema]
        default: .controlsTransaction
        }
    }

    /// Whether what the text means could depend on how strings are read: a backslash, or `U&'`.
    private static func holdsStringSyntax(_ text: ByteView) -> Bool {
        let bytes = text.buffer
        return bytes.indices.contains { index in
            bytes[index] == UInt8(ascii: "\\")
                || bytes[index] == UInt8(ascii: "'") && index > 1 && bytes[index - 1] == UInt8(ascii: "&")
                    && bytes[index - 2] | 0x20 == UInt8(ascii: "u")
        }
    }

    /// Whether a definition could make a temporary object, which hides others of its name [K3]. TEMP,
    /// TEMPORARY and the schema pg_temp show in the text, unless an escaped identifier hides them.
    private static func mayMakeTemporary(_ text: ByteView) -> Bool {
        let bytes = text.buffer
        func holds(_ word: StaticString, at start: Int) -> Bool {
            for offset in 0..<word.utf8CodeUnitCount
            where bytes[start + offset] | 0x20 != word.utf8Start[offset] | 0x20 {
                return false
            }
            return true
        }
        for start in 0..<bytes.count {
            if start + 4 <= bytes.count, holds("temp", at: start) { return true }
            if start + 3 <= bytes.count, holds("u&\"", at: start) { return true }
        }
        return false
    }
}
