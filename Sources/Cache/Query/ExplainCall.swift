internal import CPgQuery
import PGProtocol

/// Whether a statement is `SELECT pgcache_explain('…')`, which pgcache answers itself, and whose text it asks about.
public enum ExplainCall: Equatable, Sendable {
    case none
    /// The text stands in the call.
    case constant([UInt8])
    /// It is `$1`.
    case parameter

    static let name = "pgcache_explain"

    /// Of a whole statement: nothing but the call, and nothing but the text in it.
    init(_ tree: NodePointer) {
        self = .none
        guard let clauses = tree.cast(to: SelectStmt.self, if: T_SelectStmt)?.pointee, clauses.op == SETOP_NONE,
            clauses.fromClause == nil, clauses.whereClause == nil, clauses.withClause == nil,
            clauses.intoClause == nil, clauses.lockingClause == nil, clauses.groupClause == nil,
            clauses.limitCount == nil, clauses.limitOffset == nil, clauses.sortClause == nil
        else { return }
        let targets = NodeList(clauses.targetList)
        guard targets.count == 1,
            let target = targets[0]?.cast(to: ResTarget.self, if: T_ResTarget)?.pointee,
            let call = target.val?.cast(to: FuncCall.self, if: T_FuncCall)?.pointee
        else { return }
        let names = NodeList(call.funcname)
        let arguments = NodeList(call.args)
        guard names.count == 1, names[0]?.stringValue == Self.name, arguments.count == 1,
            let argument = arguments[0]
        else { return }
        if let text = argument.stringConstant { self = .constant(Array(text)) }
        if argument.tag == T_ParamRef, argument.cast(to: ParamRef.self).pointee.number == 1 { self = .parameter }
    }
}
