import PGProtocol

/// The elements of an array in the text and binary formats, for arrays of one dimension without NULLs.
///
/// Nil for every other array, for an empty one, for more than `elementsMax`, and where an element cannot be read.
enum ArrayDecoding {
    static let elementsMax = 1024

    /// `{1,2}`, `{"a b",c}` (manual, 8.15.2 Array Value Input).
    static func values(text: ByteView, kind: ValueKind) -> [Value]? {
        guard text.count > 2, text[0] == UInt8(ascii: "{") else { return nil }
        var values: [Value] = []
        var position = 1
        while position < text.count, values.count < elementsMax {
            guard let element = element(text, &position), position < text.count,
                let value = withView(element, { Value(text: $0, kind: kind) })
            else { return nil }
            values.append(value)
            position += 1
            if text[position - 1] == UInt8(ascii: "}") { return position == text.count ? values : nil }
        }
        return nil
    }

    /// One element, up to the comma or brace behind it.
    private static func element(_ text: ByteView, _ position: inout Int) -> [UInt8]? {
        var element: [UInt8] = []
        if position < text.count, text[position] == UInt8(ascii: "\"") {
            position += 1
            while position < text.count, text[position] != UInt8(ascii: "\"") {
                if text[position] == UInt8(ascii: "\\") { position += 1 }
                guard position < text.count else { return nil }
                element.append(text[position])
                position += 1
            }
            position += 1
            guard position < text.count, isEnd(text[position]) else { return nil }
            return element
        }
        while position < text.count, !isEnd(text[position]) {
            switch text[position] {
            // Blanks around an element are no part of it, and the others mean something or are refused.
            case 0...0x20, UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "{"): return nil
            default: element.append(text[position])
            }
            position += 1
        }
        let isNull = element.count == 4 && zip(element, Array("null".utf8)).allSatisfy { $0 | 0x20 == $1 }
        return element.isEmpty || isNull ? nil : element
    }

    private static func isEnd(_ byte: UInt8) -> Bool { byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") }

    /// array_send: the number of dimensions, whether there are NULLs, the elements' type; size and lower bound of each
    /// dimension; each element behind its length. Without a dimension the array is empty.
    static func values(binary: ByteView, kind: ValueKind, elementKind: (OID) -> ValueKind?) -> (
        values: [Value], source: ValueKind
    )? {
        guard binary.count >= 20, binary.uint32(at: 0) == 1, binary.uint32(at: 4) <= 1 else { return nil }
        let type = OID(binary.uint32(at: 8))
        let count = Int(binary.uint32(at: 12))
        guard type.value != 0, count > 0, count <= elementsMax, let source = elementKind(type) else { return nil }
        var values: [Value] = []
        values.reserveCapacity(count)
        var position = 20
        for _ in 0..<count {
            guard binary.count - position >= 4 else { return nil }
            let length = Int(Int32(bitPattern: binary.uint32(at: position)))
            position += 4
            guard length >= 0, length <= binary.count - position,
                let value = Value(
                    binary: binary.slice(from: position, count: length), kind: source, type: type)
            else { return nil }
            values.append(value)
            position += length
        }
        return position == binary.count ? (values, source) : nil
    }
}
