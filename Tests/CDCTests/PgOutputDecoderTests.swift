import CDC
import PGProtocol
import Testing

@Suite struct PgOutputDecoderTests {
    private func decode(_ bytes: [UInt8]) throws -> PgOutputMessage {
        try withView(bytes) { try PgOutputDecoder.decode($0) }
    }
    private func text(_ value: String) -> ColumnImage { StreamBytes.text(value) }

    @Test func transactionsBeginAndEnd() throws {
        #expect(
            try decode(StreamBytes.begin(7, final: 100, at: 5))
                == .begin(finalLSN: LSN(100), commitMicroseconds: 5, narrowID: 7))
        #expect(
            try decode(StreamBytes.commit(100, end: 148, at: 6))
                == .commit(commitLSN: LSN(100), endLSN: LSN(148), commitMicroseconds: 6))
        #expect(
            try decode(StreamBytes.origin("elsewhere"))
                == .origin(commitLSN: LSN(9), name: "elsewhere"))
    }

    @Test func relationsAndTypesAreDescribed() throws {
        guard case .relation(let shape) = try decode(StreamBytes.relation(16_400, "", "Or\"ders")) else {
            Issue.record("not a relation")
            return
        }
        #expect(shape.oid == OID(16_400))
        #expect(shape.schema == "pg_catalog", "the empty name stands for it")
        #expect(shape.name == "Or\"ders")
        #expect(shape.replicaIdentity == UInt8(ascii: "d"))
        #expect(shape.columns.map(\.name) == ["id", "status"])
        #expect(shape.columns.map(\.isKey) == [true, false])
        #expect(shape.columns.map(\.typeModifier) == [-1, -1])
        #expect(
            try decode(StreamBytes.type(16_390))
                == .type(oid: OID(16_390), schema: "public", name: "mood"))
    }

    @Test func everyFormOfRowChangeHasItsImages() throws {
        func change(_ bytes: [UInt8]) throws -> RowChange.Kind? {
            guard case .change(let change) = try decode(bytes) else { return nil }
            #expect(change.relation == OID(1))
            return change.kind
        }
        let row: RowImage = [text("1"), .null, .unchanged, .binary([0, 255])]
        let old: RowImage = [text("0"), .null]
        #expect(try change(StreamBytes.insert(1, row)) == .insert(new: row))
        #expect(try change(StreamBytes.update(1, new: row)) == .update(old: .absent, new: row))
        #expect(
            try change(StreamBytes.update(1, old: ("K", old), new: row))
                == .update(old: .key(old), new: row))
        #expect(
            try change(StreamBytes.update(1, old: ("O", old), new: row))
                == .update(old: .full(old), new: row))
        #expect(try change(StreamBytes.delete(1, "K", old)) == .delete(old: .key(old)))
        #expect(try change(StreamBytes.delete(1, "O", old)) == .delete(old: .full(old)))
    }

    @Test func truncateNamesItsRelations() throws {
        #expect(
            try decode(StreamBytes.truncate([3, 4], options: 3))
                == .truncate(relations: [OID(3), OID(4)], cascades: true, restartsIdentity: true))
        #expect(
            try decode(StreamBytes.truncate([3]))
                == .truncate(relations: [OID(3)], cascades: false, restartsIdentity: false))
    }

    @Test(arguments: [true, false]) func logicalMessagesKeepTheirContent(transactional: Bool) throws {
        #expect(
            try decode(StreamBytes.logical("app", "a\u{0}b", transactional: transactional))
                == .message(
                    LogicalMessage(
                        lsn: LSN(77), isTransactional: transactional, prefix: "app", content: [97, 0, 98])))
    }

    @Test(arguments: "SEcAbPKrp".utf8) func laterProtocolVersionsAreNamed(type: UInt8) {
        #expect(throws: PgOutputError.notAskedFor(type: type)) { try decode([type, 0, 0, 0, 0]) }
    }

    @Test func unknownTypesAndNothingAtAllAreErrors() {
        #expect(throws: PgOutputError.unknown(type: 0)) { try decode([0]) }
        #expect(throws: PgOutputError.self) { try decode([]) }
    }

    @Test func everyTruncationIsAnError() throws {
        for specimen in StreamBytes.specimens {
            _ = try decode(specimen)
            for length in 0..<specimen.count {
                #expect(throws: PgOutputError.self) { try decode(Array(specimen.prefix(length))) }
            }
            #expect(throws: PgOutputError.self) { try decode(specimen + [0]) }
        }
    }

    @Test func noMutationTraps() {
        var random = Seeded(1)
        for _ in 0..<20_000 {
            var bytes = StreamBytes.specimens[random.below(StreamBytes.specimens.count)]
            for _ in 0...random.below(4) {
                bytes[random.below(bytes.count)] = UInt8(random.below(256))
            }
            _ = try? decode(bytes)
            _ = try? withView(bytes) { try ReplicationMessage($0) }
        }
    }

    @Test func hugeCountsReserveNothing() {
        let truncate = StreamBytes.message("T") {
            $0.uint32(.max)
            $0.uint8(0)
        }
        let value = StreamBytes.message("I") {
            $0.uint32(1)
            $0.uint8(UInt8(ascii: "N"))
            $0.uint16(1)
            $0.uint8(UInt8(ascii: "t"))
            $0.uint32(UInt32(bitPattern: -5))
        }
        #expect(throws: PgOutputError.self) { try decode(truncate) }
        #expect(throws: PgOutputError.self) { try decode(value) }
    }
}

@Suite struct ReplicationMessageTests {
    @Test func walDataIsUnwrapped() throws {
        try withView(StreamBytes.walData([1, 2, 3], at: 50, clock: 9)) { view in
            guard case .walData(let start, let end, let clock, let payload) =
                try ReplicationMessage(view)
            else {
                Issue.record("not XLogData")
                return
            }
            #expect(start == LSN(50) && end == LSN(50) && clock == 9)
            #expect(payload.bytes == [1, 2, 3])
        }
    }

    @Test func keepalivesAreRead() throws {
        try withView(StreamBytes.keepalive(60, clock: 8, reply: true)) { view in
            guard case .keepalive(let end, let clock, let reply) = try ReplicationMessage(view) else {
                Issue.record("not a keepalive")
                return
            }
            #expect(end == LSN(60) && clock == 8 && reply)
        }
    }

    @Test func otherBytesAreErrors() {
        for bytes: [UInt8] in [[], [0], [UInt8(ascii: "w"), 1], StreamBytes.keepalive(1) + [0]] {
            #expect(throws: ProtocolError.self) {
                try withView(bytes) { _ = try ReplicationMessage($0) }
            }
        }
    }

    @Test func statusUpdatesSayThePositionThreeTimes() {
        let bytes = ReplicationMessage.statusUpdate(
            position: LSN(0x0102), clockMicroseconds: 3, wantsReply: true)
        let position: [UInt8] = [0, 0, 0, 0, 0, 0, 1, 2]
        #expect(
            bytes == [UInt8(ascii: "r")] + position + position + position
                + [0, 0, 0, 0, 0, 0, 0, 3, 1])
    }
}
