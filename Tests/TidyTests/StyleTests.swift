import Foundation
import Testing

/// How the code looks, where a rule can be checked by looking: docs and reviews say why.
///
/// Each test lists every place that breaks its rule, so that one run shows all of them.
@Suite struct StyleTests {
    let swift: SourceTree
    let sources: SourceTree
    let all: SourceTree

    init() throws {
        all = try SourceTree.whole.get()
        swift = all.filter { $0.hasSuffix(".swift") }
        sources = swift.filter { $0.hasPrefix("Sources/") }
    }

    private func expectNone(
        _ findings: [SourceTree.Finding], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let list = findings.map(\.description).joined(separator: "\n")
        #expect(findings.isEmpty, "\n\(list)", sourceLocation: sourceLocation)
    }

    /// Finds one of `words`, not as a part of a longer one; the first that is there.
    private func first(of words: [String], in text: String) -> String? {
        for word in words {
            var rest = text[...]
            while let found = rest.range(of: word) {
                let before = found.lowerBound > text.startIndex ? text[text.index(before: found.lowerBound)] : " "
                let after = found.upperBound < text.endIndex ? text[found.upperBound] : " "
                let isPart = before.isLetter || before.isNumber || before == "_"
                    || after.isLetter || after.isNumber || after == "_"
                if !isPart { return word }
                rest = text[found.upperBound...]
            }
        }
        return nil
    }

    @Test func theTreeIsThere() {
        #expect(sources.files.contains { $0.path == "Sources/main/main.swift" })
        #expect(swift.files.contains { $0.path == "Tests/TidyTests/StyleTests.swift" })
    }

    // MARK: Traps

    @Test func nothingTrapsOnWhatItDidNotExpect() {
        expectNone(sources.findings { line in
            for word in ["try!", "as!", "fatalError("] where line.code.contains(word) { return word }
            return nil
        })
    }

    @Test func nothingIsUnchecked() throws {
        let manifest = try String(
            contentsOf: swift.root.appendingPathComponent("Package.swift"), encoding: .utf8)
        #expect(!manifest.contains("-Ounchecked"))
    }

    // MARK: Concurrency: one thread, one order of events

    @Test func thereIsOneThread() {
        expectNone(sources.findings { line in
            first(
                of: ["async", "await", "actor", "DispatchQueue", "NSLock", "Mutex", "pthread_create", "Task"],
                in: line.code)
        })
    }

    // MARK: Unfinished work

    @Test func nothingIsLeftToDo() {
        let words = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]
        expectNone(all.findings { first(of: words, in: $0.text) })
    }

    // MARK: Sizes

    @Test func linesAreAtMost120ColumnsLong() {
        expectNone(all.findings { line in
            line.text.count > 120 ? "\(line.text.count) columns" : nil
        })
    }

    @Test func filesAreAtMost700LinesLong() {
        for file in all.files {
            #expect(file.lines.count <= 701, "\(file.path) has \(file.lines.count) lines")
        }
    }

    @Test func linesHaveNoTabsAndNoSpacesAtTheEnd() {
        expectNone(swift.findings { line in
            if line.text.contains("\t") { return "a tab" }
            return line.text.hasSuffix(" ") ? "a space at the end" : nil
        })
    }

    // MARK: Names

    @Test func typesSayWhatTheyAre() {
        let endings = ["Manager", "Handler", "Helper", "Helpers", "Util", "Utils", "Context", "Processor",
                       "Service", "Info"]
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "actor", "typealias"]
        expectNone(swift.findings { line in
            let words = line.code.split { !($0.isLetter || $0.isNumber || $0 == "_") }
            guard let kind = words.firstIndex(where: { kinds.contains($0) }), kind + 1 < words.count
            else { return nil }
            return endings.contains { words[kind + 1].hasSuffix($0) } ? String(words[kind + 1]) : nil
        })
    }

    @Test func filesSayWhatTheyAre() {
        for file in swift.files {
            let name = file.path.split(separator: "/").last.map(String.init) ?? ""
            for word in ["Utils", "Util.", "Helper", "Misc", "Common", "Extensions"] {
                #expect(!name.contains(word), "\(file.path)")
            }
        }
    }

    @Test func theExecutableIsOneFile() throws {
        let main = try #require(sources.files.first { $0.path == "Sources/main/main.swift" })
        #expect(main.lines.count { !$0.code.allSatisfy(\.isWhitespace) } <= 20)
        #expect(sources.files.count { $0.path.hasSuffix("/main.swift") } == 1)
    }

    // MARK: Headers

    @Test func filesOpenWithWhatTheyAreFor() {
        for file in sources.files where !file.path.hasSuffix("/main.swift") {
            let hasComment = file.lines.contains { $0.text.trimmingCharacters(in: .whitespaces).hasPrefix("///") }
            #expect(hasComment, "\(file.path) has no documentation comment")
        }
    }

    // MARK: Tests

    @Test func testsDoNotSleep() {
        let tests = all.filter { $0.hasPrefix("Tests/") }
        expectNone(tests.filter { $0.hasSuffix(".swift") }.findings {
            first(of: ["sleep", "usleep", "nanosleep"], in: $0.code)
        })
        // In Python only the place where conditions are polled may let time pass.
        expectNone(tests.filter { $0.hasSuffix(".py") && !$0.hasSuffix("/waiting.py") }.findings {
            $0.text.contains("time.sleep(") ? "time.sleep" : nil
        })
    }

    @Test func everyModuleHasItsTests() {
        for module in ["CDC", "Cache", "Loop", "Protocol", "Shell"] {
            #expect(swift.files.contains { $0.path.hasPrefix("Tests/\(module)Tests/") }, "\(module)")
        }
    }
}
