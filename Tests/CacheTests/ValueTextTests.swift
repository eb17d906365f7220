import PGProtocol
import Testing

@testable import Cache

/// Values from text and binary are what PostgreSQL prints for them.
@Suite struct ValueTextTests {
    private func read(_ text: String, _ kind: ValueKind) -> Value? {
        withView(Array(text.utf8)) { Value(text: $0, kind: kind) }
    }
    private func read(_ binary: [UInt8], _ kind: ValueKind, type: UInt32 = 0) -> Value? {
        withView(binary) { Value(binary: $0, kind: kind, type: OID(type)) }
    }

    @Test(arguments: [
        ("2000-01-01", 0), ("1999-12-31", -1), ("2000-02-29", 59), ("2000-03-01", 60), ("2024-01-01", 8766),
        ("1900-02-28", -36466), ("1900-03-01", -36465), ("0001-01-01", -730_119), ("9999-12-31", 2_921_939),
    ] as [(String, Int64)])
    func datesAreDays(text: String, days: Int64) {
        #expect(read(text, .date) == .integer(days))
        #expect(Value.integer(days).text(.date) == text)
        let bits = UInt32(bitPattern: Int32(days))
        let binary = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (24 - 8 * $0)) }
        #expect(read(binary, .date) == .integer(days) && read(binary, .date, type: 1082) == .integer(days))
    }

    @Test func everyDayIsTheOneBehindTheLast() throws {
        for days in stride(from: Int64(-730_119), through: 2_921_939, by: 13) {
            #expect(read(Value.integer(days).text(.date), .date) == .integer(days))
        }
    }

    @Test(arguments: [
        "", "2024", "2024-1-01", "2024-01-1", "24-01-01", "2024/01/01", "20240101", "2024-13-01", "2024-00-01",
        "2024-02-30", "2023-02-29", "1900-02-29", "0000-01-01", "infinity", "-infinity", "0044-03-15 BC", "10000-01-01",
        "2024-01-01 ", " 2024-01-01", "01-02-2024", "2024-01-01 00:00:00",
    ])
    func otherDatesAreNotRead(text: String) { #expect(read(text, .date) == nil) }

    @Test func binaryMomentsOfOtherYearsAreNotRead() {
        for ends in [[0x7F, 0xFF, 0xFF, 0xFF], [0x80, 0, 0, 0], [0x7F, 0xFF, 0xFF, 0xFE]] as [[UInt8]] {
            #expect(read(ends, .date) == nil)
        }
        for kind in [ValueKind.timestamp, .timestampWithZone] {
            #expect(read([0x7F] + [UInt8](repeating: 0xFF, count: 7), kind) == nil)
            #expect(read([0x80] + [UInt8](repeating: 0, count: 7), kind) == nil)
            #expect(read([0, 0, 0, 0, 0, 0, 0, 9], kind) == .integer(9))
        }
        #expect(read([0, 0, 0, 0, 0, 0, 0, 9], .timestamp, type: 1184) == nil)
        #expect(read([0, 0, 0, 0], .timestamp) == nil && read([0, 0, 0, 0], .date, type: 23) == nil)
    }

    @Test(arguments: [
        ("2000-01-01 00:00:00", 0), ("2000-01-01 00:00:01.5", 1_500_000), ("1999-12-31 23:59:59.999999", -1),
        ("2000-01-02 03:04:05", 97_445_000_000), ("2000-01-01T00:00:01", 1_000_000), ("2000-01-01", 0),
        ("2000-01-01 00:00:00.000001", 1),
    ] as [(String, Int64)])
    func timestampsAreMicroseconds(text: String, value: Int64) {
        #expect(read(text, .timestamp) == .integer(value))
        #expect(read(Value.integer(value).text(.timestamp), .timestamp) == .integer(value))
        #expect(read(Value.integer(value).text(.timestampWithZone), .timestampWithZone) == .integer(value))
        #expect(read(text, .timestampWithZone) == nil)
    }

    @Test(arguments: [
        ("2000-01-01 00:00:00+00", 0), ("2000-01-01 02:00:00+02", 0), ("1999-12-31 18:30:00-05:30", 0),
        ("2000-01-01 00:00:00.25+00:00", 250_000),
    ] as [(String, Int64)])
    func aZoneIsAnOffset(text: String, value: Int64) {
        #expect(read(text, .timestampWithZone) == .integer(value))
        #expect(read(text, .timestamp) == nil)
    }

    @Test(arguments: [
        "2000-01-01 24:00:00", "2000-01-01 00:60:00", "2000-01-01 00:00:60", "2000-01-01 00:00", "2000-01-01 00:00:00.",
        "2000-01-01 00:00:00.1234567", "2000-01-01  00:00:00", "2000-01-01 00:00:00 ", "2000-01-01 00:00:00 BC",
        "2000-01-01 12:00:00 PM", "infinity", "epoch", "2000-01-01 0:00:00",
    ])
    func otherTimestampsAreNotRead(text: String) {
        #expect(read(text, .timestamp) == nil)
        #expect(read(text + "+00", .timestampWithZone) == nil)
    }

    @Test(arguments: ["Z", " UTC", "+2", "+0200", "+16", "+02:60", "+02:00:00", "+", " +00", "+00 ", "CET", "+00+00"])
    func otherZonesAreNotRead(zone: String) {
        #expect(read("2000-01-01 00:00:00" + zone, .timestampWithZone) == nil)
    }

    // MARK: Numbers

    @Test func numbersAreEqualAndInOrderAsNumbers() throws {
        let spellings = [
            ["-1000", "-1000.00"], ["-12.5", "-12.50", "-012.5"], ["-12.49"], ["-12"], ["-1.5"], ["-1", "-1.0", "-01"],
            ["-0.51"],
            ["-0.5", "-.5", "-0.50"], ["-0.05"], ["0", "-0", "0.00", "+0", ".0", "0."], ["0.0005"], ["0.05"],
            ["0.5", ".5"],
            ["0.51"], ["1", "1.0", "+1", "001"], ["1.05"], ["1.5"], ["9"], ["10", "10.0"], ["12"], ["12.49"], ["12.5"],
            ["99.999"],
            ["100"], ["9223372036854775807"], ["9223372036854775808"], ["1" + String(repeating: "0", count: 100)],
        ]
        let values = try spellings.map { try $0.map { try #require(read($0, .numeric), "\($0)") } }
        for same in values { #expect(Set(same).count == 1) }
        for (lower, upper) in zip(values, values.dropFirst()) { #expect(lower[0] < upper[0]) }
        for value in values.joined() { #expect(read(value.text(.numeric), .numeric) == value) }
        for number in [0, 1, -1, 10, -10, 12_345, .max, .min] as [Int64] {
            #expect(Value.integer(number).converted(from: .integer, to: .numeric) == read(String(number), .numeric))
        }
    }

    @Test(arguments: ["", "-", ".", "+.", "NaN", "Infinity", "-inf", "1e3", " 1", "1 ", "1,5", "1.5.0", "--1", "1-",
        "0x10", "1_0"])
    func otherNumbersAreNotRead(text: String) { #expect(read(text, .numeric) == nil) }

    @Test func veryLongNumbersAreNotRead() {
        #expect(read(String(repeating: "7", count: 257), .numeric) == nil)
        #expect(read("1" + String(repeating: "0", count: 300), .numeric) == nil)
        #expect(read("0." + String(repeating: "0", count: 300) + "1", .numeric) == nil)
        #expect(read("1." + String(repeating: "0", count: 300), .numeric) == read("1", .numeric))
    }

    @Test func numbersAreReadFromBinary() {
        func binary(_ words: UInt16...) -> [UInt8] { words.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } }
        // digits, weight, sign, scale
        #expect(read(binary(2, 0, 0, 2, 12, 5000), .numeric) == read("12.50", .numeric))
        #expect(read(binary(2, 0, 0x4000, 2, 12, 5000), .numeric) == read("-12.5", .numeric))
        #expect(read(binary(0, 0, 0, 2), .numeric) == read("0", .numeric))
        #expect(read(binary(1, 1, 0, 0, 1), .numeric) == read("10000", .numeric))
        #expect(read(binary(1, UInt16(bitPattern: -1), 0, 4, 5), .numeric) == read("0.0005", .numeric))
        #expect(read(binary(3, 0, 0, 0, 0, 0, 0), .numeric) == read("0", .numeric))
        // numeric_recv would cut off the decimals.
        #expect(read(binary(2, 0, 0, 0, 12, 5000), .numeric) == nil)
        #expect(read(binary(0, 0, 0xC000, 0), .numeric) == nil && read(binary(0, 0, 0xD000, 0), .numeric) == nil)
        #expect(read(binary(1, 0, 0, 0, 10_000), .numeric) == nil && read(binary(2, 0, 0, 0, 1), .numeric) == nil)
        #expect(read(binary(1, 0, 0, 0, 7), .numeric, type: 20) == nil)
    }

    // MARK: Arrays

    @Test func arraysAreReadFromText() {
        func values(_ text: String, _ kind: ValueKind) -> [Value]? {
            withView(Array(text.utf8)) { ArrayDecoding.values(text: $0, kind: kind) }
        }
        #expect(values("{1,-2,3}", .integer) == [.integer(1), .integer(-2), .integer(3)])
        #expect(values("{\"1\",2}", .integer) == [.integer(1), .integer(2)])
        #expect(values("{a,\"b c\",\"\",\"\\\"\\\\\",\"null\"}", .text)
            == ["a", "b c", "", "\"\\", "null"].map { .bytes(Array($0.utf8)) })
        for text in [
            "", "{", "}", "{}", "{1", "{1,", "{1,}", "{,1}", "{1,2}x", "{1, 2}", "{ 1}", "{1 }", "{null}", "{NULL,1}",
            "{{1}}",
            "[1:1]={1}", "{\"1}", "{\"1\"2}", "{1\\,}", "{\"1\\", "{1\"2\"}",
        ] {
            #expect(values(text, .integer) == nil && values(text, .text) == nil, "\(text)")
        }
        #expect(values("{x}", .integer) == nil)
        #expect(values("{" + String(repeating: "1,", count: 1024) + "1}", .integer) == nil)
        #expect(values("{" + String(repeating: "1,", count: 1023) + "1}", .integer)?.count == 1024)
    }

    @Test func arraysAreReadFromBinary() {
        func values(_ words: [UInt32], _ element: OID = OID(23)) -> [Value]? {
            let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) } }
            return withView(bytes) {
                ArrayDecoding.values(binary: $0, kind: .integer) { $0 == element ? .integer : nil }
            }?.values
        }
        #expect(values([1, 0, 23, 2, 1, 4, 7, 4, 8]) == [.integer(7), .integer(8)])
        #expect(values([1, 1, 23, 1, 1, 4, 0xFFFF_FFFF]) == [.integer(-1)])
        for words in [
            [], [0, 0, 23], [1, 0, 23, 0, 1], [1, 0, 23, 2, 1, 4, 7], [1, 0, 23, 1, 1, 4, 7, 0],
            [1, 1, 23, 1, 1, 0xFFFF_FFFF],
            [2, 0, 23, 1, 1, 1, 1, 4, 7], [1, 2, 23, 1, 1, 4, 7], [1, 0, 25, 1, 1, 4, 7],
            [1, 0, 23, 0xFFFF_FFFF, 1, 4, 7],
            [1, 0, 23, 1, 1, 0x7FFF_FFFF, 7],
        ] as [[UInt32]] {
            #expect(values(words) == nil, "\(words)")
        }
    }

    // MARK: LIKE

    @Test func aPatternIsARangeOfBytes() {
        func test(_ pattern: String) -> BoundConstraint.Test? { LikePattern.test(Array(pattern.utf8)) }
        func range(_ lower: String, _ upper: String) -> BoundConstraint.Test {
            .range(
                lower: .init(value: .bytes(Array(lower.utf8)), isInclusive: true),
                upper: .init(value: .bytes(Array(upper.utf8)), isInclusive: false))
        }
        #expect(test("abc%") == range("abc", "abd") && test("abc_") == range("abc", "abd"))
        #expect(test("a%c") == range("a", "b"))
        #expect(test("abc") == .among([.bytes(Array("abc".utf8))]) && test("") == .among([.bytes([])]))
        #expect(test("a\\%b") == .among([.bytes(Array("a%b".utf8))]) && test("a\\\\%") == range("a\\", "a]"))
        #expect(test("a\\_%") == range("a_", "a`") && test("\\a%") == range("a", "b"))
        #expect(test("%abc") == .isNotNull && test("_") == .isNotNull && test("abc\\") == nil)
        let highest = BoundConstraint.Limit(value: .bytes([0xFF]), isInclusive: true)
        #expect(LikePattern.test([0xFF, 0x25]) == .range(lower: highest, upper: nil))
        #expect(LikePattern.test([0x61, 0xFF, 0x25]) == .range(
            lower: .init(value: .bytes([0x61, 0xFF]), isInclusive: true),
            upper: .init(value: .bytes([0x62]), isInclusive: false)))
        let constraint = BoundConstraint(column: 0, test: test("ab%") ?? .isNull)
        let texts = [
            ("ab", true), ("abz", true), ("ab\u{FFFF}", true), ("a", false), ("ac", false), ("aa", false), ("", false),
        ]
        for (text, holds) in texts {
            #expect(constraint.mayHold(.value(.bytes(Array(text.utf8)))) == holds, "\(text)")
        }
    }
}
