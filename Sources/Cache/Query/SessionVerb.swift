internal import CPgQuery
import Mutation

/// What one statement is to the transaction block around it, when that can be followed.
///
/// Only plain forms have a verb; whatever else controls transactions is forwarded, and the block it leaves behind
/// is not used (`StatementEffect.controlsTransaction`).
public enum TransactionVerb: UInt8, Sendable {
    case none
    /// BEGIN and START TRANSACTION, with options that leave the block READ COMMITTED [S2].
    case begin
    case start
    /// COMMIT and END; ROLLBACK and ABORT.
    case commit
    case rollback
    case commitAndChain
    case rollbackAndChain
    /// SAVEPOINT and RELEASE: the block goes on as it was.
    case savepoint
    /// ROLLBACK TO: it goes on, but for settings that were changed in it.
    case rollbackTo

    /// The block is over, or another one like it begins.
    var ends: Bool { self == .commit || self == .rollback || self == .commitAndChain || self == .rollbackAndChain }

    /// BEGIN, or the end of a block that the origin may not have heard of.
    var isAnsweredHere: Bool { isBegin || ends }

    var chains: Bool { self == .commitAndChain || self == .rollbackAndChain }

    var isBegin: Bool { self == .begin || self == .start }

    /// The command tag, with its NUL left out (manual, 55.7 CommandComplete).
    var tag: StaticString {
        switch self {
        case .begin: "BEGIN"
        case .start: "START TRANSACTION"
        case .commit, .commitAndChain: "COMMIT"
        case .rollback, .rollbackAndChain: "ROLLBACK"
        case .none, .savepoint, .rollbackTo: ""
        }
    }
}

/// What a text does to the settings of its session, as far as its own words tell [K3].
public enum SettingChange: UInt8, Sendable {
    /// Nothing, or nobody knows what: `StatementEffect.changesSession` tells which.
    case none
    /// What the settings are afterwards follows from what they were, what they were at log-in, and this text.
    case transition
    /// DISCARD ALL: they follow from what they were at log-in alone.
    case reset
    /// The same, and the end of the block undoes it.
    case local
}

extension StatementReader {
    static func verb(of tree: NodePointer) -> TransactionVerb {
        guard let statement = tree.cast(to: TransactionStmt.self, if: T_TransactionStmt)?.pointee else { return .none }
        switch statement.kind {
        case TRANS_STMT_BEGIN: return staysReadCommitted(statement.options) ? .begin : .none
        case TRANS_STMT_START: return staysReadCommitted(statement.options) ? .start : .none
        case TRANS_STMT_COMMIT: return statement.chain ? .commitAndChain : .commit
        case TRANS_STMT_ROLLBACK: return statement.chain ? .rollbackAndChain : .rollback
        case TRANS_STMT_SAVEPOINT, TRANS_STMT_RELEASE: return .savepoint
        case TRANS_STMT_ROLLBACK_TO: return .rollbackTo
        default: return .none
        }
    }

    /// READ UNCOMMITTED is READ COMMITTED in PostgreSQL (manual, 13.2).
    private static func staysReadCommitted(_ options: UnsafeMutablePointer<List>?) -> Bool {
        for option in NodeList(options) {
            guard let option = option?.cast(to: DefElem.self, if: T_DefElem)?.pointee else { return false }
            guard treeText(option.defname) == "transaction_isolation" else { continue }
            guard let level = option.arg?.stringConstant.map({ Swift.String(decoding: $0, as: UTF8.self) }),
                level == "read committed" || level == "read uncommitted" || Mutation.hitInRepeatableRead.isOn
            else { return false }
        }
        return true
    }

    /// What the statement does to the settings; nil when it does something that the settings after it do not follow
    /// from. Statements beside which a SET may stand in one text, as pools reset sessions, count as none.
    static func settingChange(of tree: NodePointer) -> SettingChange? {
        switch tree.tag {
        case T_VariableSetStmt:
            let statement = tree.cast(to: VariableSetStmt.self).pointee
            if statement.kind == VAR_SET_MULTI {
                // SET TRANSACTION says nothing of the session; SESSION CHARACTERISTICS does.
                return treeText(statement.name)?.hasPrefix("TRANSACTION") == true ? nil : .transition
            }
            return statement.is_local ? .local : .transition
        case T_DiscardStmt:
            return tree.cast(to: DiscardStmt.self).pointee.target == DISCARD_ALL ? .reset : .transition
        case T_DeallocateStmt, T_ClosePortalStmt, T_UnlistenStmt: return SettingChange.none
        case T_SelectStmt: return settingChange(ofSelect: tree.cast(to: SelectStmt.self).pointee)
        default: return nil
        }
    }

    /// `SELECT set_config('name', 'value', false), …` and `SELECT pg_advisory_unlock_all()`.
    private static func settingChange(ofSelect select: SelectStmt) -> SettingChange? {
        guard select.op == SETOP_NONE, select.fromClause == nil, select.whereClause == nil, select.intoClause == nil,
            select.withClause == nil, select.groupClause == nil, select.havingClause == nil, select.valuesLists == nil,
            select.lockingClause == nil, select.limitCount == nil, select.limitOffset == nil
        else { return nil }
        var changes: Set<SettingChange> = []
        for item in NodeList(select.targetList) {
            guard let value = item?.cast(to: ResTarget.self, if: T_ResTarget)?.pointee.val,
                let call = value.cast(to: FuncCall.self, if: T_FuncCall)?.pointee,
                let names = NodeList(call.funcname).names, let name = names.last,
                names.count == 1 || names.count == 2 && names[0] == "pg_catalog"
            else { return nil }
            let arguments = NodeList(call.args)
            switch name {
            case "pg_advisory_unlock_all" where arguments.isEmpty:
                continue
            case "set_config" where arguments.count == 3:
                guard arguments[0]?.stringConstant != nil, arguments[1]?.stringConstant != nil,
                    let isLocal = arguments[2]?.booleanConstant
                else { return nil }
                changes.insert(isLocal ? .local : .transition)
            default:
                return nil
            }
        }
        return changes.count > 1 ? nil : changes.first ?? SettingChange.none
    }
}

extension StatementReader {
    static func deallocation(of tree: NodePointer) -> ParsedStatement.Deallocation {
        switch tree.tag {
        case T_DeallocateStmt:
            treeText(tree.cast(to: DeallocateStmt.self).pointee.name).map { .named([$0]) } ?? .all
        case T_DiscardStmt:
            tree.cast(to: DiscardStmt.self).pointee.target == DISCARD_ALL ? .all : .none
        default: .none
        }
    }
}

extension ParsedStatement.Deallocation {
    mutating func formUnion(_ other: ParsedStatement.Deallocation) {
        switch (self, other) {
        case (.all, _), (_, .all): self = .all
        case (.named(let names), .named(let others)): self = .named(names + others)
        case (.none, _): self = other
        case (_, .none): break
        }
    }
}

extension UnsafeMutablePointer where Pointee == Node {
    /// TRUE or FALSE.
    var booleanConstant: Bool? {
        guard let constant = cast(to: A_Const.self, if: T_A_Const), !constant.pointee.isnull,
            constant.pointee.val.node.type == T_Boolean
        else { return nil }
        return constant.pointee.val.boolval.boolval
    }
}
