import PGProtocol

/// A statement's text without what it says about people: for `/status`, never for a decision.
///
/// Constants become `?` and comments a blank; names, operators and parameters stay. A scanner and not the
/// parse tree, because it must also do for texts that the parser rejects. Where it is not certain what
/// is a constant the preview ends: in a plain string with a backslash, whose end depends on
/// standard_conforming_strings, and in whatever the cut at `bytesScannedMax` leaves open.
///
/// (manual, 4.1 Lexical Structure.) Bounds: `bytesScannedMax` bytes in, `bytesMax` bytes and a few out.
struct StatementPreview {
    static let bytesScannedMax = 1024
    static let bytesMax = 200

    private let text: ByteView
    private let isCut: Bool
    private var at = 0
    private var written: [UInt8] = []

    /// The preview of a text, whole or not.
    static func of(_ text: ByteView) -> String {
        var preview = StatementPreview(text)
        preview.scan()
        return withView(preview.written) { $0.string }
    }

    private init(_ text: ByteView) {
        isCut = text.count > Self.bytesScannedMax
        self.text = text.slice(from: 0, count: min(text.count, Self.bytesScannedMax))
        written.reserveCapacity(Self.bytesMax + 8)
    }

    private mutating func scan() {
        while at < text.count, written.count < Self.bytesMax {
            guard scanToken() else { break }
        }
        if at < text.count || isCut { written += Array("…".utf8) }
    }

    /// False when nothing behind this place may be shown.
    private mutating func scanToken() -> Bool {
        let byte = text[at]
        switch byte {
        case UInt8(ascii: "'"): return skipString(escapes: false)
        case UInt8(ascii: "\""): return copyQuotedName()
        case UInt8(ascii: "$"): return scanDollar()
        case UInt8(ascii: "-") where peek(1) == UInt8(ascii: "-"):
            while at < text.count, text[at] != 10, text[at] != 13 { at += 1 }
            blank()
        case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "*"): return skipComment()
        case UInt8(ascii: "0")...UInt8(ascii: "9"): skipNumber()
        case UInt8(ascii: ".") where peek(1).map(Self.isDigit) ?? false: skipNumber()
        case _ where Self.isNameStart(byte): return scanWord()
        case _ where Self.isSpace(byte):
            at += 1
            blank()
        default:
            written.append(byte)
            at += 1
        }
        return true
    }

    private func peek(_ distance: Int) -> UInt8? {
        at + distance < text.count ? text[at + distance] : nil
    }

    private mutating func blank() {
        if written.last != UInt8(ascii: " "), !written.isEmpty { written.append(UInt8(ascii: " ")) }
    }

    private mutating func mark() { written.append(UInt8(ascii: "?")) }

    /// At the opening quote.
    private mutating func skipString(escapes: Bool) -> Bool {
        mark()
        at += 1
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "'"):
                guard peek(1) == UInt8(ascii: "'") else {
                    at += 1
                    return true
                }
                at += 2
            case UInt8(ascii: "\\"):
                if !escapes { return false }
                at += 2
            default:
                at += 1
            }
        }
        at = text.count
        return true
    }

    private mutating func copyQuotedName() -> Bool {
        repeat {
            written.append(text[at])
            at += 1
        } while at < text.count && text[at] != UInt8(ascii: "\"")
        guard at < text.count else { return true }
        written.append(text[at])
        at += 1
        return true
    }

    /// `$1`, `$$…$$`, `$tag$…$tag$`, or a lone dollar.
    private mutating func scanDollar() -> Bool {
        if let next = peek(1), Self.isDigit(next) {
            repeat {
                written.append(text[at])
                at += 1
            } while at < text.count && Self.isDigit(text[at])
            return true
        }
        var end = at + 1
        if end < text.count, Self.isNameStart(text[end]) {
            while end < text.count, Self.isNamePart(text[end]) { end += 1 }
        }
        guard end < text.count else { return false }
        guard text[end] == UInt8(ascii: "$") else {
            written.append(text[at])
            at += 1
            return true
        }
        let tag = text.slice(from: at, count: end + 1 - at)
        mark()
        at = end + 1
        while at + tag.count <= text.count {
            if text.slice(from: at, count: tag.count).buffer.elementsEqual(tag.buffer) {
                at += tag.count
                return true
            }
            at += 1
        }
        at = text.count
        return true
    }

    /// Comments nest, and the drivers' ones hold values.
    private mutating func skipComment() -> Bool {
        var depth = 0
        repeat {
            if text[at] == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                depth += 1
                at += 2
            } else if text[at] == UInt8(ascii: "*"), peek(1) == UInt8(ascii: "/") {
                depth -= 1
                at += 2
            } else {
                at += 1
            }
        } while depth > 0 && at < text.count
        blank()
        return true
    }

    /// Also `1e-5`, `0x1F` and `1_000`, which newer servers know.
    private mutating func skipNumber() {
        mark()
        while at < text.count {
            let byte = text[at]
            let isExponent = byte | 0x20 == UInt8(ascii: "e")
            at += 1
            if isExponent, let sign = peek(0), sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
                at += 1
            }
            guard at < text.count, Self.isNamePart(text[at]) || text[at] == UInt8(ascii: ".") else { return }
        }
    }

    /// A name or keyword, or the letter in front of a string.
    private mutating func scanWord() -> Bool {
        let start = at
        while at < text.count, Self.isNamePart(text[at]) || text[at] == UInt8(ascii: "$") { at += 1 }
        let word = text.slice(from: start, count: at - start)
        if at < text.count, text[at] == UInt8(ascii: "'"), word.count == 1,
            word[0] | 0x20 == UInt8(ascii: "e")
        {
            return skipString(escapes: true)
        }
        written += word.bytes
        return true
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 9 && byte <= 13) }
    private static func isNameStart(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == UInt8(ascii: "_") || byte >= 0x80
    }
    private static func isNamePart(_ byte: UInt8) -> Bool { isNameStart(byte) || isDigit(byte) }
}
