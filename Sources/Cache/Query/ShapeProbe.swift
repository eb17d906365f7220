import PGProtocol

/// A text of the same shape in which every lifted constant is another one, and no two are alike.
///
/// Each is of the same lexical class, and a string of the same form where a type might ask for one: digits, a UUID, a
/// date,
/// a truth value. Any other string gets what looks like a pattern and like an array, so that whatever
/// reads it as one is found out.
struct ShapeProbe {
    /// By position among the constants: as they are written.
    private(set) var constants: [[UInt8]] = []
    private(set) var text: [UInt8] = []

    init(_ text: ByteView, _ constants: [ShapeScanner.Constant]) {
        var end = 0
        self.text.reserveCapacity(text.count + 24 * constants.count)
        for (number, constant) in constants.enumerated() {
            let bytes = text.slice(from: constant.start, count: constant.end - constant.start)
            var other = Array(Self.other(bytes, constant.lexicalClass, number).utf8)
            // By chance it is what stands there.
            if other.elementsEqual(bytes.buffer) {
                other = Array(Self.other(bytes, constant.lexicalClass, number + 2048).utf8)
            }
            self.text += text.slice(from: end, count: constant.start - end).bytes + other
            self.constants.append(other)
            end = constant.end
        }
        self.text += text.dropFirst(end).bytes
    }

    private static func other(_ bytes: ByteView, _ lexicalClass: ShapeScanner.Class, _ number: Int) -> String {
        switch lexicalClass {
        case .int4: "\(1_000_000_000 + number)"
        case .int8: "\(5_000_000_000_000_000_000 + number)"
        case .numeric:
            bytes.buffer.contains(UInt8(ascii: "."))
                ? "\(1_000_000_000 + number).25" : "\(1_000_000_000 + number)0000000000"
        case .wideString: "'probe é \(number)'"
        case .string: "'" + other(string: bytes.slice(from: 1, count: bytes.count - 2).bytes, number) + "'"
        }
    }

    private static func other(string: [UInt8], _ number: Int) -> String {
        let form = String(decoding: string.map { isDigit($0) ? UInt8(ascii: "0") : $0 }, as: UTF8.self)
        switch form {
        case "t": return "f"
        case "f": return "t"
        case "true": return "false"
        case "false": return "true"
        default: break
        }
        let digits = form.drop { $0 == "-" }
        if !digits.isEmpty, digits.allSatisfy({ $0 == "0" }) {
            return (digits.count < form.count ? "-" : "") + "\(1_000_000_000 + number)"
        }
        if digits.allSatisfy({ $0 == "0" || $0 == "." }), digits.count(where: { $0 == "." }) == 1 {
            return (digits.count < form.count ? "-" : "") + "\(1_000_000_000 + number).25"
        }
        if form.hasPrefix("0000-00-00"), number < 4096 {
            return "\(1001 + number)" + String(decoding: string[4...], as: UTF8.self)
        }
        let isUUID = string.count == 36 && [8, 13, 18, 23].allSatisfy { string[$0] == UInt8(ascii: "-") }
        if isUUID { return "00000000-0000-4000-8000-\(100_000_000_000 + number)" }
        return "probe %_{\(number)}"
    }

    private static func isDigit(_ byte: UInt8) -> Bool { TextScanner.isDigit(byte) }
}

extension ShapeScanner.Constant {
    /// What it says, with a minus in front of it or not.
    func literal(in text: ByteView, isNegative: Bool) -> ParsedSelect.Operand.Literal? {
        .init(text.slice(from: start, count: end - start), lexicalClass, isNegative: isNegative)
    }
}

extension ParsedSelect.Operand.Literal {
    /// A lifted constant, as the parser would read it.
    init?(_ bytes: ByteView, _ lexicalClass: ShapeScanner.Class, isNegative: Bool) {
        guard lexicalClass.isString else {
            self = SelectReader.literal(number: (isNegative ? "-" : "") + bytes.string)
            return
        }
        guard !isNegative else { return nil }
        var string: [UInt8] = []
        string.reserveCapacity(bytes.count)
        var position = 1
        while position < bytes.count - 1 {
            string.append(bytes[position])
            // A quote is written twice.
            position += bytes[position] == UInt8(ascii: "'") ? 2 : 1
        }
        self = .string(string)
    }
}
