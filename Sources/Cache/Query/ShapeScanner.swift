import PGProtocol

/// The shape of a statement's text: its tokens with each liftable constant replaced by its lexical class [K2].
///
/// A shape serves to find what was learned of a text that differs in constants only; it is no key of an entry. So it
/// may leave constants in that could be lifted, and must never take the same two texts for one whose difference could
/// matter to what they mean:
/// - liftable are plain strings without a backslash, integers and decimals. Whatever else is written as a constant
///   stays; what cannot be cut with certainty has no shape, nor has a text of several statements, or one that does
///   not begin as a query or a change of rows does;
/// - never lifted: what stands in ORDER BY, GROUP BY and PARTITION BY, in LIMIT, OFFSET and FETCH, and in the
/// parentheses
///   behind a type's name; strings that mean another moment each time [C1] leave the text without a shape;
/// - blanks and comments become one blank.
///
/// Owned by the cache store, and used for one text after the other. Bounds: those of the text.
final class ShapeScanner {
    enum Class: UInt8 {
        case int4 = 1
        case int8
        case numeric
        case string
        /// A string beyond ASCII, whose bytes depend on encodings.
        case wideString

        var isString: Bool { self == .string || self == .wideString }
    }
    /// A lifted constant, by its place in the text.
    struct Constant {
        var start: Int
        var end: Int
        var lexicalClass: Class
    }

    private(set) var constants: [Constant] = []
    private var key: UnsafeMutablePointer<UInt8>
    private var capacity = 4096
    private var keyCount = 0

    private enum TypePhase { case none, named, expected }
    private var depth = 0
    private var typePhase = TypePhase.none
    private var behindDot = false
    /// The depth of the clause, or of the parentheses, in which nothing is lifted.
    private var clauseDepth = Int.max
    private var modifierDepth = Int.max

    init() { key = .allocate(capacity: capacity) }
    deinit { key.deallocate() }

    /// The shape of a text with `rest` behind it, which is what Parse carries behind the text. Nil without one. Valid
    /// until the next call, as are `constants`.
    func scan(_ text: ByteView, rest: ByteView) -> ByteView? {
        constants.removeAll(keepingCapacity: true)
        keyCount = 0
        depth = 0
        typePhase = .none
        behindDot = false
        clauseDepth = .max
        modifierDepth = .max
        reserve(text.count + rest.count + 2)
        guard scanTokens(text) else { return nil }
        append(0)
        append(rest)
        return ByteView(base: UnsafeRawPointer(key), count: keyCount)
    }

    private func reserve(_ count: Int) {
        guard count > capacity else { return }
        key.deallocate()
        capacity = count
        key = .allocate(capacity: capacity)
    }

    @inline(__always)
    private func append(_ byte: UInt8) {
        key[keyCount] = byte
        keyCount += 1
    }

    @inline(__always)
    private func append(_ bytes: ByteView) {
        guard bytes.count > 0 else { return }
        UnsafeMutableRawPointer(key + keyCount).copyMemory(from: bytes.base, byteCount: bytes.count)
        keyCount += bytes.count
    }

    private func scanTokens(_ text: ByteView) -> Bool {
        var scanner = TextScanner(text)
        var previous = TextScanner.Kind.blank
        var isFirst = true
        var hasEnded = false
        while let token = scanner.next() {
            let bytes = text.slice(from: token.start, count: token.end - token.start)
            guard token.kind != .blank else {
                guard bytes.count == 1 || !bytes.buffer.contains(UInt8(ascii: "\\")) else { return false }
                if !isFirst { append(UInt8(ascii: " ")) }
                continue
            }
            let isEnd = token.kind == .symbol && bytes[0] == UInt8(ascii: ";")
            if hasEnded, !isEnd { return false }
            hasEnded = isEnd
            if isFirst, !Self.mayBegin(bytes, token.kind) { return false }
            isFirst = false
            guard take(token, bytes, behind: previous, in: text) else { return false }
            previous = token.kind
            if token.kind == .symbol, bytes[0] == UInt8(ascii: ")") { previous = .oddNumber }
        }
        return !isFirst
    }

