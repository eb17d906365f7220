import Testing

@testable import PGProtocol

/// The first packet of a connection.
@Suite struct StartupTests {
    private func packet(_ code: UInt32, _ rest: [UInt8]) -> [UInt8] {
        var writer = ByteWriter()
        writer.lengthPrefixed { body in
            body.uint32(code)
            body.append(rest)
        }
        return writer.bytes
    }
    private func parse(_ bytes: [UInt8]) throws -> StartupPacket {
        try withView(bytes) { try StartupPacket($0) }
    }

    @Test func aSessionNamesItsParameters() throws {
        let rest = Array("user\0app\0database\0shop\0\0".utf8)
        #expect(
            try parse(packet(196_608, rest))
                == .session(
                    version: 196_608,
                    parameters: [
                        .init(name: "user", value: "app"), .init(name: "database", value: "shop"),
                    ]))
    }

    @Test func requestsForEncryptionAndCancellation() throws {
        #expect(try parse(packet(80_877_103, [])) == .sslRequest)
        #expect(try parse(packet(80_877_104, [])) == .gssEncryptionRequest)
        let key = BackendKey(process: 7, secret: [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(try parse(key.cancelRequest) == .cancel(key))
    }

    @Test func aLengthMustBePossible() throws {
        func length(_ bytes: [UInt8]) throws -> Int? {
            try withView(bytes) { try StartupPacket.length($0) }
        }
        #expect(try length([0, 0, 0]) == nil)
        #expect(try length([0, 0, 0, 8]) == 8)
        #expect(try length([0, 0, 39, 16]) == 10_000)
        for bytes: [UInt8] in [[0, 0, 0, 7], [0, 0, 39, 17], [255, 255, 255, 255], [0, 0, 0, 0]] {
            #expect(throws: ProtocolError.self) { try length(bytes) }
        }
    }

    @Test func whatIsCutOffIsAnError() {
        #expect(throws: ProtocolError.self) { try parse(packet(196_608, Array("user".utf8))) }
        #expect(throws: ProtocolError.self) { try parse(packet(196_608, Array("user\0app".utf8))) }
        #expect(throws: ProtocolError.self) { try parse(packet(80_877_102, [0, 1])) }
    }

    @Test func anotherVersionIsTheOriginsToAnswer() throws {
        #expect(try parse(packet(131_072, [1, 2])) == .session(version: 131_072, parameters: []))
    }
}
