import PGProtocol

/// The tokens of a statement's text, as PostgreSQL's lexer would cut it, without a parser.
///
/// It cuts no finer than is needed to tell constants from the rest: symbols come byte by byte, and blanks and comments
/// as one token. Where it is not certain where a token ends it says `open`: a plain string with a backslash, whose end
/// depends on standard_conforming_strings, and whatever the text ends within. What follows is then not to be trusted.
///
/// (manual, 4.1 Lexical Structure.) Each byte is looked at once; no recursion.
struct TextScanner {
    enum Kind: UInt8 {
        /// Blanks and comments.
        case blank
        /// A name or keyword, as it is written.
        case word
        case quotedName
        /// `$1`
        case parameter
        /// Digits alone.
        case integer
        /// Digits with one point among them, or at an end of them.
        case decimal
        /// An exponent, or what only newer servers read, or none.
        case oddNumber
        /// `'…'`
        case string
        /// `E'…'`, `$$…$$`
        case otherString
        case symbol
        case open
    }
    struct Token {
        var kind: Kind
        var start: Int
        var end: Int
    }

    let text: ByteView
    private(set) var position = 0

    init(_ text: ByteView) { self.text = text }

    /// Nil at the end.
    @inline(__always)
    mutating func next() -> Token? {
        guard position < text.count else { return nil }
        let start = position
        let kind = scan()
        return Token(kind: kind, start: start, end: position)
    }

    private mutating func scan() -> Kind {
        let byte = text[position]
        if Self.isNameStart(byte) { return scanWord() }
        if Self.isSpace(byte) { return scanBlank() }
        if Self.isDigit(byte) { return scanNumber() }
        switch byte {
        case UInt8(ascii: "'"): return scanString()
        case UInt8(ascii: "\""): return scanQuotedName()
        case UInt8(ascii: "$"): return scanDollar()
        case UInt8(ascii: "-") where peek(1) == UInt8(ascii: "-"): return scanBlank()
        case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "*"): return scanBlank()
        case UInt8(ascii: ".") where Self.isDigit(peek(1)): return scanNumber()
        default:
            position += 1
            return .symbol
        }
    }

    /// The byte at that distance, zero behind the end.
    @inline(__always)
    private func peek(_ distance: Int) -> UInt8 {
        position + distance < text.count ? text[position + distance] : 0
    }

    /// Blanks, `-- …` and `/* … */`, which nest.
    private mutating func scanBlank() -> Kind {
        while position < text.count {
            let byte = text[position]
            if Self.isSpace(byte) {
                position += 1
            } else if byte == UInt8(ascii: "-"), peek(1) == UInt8(ascii: "-") {
                while position < text.count, text[position] != 10, text[position] != 13 { position += 1 }
            } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                guard skipComment() else { return .open }
            } else {
                break
            }
        }
        return .blank
    }

    private mutating func skipComment() -> Bool {
        var depth = 0
        repeat {
            if text[position] == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                depth += 1
                position += 2
            } else if text[position] == UInt8(ascii: "*"), peek(1) == UInt8(ascii: "/") {
                depth -= 1
                position += 2
            } else {
                position += 1
            }
        } while depth > 0 && position < text.count
        return depth == 0
    }

    /// A name or keyword, or the letter in front of an escape string.
    private mutating func scanWord() -> Kind {
        let start = position
        position += 1
        while position < text.count, Self.isNamePart(text[position]) { position += 1 }
        guard position == start + 1, text[start] | 0x20 == UInt8(ascii: "e"), peek(0) == UInt8(ascii: "'") else {
            return .word
        }
        position += 1
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: "\\"): position = min(position + 2, text.count)
            case UInt8(ascii: "'") where peek(1) == UInt8(ascii: "'"): position += 2
            case UInt8(ascii: "'"):
                position += 1
                return .otherString
            default: position += 1
            }
        }
        return .open
    }

    /// At the opening quote.
    private mutating func scanString() -> Kind {
        position += 1
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: "'"):
                guard peek(1) == UInt8(ascii: "'") else {
                    position += 1
                    return .string
                }
                position += 2
            case UInt8(ascii: "\\"):
                position = text.count
                return .open
            default:
                position += 1
            }
        }
        return .open
    }

    private mutating func scanQuotedName() -> Kind {
        position += 1
        while position < text.count, text[position] != UInt8(ascii: "\"") { position += 1 }
        guard position < text.count else { return .open }
        position += 1
        return .quotedName
    }

    /// `$1`, `$$…$$`, `$tag$…$tag$`, or a lone dollar.
    private mutating func scanDollar() -> Kind {
        if Self.isDigit(peek(1)) {
            position += 1
            while position < text.count, Self.isDigit(text[position]) { position += 1 }
            return .parameter
        }
        var end = position + 1
        if end < text.count, Self.isNameStart(text[end]) {
            while end < text.count, Self.isNamePart(text[end]), text[end] != UInt8(ascii: "$") { end += 1 }
        }
        guard end < text.count else {
            position = text.count
            return .open
        }
        guard text[end] == UInt8(ascii: "$") else {
            position += 1
            return .symbol
        }
        let tag = text.slice(from: position, count: end + 1 - position)
        position = end + 1
        while position + tag.count <= text.count {
            // A tag that is not this one may end with the dollar that begins this one.
            if text[position] == UInt8(ascii: "$"),
                text.slice(from: position, count: tag.count).buffer.elementsEqual(tag.buffer)
            {
                position += tag.count
                return .otherString
            }
            position += 1
        }
        position = text.count
        return .open
    }

    /// At a digit, or at a point with a digit behind it.
    private mutating func scanNumber() -> Kind {
        let start = position
        while position < text.count, Self.isDigit(text[position]) { position += 1 }
        var kind = Kind.integer
        if peek(0) == UInt8(ascii: ".") {
            kind = .decimal
            position += 1
            while position < text.count, Self.isDigit(text[position]) { position += 1 }
        }
        guard position < text.count, Self.isNamePart(text[position]) || text[position] == UInt8(ascii: ".") else {
            return kind
        }
        // `1e-5`, `0x1F`, `1_000`, `1..2`, `1a`
        position = start
        while position < text.count {
            let isExponent = text[position] | 0x20 == UInt8(ascii: "e")
            position += 1
            if isExponent, peek(0) == UInt8(ascii: "-") || peek(0) == UInt8(ascii: "+") { position += 1 }
            guard Self.isNamePart(peek(0)) || peek(0) == UInt8(ascii: ".") else { break }
        }
        return .oddNumber
    }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
    @inline(__always)
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 9 && byte <= 13) }
    @inline(__always)
    static func isNameStart(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == UInt8(ascii: "_") || byte >= 0x80
    }
    @inline(__always)
    static func isNamePart(_ byte: UInt8) -> Bool {
        isNameStart(byte) || isDigit(byte) || byte == UInt8(ascii: "$")
    }
}