    /// Adds one token to the shape. False where the text can have none.
    @inline(__always)
    private func take(
        _ token: TextScanner.Token, _ bytes: ByteView, behind previous: TextScanner.Kind, in text: ByteView
    ) -> Bool {
        var phase = TypePhase.none
        switch token.kind {
        case .word:
            guard let next = noteWord(bytes) else { return false }
            phase = next
            append(bytes)
        case .quotedName:
            phase = typePhase == .expected || typePhase == .named && behindDot ? .named : .none
            guard append(verbatim: bytes) else { return false }
        case .symbol:
            guard bytes[0] >= 0x20 else { return false }
            phase = noteSymbol(bytes[0], at: token.start, in: text)
            append(bytes)
        case .parameter: append(bytes)
        case .integer: lift(token, bytes, Self.integerClass(bytes))
        case .decimal: lift(token, bytes, .numeric)
        case .string:
            // Continued from the line before, or a typed constant: `bit(3) '101'`, `U&'…'`, `B'…'`.
            guard previous != .string, previous != .otherString, previous != .oddNumber,
                token.start == 0 || !Self.beginsConstant(text[token.start - 1]), liftString(token, bytes)
            else { return false }
        case .otherString:
            guard previous != .string, previous != .otherString, append(verbatim: bytes) else { return false }
        case .oddNumber, .open, .blank: return false
        }
        behindDot = token.kind == .symbol && bytes[0] == UInt8(ascii: ".")
        typePhase = phase
        return true
    }

    private func append(verbatim bytes: ByteView) -> Bool {
        append(bytes)
        return bytes.buffer.allSatisfy { $0 >= 0x20 || $0 >= 9 && $0 <= 13 }
    }

    // MARK: - Constants

    private var mayLift: Bool { clauseDepth == .max && modifierDepth == .max }

    private func lift(_ token: TextScanner.Token, _ bytes: ByteView, _ lexicalClass: Class) {
        guard mayLift else { return append(bytes) }
        append(lexicalClass.rawValue)
        constants.append(Constant(start: token.start, end: token.end, lexicalClass: lexicalClass))
    }

    private func liftString(_ token: TextScanner.Token, _ bytes: ByteView) -> Bool {
        if DateTimeText.isTimeDependent(bytes.buffer) { return false }
        let isASCII = bytes.buffer.allSatisfy { $0 < 0x80 }
        if !isASCII, String(validating: bytes.buffer.bindMemory(to: UInt8.self), as: UTF8.self) == nil { return false }
        guard mayLift else { return append(verbatim: bytes) }
        lift(token, bytes, isASCII ? .string : .wideString)
        return true
    }

    /// The lexer's rule: the first of the types in which the value fits (scan.l, process_integer_literal).
    private static func integerClass(_ digits: ByteView) -> Class {
        guard digits.count <= 19 else { return .numeric }
        var value: UInt64 = 0
        for digit in digits.buffer { value = value * 10 + UInt64(digit - 0x30) }
        return value <= UInt64(Int32.max) ? .int4 : value <= UInt64(Int64.max) ? .int8 : .numeric
    }

    // MARK: - What surrounds them

    private static func mayBegin(_ bytes: ByteView, _ kind: TextScanner.Kind) -> Bool {
        if kind == .symbol { return bytes[0] == UInt8(ascii: "(") }
        guard kind == .word else { return false }
        switch bytes.count {
        case 4: return bytes.isWord("with")
        case 5: return bytes.isWord("merge")
        case 6:
            return bytes.isWord("select") || bytes.isWord("insert") || bytes.isWord("update") || bytes.isWord("delete")
                || bytes.isWord("values")
        default: return false
        }
    }

    /// What a constant's own prefix ends with: `B'`, `X'`, `N'`, `U&'`, and whatever else is no blank.
    private static func beginsConstant(_ byte: UInt8) -> Bool {
        TextScanner.isNamePart(byte) || byte == UInt8(ascii: "&") || byte == UInt8(ascii: "\"")
    }

    /// What a word makes of the parentheses that may follow it; nil where it leaves the text without a shape.
    @inline(__always)
    private func noteWord(_ word: ByteView) -> TypePhase? {
        switch Self.role(of: word) {
        case .plain:
            return typePhase == .expected || typePhase == .named && behindDot ? .named : TypePhase.none
        case .beginsPositions:
            if clauseDepth == .max { clauseDepth = depth }
            return TypePhase.none
        case .endsPositions:
            if clauseDepth == depth { clauseDepth = .max }
            return TypePhase.none
        case .precedesType: return .expected
        case .type: return .named
        case .materialized: return TypePhase.none
        case .escapesNames: return nil
        }
    }

