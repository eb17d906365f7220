import CDC
import PGProtocol

/// Writes what a walsender would, for tests.
enum StreamBytes {
    static func message(_ type: Character, _ body: (inout ByteWriter) -> Void) -> [UInt8] {
        var writer = ByteWriter()
        writer.uint8(type.asciiValue ?? 0)
        body(&writer)
        return writer.bytes
    }

    static func begin(_ xid: UInt32, final: UInt64, at time: UInt64 = 1_000) -> [UInt8] {
        message("B") {
            $0.uint64(final)
            $0.uint64(time)
            $0.uint32(xid)
        }
    }

    static func commit(_ lsn: UInt64, end: UInt64, at time: UInt64 = 1_000) -> [UInt8] {
        message("C") {
            $0.uint8(0)
            $0.uint64(lsn)
            $0.uint64(end)
            $0.uint64(time)
        }
    }

    static func relation(
        _ oid: UInt32, _ schema: String = "public", _ name: String = "orders",
        columns: [String] = ["id", "status"]
    ) -> [UInt8] {
        message("R") {
            $0.uint32(oid)
            $0.cString(schema)
            $0.cString(name)
            $0.uint8(UInt8(ascii: "d"))
            $0.uint16(UInt16(columns.count))
            for (index, column) in columns.enumerated() {
                $0.uint8(index == 0 ? 1 : 0)
                $0.cString(column)
                $0.uint32(25)
                $0.uint32(UInt32(bitPattern: -1))
            }
        }
    }

    static func image(_ row: RowImage, _ writer: inout ByteWriter) {
        writer.uint16(UInt16(row.count))
        for column in row {
            switch column {
            case .null: writer.uint8(UInt8(ascii: "n"))
            case .unchanged: writer.uint8(UInt8(ascii: "u"))
            case .text(let value), .binary(let value):
                if case .text = column {
                    writer.uint8(UInt8(ascii: "t"))
                } else {
                    writer.uint8(UInt8(ascii: "b"))
                }
                writer.uint32(UInt32(value.count))
                writer.append(value)
            }
        }
    }

    static func insert(_ relation: UInt32, _ row: RowImage) -> [UInt8] {
        message("I") {
            $0.uint32(relation)
            $0.uint8(UInt8(ascii: "N"))
            image(row, &$0)
        }
    }

    static func update(
        _ relation: UInt32, old: (mark: Character, row: RowImage)? = nil, new: RowImage
    ) -> [UInt8] {
        message("U") {
            $0.uint32(relation)
            if let old {
                $0.uint8(old.mark.asciiValue ?? 0)
                image(old.row, &$0)
            }
            $0.uint8(UInt8(ascii: "N"))
            image(new, &$0)
        }
    }

    static func delete(_ relation: UInt32, _ mark: Character, _ row: RowImage) -> [UInt8] {
        message("D") {
            $0.uint32(relation)
            $0.uint8(mark.asciiValue ?? 0)
            image(row, &$0)
        }
    }

    static func truncate(_ relations: [UInt32], options: UInt8 = 0) -> [UInt8] {
        message("T") {
            $0.uint32(UInt32(relations.count))
            $0.uint8(options)
            for relation in relations { $0.uint32(relation) }
        }
    }

    static func logical(
        _ prefix: String, _ content: String, transactional: Bool, lsn: UInt64 = 77
    ) -> [UInt8] {
        message("M") {
            $0.uint8(transactional ? 1 : 0)
            $0.uint64(lsn)
            $0.cString(prefix)
            $0.uint32(UInt32(content.utf8.count))
            $0.append(Array(content.utf8))
        }
    }

    static func origin(_ name: String) -> [UInt8] {
        message("O") {
            $0.uint64(9)
            $0.cString(name)
        }
    }

    static func type(_ oid: UInt32) -> [UInt8] {
        message("Y") {
            $0.uint32(oid)
            $0.cString("public")
            $0.cString("mood")
        }
    }

    /// One of each, as valid as they come.
    static let specimens: [[UInt8]] = [
        begin(7, final: 100), commit(100, end: 148), origin("elsewhere"), relation(16_400),
        type(16_390), insert(16_400, [text("1"), .null]),
        update(16_400, new: [text("1"), .unchanged]),
        update(16_400, old: ("K", [text("1"), .null]), new: [text("2"), .unchanged]),
        update(16_400, old: ("O", [text("1"), text("a")]), new: [text("2"), .binary([1, 2])]),
        delete(16_400, "K", [text("1"), .null]), delete(16_400, "O", [text("1"), text("b")]),
        truncate([16_400, 16_401], options: 3), logical("pgcache", "ddl", transactional: true),
    ]

    static func text(_ value: String) -> ColumnImage { .text(Array(value.utf8)) }

    static func walData(_ payload: [UInt8], at lsn: UInt64 = 0, clock: UInt64 = 2_000) -> [UInt8] {
        message("w") {
            $0.uint64(lsn)
            $0.uint64(lsn)
            $0.uint64(clock)
            $0.append(payload)
        }
    }

    static func keepalive(_ end: UInt64, clock: UInt64 = 2_000, reply: Bool = false) -> [UInt8] {
        message("k") {
            $0.uint64(end)
            $0.uint64(clock)
            $0.uint8(reply ? 1 : 0)
        }
    }
}

/// A small generator with a seed, so that a failing run can be repeated.
struct Seeded {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func below(_ limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(limit))
    }
}

extension Instant {
    static func ms(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: milliseconds * 1_000_000)
    }
}
