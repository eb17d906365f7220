import PGProtocol

/// A statement's text without what it says about people: for `/status`, never for a decision.
///
/// Constants become `?` and comments a blank; names, operators and parameters stay. Tokens (`TextScanner`) and not the
/// parse tree, because it must also do for texts that the parser rejects. Where it is not certain what
/// is a constant the preview ends: in a plain string with a backslash, whose end depends on
/// standard_conforming_strings, and in whatever the cut at `bytesScannedMax` leaves open.
///
/// (manual, 4.1 Lexical Structure.) Bounds: `bytesScannedMax` bytes in, `bytesMax` bytes and a few out.
struct StatementPreview {
    static let bytesScannedMax = 1024
    static let bytesMax = 200

    /// The preview of a text, whole or not.
    static func of(_ text: ByteView) -> String {
        let isCut = text.count > bytesScannedMax
        var scanner = TextScanner(text.slice(from: 0, count: min(text.count, bytesScannedMax)))
        var written: [UInt8] = []
        written.reserveCapacity(bytesMax + 8)
        var isWhole = !isCut
        while written.count < bytesMax, let token = scanner.next() {
            let bytes = text.slice(from: token.start, count: token.end - token.start)
            switch token.kind {
            case .blank:
                if written.last != UInt8(ascii: " "), !written.isEmpty { written.append(UInt8(ascii: " ")) }
            case .word, .quotedName, .parameter, .symbol: written += bytes.bytes
            case .integer, .decimal, .oddNumber, .string, .otherString: written.append(UInt8(ascii: "?"))
            case .open: isWhole = false
            }
        }
        if scanner.position < min(text.count, bytesScannedMax) || !isWhole { written += Array("…".utf8) }
        return withView(written) { $0.string }
    }
}