    private func noteSymbol(_ byte: UInt8, at position: Int, in text: ByteView) -> TypePhase {
        switch byte {
        case UInt8(ascii: "("):
            if typePhase == .named, modifierDepth == .max { modifierDepth = depth }
            depth += 1
        case UInt8(ascii: "["): depth += 1
        case UInt8(ascii: ")"), UInt8(ascii: "]"):
            depth -= 1
            if modifierDepth != .max, depth <= modifierDepth { modifierDepth = .max }
            if clauseDepth != .max, depth < clauseDepth { clauseDepth = .max }
        case UInt8(ascii: "."): return typePhase
        case UInt8(ascii: ":") where position > 0 && text[position - 1] == UInt8(ascii: ":"): return .expected
        default: break
        }
        return .none
    }

    private enum Role { case plain, beginsPositions, endsPositions, precedesType, type, materialized, escapesNames }

    /// Types that take a modifier by the grammar (gram.y, SimpleTypename, and what is written like one).
    private static func role(of word: ByteView) -> Role {
        switch (word.count, word[0] | 0x20) {
        case (2, UInt8(ascii: "b")): word.isWord("by") ? .beginsPositions : .plain
        case (2, UInt8(ascii: "a")): word.isWord("as") ? .precedesType : .plain
        case (2, UInt8(ascii: "o")): word.isWord("on") ? .endsPositions : .plain
        case (3, UInt8(ascii: "b")): word.isWord("bit") ? .type : .plain
        case (3, UInt8(ascii: "d")): word.isWord("dec") ? .type : .plain
        case (3, UInt8(ascii: "n")): word.isWord("not") ? .materialized : .plain
        case (3, UInt8(ascii: "s")): word.isWord("set") ? .endsPositions : .plain
        case (4, UInt8(ascii: "c")): word.isWord("char") ? .type : .plain
        case (4, UInt8(ascii: "f")): word.isWord("from") ? .endsPositions : .plain
        case (4, UInt8(ascii: "t")): word.isWord("time") ? .type : .plain
        case (5, UInt8(ascii: "f")):
            word.isWord("fetch") ? .beginsPositions : word.isWord("float") ? .type : .plain
        case (5, UInt8(ascii: "l")): word.isWord("limit") ? .beginsPositions : .plain
        case (5, UInt8(ascii: "n")): word.isWord("nchar") ? .type : .plain
        case (5, UInt8(ascii: "u")): word.isWord("union") ? .endsPositions : .plain
        case (5, UInt8(ascii: "w")): word.isWord("where") ? .endsPositions : .plain
        case (6, UInt8(ascii: "e")): word.isWord("except") ? .endsPositions : .plain
        case (6, UInt8(ascii: "h")): word.isWord("having") ? .endsPositions : .plain
        case (6, UInt8(ascii: "o")): word.isWord("offset") ? .beginsPositions : .plain
        case (6, UInt8(ascii: "s")):
            word.isWord("select") ? .endsPositions : word.isWord("second") ? .type : .plain
        case (6, UInt8(ascii: "v")): word.isWord("values") ? .endsPositions : .plain
        case (6, UInt8(ascii: "w")): word.isWord("window") ? .endsPositions : .plain
        case (7, UInt8(ascii: "d")): word.isWord("decimal") ? .type : .plain
        case (7, UInt8(ascii: "n")): word.isWord("numeric") ? .type : .plain
        case (7, UInt8(ascii: "u")): word.isWord("uescape") ? .escapesNames : .plain
        case (7, UInt8(ascii: "v")): word.isWord("varchar") || word.isWord("varying") ? .type : .plain
        case (8, UInt8(ascii: "i")): word.isWord("interval") ? .type : .plain
        case (9, UInt8(ascii: "c")): word.isWord("character") ? .type : .plain
        case (9, UInt8(ascii: "i")): word.isWord("intersect") ? .endsPositions : .plain
        case (9, UInt8(ascii: "l")): word.isWord("localtime") ? .type : .plain
        case (9, UInt8(ascii: "r")): word.isWord("returning") ? .endsPositions : .plain
        case (9, UInt8(ascii: "t")): word.isWord("timestamp") ? .type : .plain
        case (12, UInt8(ascii: "c")): word.isWord("current_time") ? .type : .plain
        case (12, UInt8(ascii: "m")): word.isWord("materialized") ? .materialized : .plain
        case (14, UInt8(ascii: "l")): word.isWord("localtimestamp") ? .type : .plain
        case (17, UInt8(ascii: "c")): word.isWord("current_timestamp") ? .type : .plain
        default: .plain
        }
    }
}

extension ByteView {
    /// Whether it is this word of ASCII letters and underscores, given in lower case, in any case.
    func isWord(_ word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        for offset in 0..<count {
            let letter = word.utf8Start[offset]
            let byte = self[offset]
            guard byte == letter || byte | 0x20 == letter && letter != UInt8(ascii: "_") else { return false }
        }
        return true
    }
}
