import PGProtocol

/// The longest run of extended-protocol messages that is decided on as one.
///
/// A cached answer replaces Parse, Bind, Describe and Execute together, so these are looked at
/// together: in place, in the client's receive buffer, from the first message that was not
/// decided on. Nothing is kept: when bytes are missing, the next receive scans again.
///
///     Parse? Describe(statement)?            a preparation
///     Parse? Bind Describe(portal)? Execute  an execution, with the type of the message behind it
///     anything else                          one message
///
/// A Flush in between changes nothing as long as more bytes are there: whoever sent them does not
/// wait for the replies to what came before.
/// Bounds: a run never exceeds `bytesMax`; a longer message stands alone as `.oversize`.
struct ExtendedUnit {
    enum Outcome {
        /// More bytes are needed to decide: this many in all.
        case incomplete(needed: Int)
        case preparation
        case execution
        /// A Bind, with or without more, that no Execute of its own portal followed at once.
        case messages
        case message
        /// A message that will not fit the buffer; only its header and what is there can be read.
        case oversize
        /// No message can have this length.
        case malformed
    }

    var outcome: Outcome = .message
    /// Bytes from the beginning of the view to the end of the unit.
    var end = 0
    /// Bodies of the messages (behind type and length); empty if there is none.
    var parse: ByteView?
    var describesStatement = false
    var bind: BindHead?
    var describesPortal = false
    var execute: ByteView?
    /// The type of the message that follows an execution; 0 for a Sync that is none.
    var following: UInt8 = 0
    /// The name that Parse or Describe gives.
    var statementName: ByteView?

    static let bytesMax = 64 * 1024

    /// Bind up to its parameters.
    struct BindHead {
        var portal: ByteView
        var statement: ByteView
        /// Formats, parameters and result formats.
        var tail: ByteView

        /// No formats and no values: what is executed is in the text alone.
        var hasNoParameters: Bool { tail.count >= 4 && tail.uint16(at: 0) == 0 && tail.uint16(at: 2) == 0 }
    }

    static func scan(_ view: ByteView) -> ExtendedUnit {
        var unit = ExtendedUnit()
        var position = 0
        while true {
            guard view.count - position >= 5 else {
                return unit.ending(.incomplete(needed: position + 5), at: position)
            }
            let type = view[position]
            let length = Int(view.uint32(at: position + 1))
            guard length >= 4 else {
                return position == 0 ? unit.ending(.malformed, at: 0) : unit.cut(at: position)
            }
            let total = 1 + length
            if type == FrontendType.flush, position > 0, length == 4, view.count > position + total {
                position += total
                continue
            }
            guard isPart(type) else {
                return position == 0 ? unit.ending(.message, at: total) : unit.cut(at: position)
            }
            guard position + total <= bytesMax else {
                return position == 0 ? unit.ending(.oversize, at: total) : unit.cut(at: position)
            }
            guard view.count - position >= total else {
                return unit.ending(.incomplete(needed: position + total), at: position)
            }
            let body = view.slice(from: position + 5, count: total - 5)
            guard unit.takes(type, body) else {
                return position == 0 ? unit.ending(.message, at: total) : unit.cut(at: position)
            }
            position += total
            if unit.execute != nil { return unit.followed(view, position) }
        }
    }

    /// An execution is decided on when it is known what follows it.
    private func followed(_ view: ByteView, _ end: Int) -> ExtendedUnit {
        var unit = self
        var position = end
        while true {
            guard view.count - position >= 5 else {
                return unit.ending(.incomplete(needed: position + 5), at: position)
            }
            // A Sync of another length is not one that we could answer.
            let isSound = view[position] != FrontendType.sync || view.uint32(at: position + 1) == 4
            unit.following = isSound ? view[position] : 0
            guard unit.following == FrontendType.flush, view.uint32(at: position + 1) == 4,
                view.count > position + 5
            else { return unit.ending(.execution, at: position) }
            position += 5
        }
    }

    private static func isPart(_ type: UInt8) -> Bool {
        type == FrontendType.bind || type == FrontendType.execute || type == FrontendType.parse
            || type == FrontendType.describe
    }

    private func ending(_ outcome: Outcome, at end: Int) -> ExtendedUnit {
        var unit = self
        unit.outcome = outcome
        unit.end = end
        return unit
    }

    /// The unit ends before a message that does not belong to it.
    private func cut(at position: Int) -> ExtendedUnit {
        ending(bind == nil ? .preparation : .messages, at: position)
    }

    /// Adds a message if it continues the run.
    private mutating func takes(_ type: UInt8, _ body: ByteView) -> Bool {
        switch type {
        case FrontendType.parse:
            guard parse == nil, bind == nil, !describesStatement, let name = body.cString(at: 0) else {
                return false
            }
            parse = body
            statementName = name
            return true
        case FrontendType.bind:
            guard bind == nil, !describesStatement, let portal = body.cString(at: 0),
                let statement = body.cString(at: portal.count + 1)
            else { return false }
            if let statementName, !statementName.isEqual(to: statement) { return false }
            let skipped = portal.count + 1 + statement.count + 1
            bind = BindHead(portal: portal, statement: statement, tail: body.dropFirst(skipped))
            return true
        case FrontendType.describe:
            guard body.count >= 2, let name = body.cString(at: 1), body.count == name.count + 2 else {
                return false
            }
            if body[0] == UInt8(ascii: "S") {
                guard bind == nil, !describesStatement else { return false }
                if let statementName, !statementName.isEqual(to: name) { return false }
                statementName = name
                describesStatement = true
                return true
            }
            guard body[0] == UInt8(ascii: "P"), let bind, !describesPortal,
                bind.portal.isEqual(to: name)
            else { return false }
            describesPortal = true
            return true
        default:
            guard let bind, let portal = body.cString(at: 0), bind.portal.isEqual(to: portal),
                body.count == portal.count + 5
            else { return false }
            execute = body
            return true
        }
    }

    /// The most rows that Execute asks for; 0 for all.
    var rowLimit: UInt32 {
        guard let execute, execute.count >= 4 else { return 0 }
        return execute.uint32(at: execute.count - 4)
    }
}

extension ByteView {
    /// The bytes from `offset` up to a NUL; nil without one.
    func cString(at offset: Int) -> ByteView? {
        guard offset <= count else { return nil }
        var end = offset
        while end < count {
            if base.load(fromByteOffset: end, as: UInt8.self) == 0 {
                return slice(from: offset, count: end - offset)
            }
            end += 1
        }
        return nil
    }

    func isEqual(to other: ByteView) -> Bool {
        guard count == other.count else { return false }
        var offset = 0
        while offset + 8 <= count {
            if base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != other.base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset += 8
        }
        while offset < count {
            if base.load(fromByteOffset: offset, as: UInt8.self)
                != other.base.load(fromByteOffset: offset, as: UInt8.self)
            {
                return false
            }
            offset += 1
        }
        return true
    }
}
