import PGProtocol

/// Which rows of an answer a text asks for: LIMIT and OFFSET at its very end, as constants or as parameters.
///
/// What stands in front of them, the *base*, is the same in texts that differ in nothing else; those are a *family*.
/// The
/// rows of one member are then rows that PostgreSQL could give for another one, if they are enough.
struct RowWindow: Equatable {
    enum Bound: Equatable {
        case absent
        case constant(Int)
        /// `$n`, from 1.
        case parameter(Int)

        var parameter: Int? { if case .parameter(let number) = self { number } else { nil } }
    }

    /// Bytes of the text in front of LIMIT and OFFSET, without blanks behind them; 0 where the text ends otherwise.
    var baseCount = 0
    var limit = Bound.absent
    var offset = Bound.absent

    static let none = RowWindow()
    /// It is known which rows it asks for.
    var isKnown: Bool { baseCount > 0 }
    /// It asks for some of the rows.
    var isPart: Bool { isKnown && (limit != .absent || offset != .absent) }
    var hasParameters: Bool { limit.parameter != nil || offset.parameter != nil }

    /// Of no text.
    private init() {}

    init(_ text: ByteView) {
        var scanner = TextScanner(text)
        var finder = Finder()
        var depth = 0
        while let token = scanner.next() {
            switch token.kind {
            case .blank: continue
            case .open: return
            case .symbol:
                let byte = text[token.start]
                if byte == UInt8(ascii: ")") { depth -= 1 }
                if byte == UInt8(ascii: "(") { depth += 1 }
            case .word, .quotedName, .parameter, .integer, .decimal, .oddNumber, .string, .otherString: break
            }
            finder.take(token, text.slice(from: token.start, count: token.end - token.start), depth: depth)
        }
        self = finder.window
    }

    /// Finds it while the tokens of a text go by, blanks left out.
    private struct Finder {
        private enum State { case base, limit, offset, behind, ended, other }
        private var state = State.base
        private var found = RowWindow()
        private var parameters: [Int] = []

        var window: RowWindow {
            guard state == .base || state == .behind || state == .ended else { return .none }
            // A parameter that stands elsewhere too alters more than the window.
            for case let number? in [found.limit.parameter, found.offset.parameter]
            where parameters.count(where: { $0 == number }) != 1 {
                return .none
            }
            return found
        }

        mutating func take(_ token: TextScanner.Token, _ bytes: ByteView, depth: Int) {
            if token.kind == .parameter { parameters.append(bytes.dropFirst(1).plainNumber ?? 0) }
            switch state {
            case .base:
                if token.kind == .word, depth == 0, let next = Self.bound(bytes) {
                    state = next
                } else if token.kind == .symbol, bytes[0] == UInt8(ascii: ";") {
                    state = .ended
                } else {
                    found.baseCount = token.end
                }
            case .limit:
                found.limit = Self.value(token.kind, bytes)
                state = found.limit == .absent ? .other : .behind
            case .offset:
                found.offset = Self.value(token.kind, bytes)
                state = found.offset == .absent ? .other : .behind
            case .behind:
                if token.kind == .symbol, bytes[0] == UInt8(ascii: ";") {
                    state = .ended
                } else if token.kind == .word, let next = Self.bound(bytes),
                    next == .limit && found.limit == .absent || next == .offset && found.offset == .absent
                {
                    state = next
                } else {
                    state = .other
                }
            case .ended: if bytes[0] != UInt8(ascii: ";") { state = .other }
            case .other: break
            }
        }

        private static func bound(_ word: ByteView) -> State? {
            switch word.count {
            case 5: word.isWord("limit") ? .limit : word.isWord("fetch") ? .other : nil
            case 6: word.isWord("offset") ? .offset : nil
            default: nil
            }
        }

        private static func value(_ kind: TextScanner.Kind, _ bytes: ByteView) -> Bound {
            switch kind {
            case .integer: bytes.plainNumber.map { .constant($0) } ?? .absent
            case .parameter: bytes.dropFirst(1).plainNumber.map { .parameter($0) } ?? .absent
            default: .absent
            }
        }
    }
}

extension ByteView {
    /// Digits alone, not too many; nil for anything else.
    var plainNumber: Int? {
        guard count > 0, count <= 15 else { return nil }
        var value = 0
        for byte in buffer {
            guard TextScanner.isDigit(byte) else { return nil }
            value = value * 10 + Int(byte - 0x30)
        }
        return value
    }
}
