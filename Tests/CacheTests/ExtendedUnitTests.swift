import PGProtocol
import Testing

@testable import Cache

/// Which messages of the extended protocol are decided on together.
@Suite struct ExtendedUnitTests {
    private func scan(_ bytes: [UInt8]) -> String {
        withView(bytes) { view in
            let unit = ExtendedUnit.scan(view)
            switch unit.outcome {
            case .incomplete(let needed): return "incomplete \(needed)"
            case .preparation: return "preparation \(Wire.types(Array(bytes.prefix(unit.end))))"
            case .execution:
                let following = unit.following == 0 ? "-" : String(Unicode.Scalar(unit.following))
                return "execution \(Wire.types(Array(bytes.prefix(unit.end)))) before \(following)"
            case .messages: return "messages \(Wire.types(Array(bytes.prefix(unit.end))))"
            case .message: return "message \(Wire.types(Array(bytes.prefix(unit.end))))"
            case .oversize: return "oversize \(unit.end)"
            case .malformed: return "malformed"
            }
        }
    }

    private let parse = Wire.parse("select 1", name: "s")
    private let unnamed = Wire.parse("select 1")

    @Test func anExecutionIsParseBindDescribeExecute() {
        #expect(scan(Wire.execution("select 1") + Wire.sync) == "execution PBDE before S")
        #expect(scan(unnamed + Wire.bind() + Wire.execute() + Wire.sync) == "execution PBE before S")
        #expect(scan(Wire.bind("s") + Wire.execute() + Wire.flush) == "execution BE before H")
        #expect(scan(Wire.bind("s") + Wire.describe("P") + Wire.execute() + parse) == "execution BDE before P")
    }

    @Test func aPreparationIsParseAndDescribe() {
        #expect(scan(parse + Wire.describe("S", "s") + Wire.sync) == "preparation PD")
        #expect(scan(parse + Wire.sync) == "preparation P")
        #expect(scan(Wire.describe("S", "s") + Wire.flush) == "preparation D")
        #expect(scan(parse + parse + Wire.sync) == "preparation P")
    }

    @Test func anExecutionOfAnotherStatementIsAnotherUnit() {
        #expect(scan(parse + Wire.bind("other") + Wire.execute() + Wire.sync) == "preparation P")
        #expect(scan(parse + Wire.describe("S", "other") + Wire.sync) == "preparation P")
    }

    @Test func aBindWithoutItsExecuteStandsAsItIs() {
        #expect(scan(Wire.bind("s") + Wire.sync) == "messages B")
        #expect(scan(Wire.bind("s") + Wire.describe("P", "p") + Wire.sync) == "messages B")
        #expect(scan(Wire.bind("s") + Wire.execute(portal: "p") + Wire.sync) == "messages B")
        #expect(scan(Wire.execute() + Wire.sync) == "message E")
    }

    @Test func describeIsOfAStatementOrAPortalAndNothingElse() {
        #expect(scan(Wire.bind("s") + Wire.describe("X") + Wire.execute() + Wire.sync) == "messages B")
        let longer = Wire.message("D") { $0.append(Array("P\u{0}more".utf8)) }
        #expect(scan(Wire.bind("s") + longer + Wire.execute() + Wire.sync) == "messages B")
    }

    /// A Sync with a body would be answered with an error.
    @Test func aSyncWithABodyIsNone() {
        let sync = Wire.message("S") { $0.uint8(0) }
        #expect(scan(Wire.bind("s") + Wire.execute() + sync) == "execution BE before -")
    }

    @Test func everyByteThatIsMissingIsAskedFor() {
        let bytes = Wire.execution("select 1") + Wire.sync
        for count in 0..<(bytes.count) {
            let told = scan(Array(bytes.prefix(count)))
            #expect(told.hasPrefix("incomplete"), "\(count): \(told)")
            #expect((Int(told.dropFirst(11)) ?? 0) > count)
        }
    }

    @Test func lengthsThatCannotBe() {
        #expect(scan([80, 0, 0, 0, 3]) == "malformed")
        #expect(scan([80, 0, 0, 0, 4]) == "message P")
        #expect(scan([80, 255, 255, 255, 255]) == "oversize 4294967296")
        #expect(scan(parse + [66, 0, 0, 0, 0]) == "preparation P")
        #expect(scan(parse + [66, 255, 255, 255, 255]) == "preparation P")
    }

    @Test func messagesWithoutTheirNamesStandAlone() {
        #expect(scan(Wire.message("P") { $0.append([1, 2, 3]) } + Wire.sync) == "message P")
        #expect(scan(Wire.message("B") { $0.append([0, 2, 3]) } + Wire.sync) == "message B")
        #expect(scan(Wire.message("D") { $0.append([83]) } + Wire.sync) == "message D")
        #expect(scan(Wire.message("E") + Wire.sync) == "message E")
    }

    @Test func aRowLimitIsTheEndOfExecute() {
        withView(Wire.bind("s") + Wire.execute(limit: 7) + Wire.sync) {
            #expect(ExtendedUnit.scan($0).rowLimit == 7)
        }
        #expect(ExtendedUnit().rowLimit == 0)
    }
}
