import Glibc
import PGProtocol

/// The entry points of libFuzzer: one program for all decoders of outside bytes.
///
/// `FUZZ_TARGET` names the target; what is a crash to libFuzzer is a trap, a memory error that
/// AddressSanitizer sees, or a broken `expect` in a target. Built and run by scripts/fuzz only, with
/// every module instrumented and with the assertions of a debug build.
enum FuzzTarget: String, CaseIterable {
    case frontend, backend, startup, pgoutput, statement, bind, catalog, settings

    func run(_ input: FuzzInput) {
        switch self {
        case .frontend: FrontendTarget.run(input)
        case .backend: BackendTarget.run(input)
        case .startup: StartupTarget.run(input)
        case .pgoutput: PgOutputTarget.run(input)
        case .statement: StatementTarget.run(input)
        case .bind: BindTarget.run(input)
        case .catalog: CatalogTarget.run(input)
        case .settings: SettingsTarget.run(input)
        }
    }

    /// Chosen once, before the first input.
    static let chosen: FuzzTarget = {
        let name = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
        guard let target = FuzzTarget(rawValue: name) else {
            let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
            print("FUZZ_TARGET must be one of \(names)")
            exit(2)
        }
        return target
    }()
}

@_cdecl("LLVMFuzzerInitialize")
func initializeFuzzer(
    _ count: UnsafeMutablePointer<CInt>?,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> CInt {
    _ = FuzzTarget.chosen
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    FuzzTarget.chosen.run(FuzzInput(ByteView(UnsafeRawBufferPointer(start: bytes, count: count))))
    return 0
}

/// What must hold whatever the bytes are.
func expect(_ condition: Bool, _ sentence: @autoclosure () -> String) {
    if !condition { fatalError(sentence()) }
}

/// What happens, told with `FUZZ_TRACE=1`: for whoever looks at one input.
enum Trace {
    private static let isOn = getenv("FUZZ_TRACE") != nil

    static func line(_ words: @autoclosure () -> String) {
        if isOn { print(words()) }
    }
}
