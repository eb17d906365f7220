import Foundation
import Testing

/// Who may import whom: Protocol ← CDC ← Cache ← main → Loop.
///
/// Protocol, CDC and Cache are pure: no descriptor, no clock, no randomness, and therefore neither
/// Glibc nor Foundation. Only Loop talks to the kernel. Each C library is behind one file.
@Suite struct ImportTests {
    let tree: SourceTree

    init() throws {
        tree = try SourceTree.whole.get().filter { $0.hasPrefix("Sources/") && $0.hasSuffix(".swift") }
    }

    /// Module → what its files may import.
    static let allowed: [String: Set<String>] = [
        "Sources/Protocol": [],
        "Sources/Mutation": ["Glibc"],
        "Sources/CDC": ["PGProtocol", "Mutation"],
        "Sources/Cache": ["PGProtocol", "CDC", "Mutation", "CPgQuery", "CXXHash"],
        "Sources/Loop": ["CLoop", "Glibc"],
        "Sources/main": [
            "Loop", "PGProtocol", "CDC", "Cache", "CAdmin", "Mutation", "Shell", "Logging", "TOMLKit",
            "ArgumentParser", "Histogram",
        ],
    ]

    private func imports(of file: SourceTree.File) -> [(line: Int, module: String)] {
        file.lines.compactMap { line in
            guard line.code.contains("import ") else { return nil }
            let words = line.code.split(separator: " ").map(String.init)
            let access: Set = ["public", "internal", "private", "package"]
            guard let place = words.firstIndex(of: "import"), place + 1 < words.count,
                words[..<place].allSatisfy({ $0.hasPrefix("@") || access.contains($0) })
            else { return nil }
            // `import struct Foundation.Data` names its module second.
            let kinds: Set = ["struct", "class", "enum", "func", "protocol", "typealias", "var", "let"]
            let name = kinds.contains(words[place + 1]) ? words.last ?? "" : words[place + 1]
            return (line.number, String(name.split(separator: ".").first ?? ""))
        }
    }

    @Test(arguments: ImportTests.allowed.keys.sorted())
    func modulesImportOnlyWhatTheyMay(folder: String) throws {
        let permitted = try #require(ImportTests.allowed[folder])
        for file in tree.files where file.path.hasPrefix(folder + "/") {
            for (line, module) in imports(of: file) {
                #expect(permitted.contains(module), "\(file.path):\(line): imports \(module)")
            }
        }
    }

    /// C library → the one file or folder that knows it.
    static let places: [String: String] = [
        "CPgQuery": "Sources/Cache/Query/", "CAdmin": "Sources/main/", "CLoop": "Sources/Loop/",
    ]

    @Test(arguments: ImportTests.places.keys.sorted())
    func aCLibraryIsKnownInOnePlace(module: String) throws {
        let place = try #require(ImportTests.places[module])
        for file in tree.files where imports(of: file).contains(where: { $0.module == module }) {
            #expect(file.path.hasPrefix(place), "\(module) is imported by \(file.path)")
        }
    }

    @Test func xxHashIsBehindOneFile() {
        let users = tree.files.filter { imports(of: $0).contains { $0.module == "CXXHash" } }
        #expect(users.count <= 1, "\(users.map(\.path))")
    }

    @Test func theExecutableImportsTheShellAlone() {
        for file in tree.files where file.path == "Sources/main/main.swift" {
            for (line, module) in imports(of: file) {
                #expect(module == "Shell", "\(file.path):\(line): imports \(module)")
            }
        }
    }

    @Test func everyFolderIsAModuleThatIsKnown() {
        for file in tree.files {
            let folder = file.path.split(separator: "/").prefix(2).joined(separator: "/")
            #expect(ImportTests.allowed[folder] != nil, "\(file.path)")
        }
    }
}
