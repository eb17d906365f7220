import PGProtocol

@testable import Simulation

/// Messages of a server, made by hand.
enum ServerMessages {
    static func empty(_ type: UInt8) -> [UInt8] { Wire.message(type) { _ in } }

    static let parseComplete = empty(BackendType.parseComplete)
    static let bindComplete = empty(BackendType.bindComplete)
    static let closeComplete = empty(BackendType.closeComplete)
    static let noData = empty(BackendType.noData)
    static let portalSuspended = empty(BackendType.portalSuspended)
    static let notice = Wire.message(BackendType.noticeResponse) { $0.uint8(0) }
    static let parameterStatus = Wire.message(BackendType.parameterStatus) { body in
        body.cString("TimeZone")
        body.cString("Etc/UTC")
    }
    static let ready = ready(.idle)

    static func ready(_ status: TransactionStatus) -> [UInt8] {
        Wire.message(BackendType.readyForQuery) { $0.uint8(status.rawValue) }
    }
    static func complete(_ tag: String) -> [UInt8] {
        Wire.message(BackendType.commandComplete) { $0.cString(tag) }
    }
    static func error(_ state: String, _ severity: WireError.Severity = .error) -> [UInt8] {
        WireError(severity, SQLState(state), "made by hand").encoded
    }
    static func parameters(_ types: [ColumnType]) -> [UInt8] {
        Wire.message(BackendType.parameterDescription) { body in
            body.uint16(UInt16(types.count))
            for type in types { body.uint32(type.oid.value) }
        }
    }

    static let startup: [UInt8] =
        Wire.message(BackendType.authentication) { $0.uint32(0) } + parameterStatus
        + Wire.message(BackendType.backendKeyData) { body in
            body.uint32(77)
            body.append([1, 2, 3, 4])
        } + ready
}

/// Statements that tests use.
enum Samples {
    static let byKey = Select(
        table: Table.account,
        conditions: [Condition(column: ColumnReference(relation: 0, column: 0), test: .equals(.constant(.int(3))))],
        output: .columns([ColumnReference(relation: 0, column: 0), ColumnReference(relation: 0, column: 3)]))
    static let select = BoundStatement(.select(byKey))
    static let bound = select.lifted
    static let update = BoundStatement(
        .update(
            Update(
                table: Table.account, assignments: [.set(3, .constant(.text("x")))], conditions: byKey.conditions)))

    static func description(isBinary: Bool = false) -> [UInt8] { Wire.description(byKey, isBinary: isBinary) }
    static func rows(_ ids: [Int64], isBinary: Bool = false) -> [UInt8] {
        Wire.rows(ids.map { [.int($0), .text("n\($0)")] }, of: byKey, isBinary: isBinary)
    }
}
