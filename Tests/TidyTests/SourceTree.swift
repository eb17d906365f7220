import Foundation

/// The files of this project as text, for tests about how they look.
///
/// Read once from the folder that this file lies in; generated folders, the build's own and what git
/// ignores are left out. Owned by `TidyTests`, which only reads it.
struct SourceTree {
    struct File {
        /// Relative to the root, with slashes: `Sources/Loop/Reactor.swift`.
        let path: String
        let lines: [Line]
    }

    struct Line {
        /// From 1, as editors count.
        let number: Int
        let text: String
        /// The text without comments and without what string literals contain.
        let code: String
    }

    /// A place and what is wrong there, as a compiler would print it.
    struct Finding: CustomStringConvertible {
        let path: String
        let line: Int
        let what: String
        var description: String { "\(path):\(line): \(what)" }
    }

    /// All folders with text that people write and read.
    static let whole = Result {
        try SourceTree(
            folders: ["Sources", "Tests", "perf", "scripts"], extensions: ["swift", "c", "h", "py"])
    }

    let root: URL
    let files: [File]

    init(folders: [String], extensions: [String]) throws {
        root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        var found: [File] = []
        for folder in folders {
            let base = root.appendingPathComponent(folder)
            guard let names = FileManager.default.enumerator(atPath: base.path) else { continue }
            for case let name as String in names {
                let hidden = name.split(separator: "/").contains { $0.hasPrefix(".") || $0 == "__pycache__" }
                guard !hidden, extensions.contains(where: { name.hasSuffix("." + $0) }) else { continue }
                let text = try String(contentsOf: base.appendingPathComponent(name), encoding: .utf8)
                found.append(File(path: folder + "/" + name, lines: SourceTree.lines(of: text)))
            }
        }
        files = found.sorted { $0.path < $1.path }
    }

    private init(root: URL, files: [File]) {
        self.root = root
        self.files = files
    }

    /// The part of it whose paths `matches` accepts.
    func filter(_ matches: (String) -> Bool) -> SourceTree {
        SourceTree(root: root, files: files.filter { matches($0.path) })
    }

    /// Each line, with its code separated from comments and literals; good enough for Swift and C as
    /// this project writes them: a raw string counts as code, a multi-line string as a literal.
    static func lines(of text: String) -> [Line] {
        var state = Scan.code
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map {
            Line(
                number: $0.offset + 1, text: String($0.element),
                code: code(of: Array($0.element.utf8), &state))
        }
    }

    /// What the scanner is in at the end of a line.
    private enum Scan { case code, comment, multiline }

    private static func code(of line: [UInt8], _ state: inout Scan) -> String {
        let quote = UInt8(ascii: "\""), slash = UInt8(ascii: "/"), star = UInt8(ascii: "*")
        var code: [UInt8] = []
        var isInString = false
        var at = 0
        func next(_ distance: Int) -> UInt8 { at + distance < line.count ? line[at + distance] : 0 }
        while at < line.count {
            let byte = line[at]
            let isTriple = byte == quote && next(1) == quote && next(2) == quote
            if state == .comment {
                if byte == star && next(1) == slash {
                    state = .code
                    at += 1
                }
            } else if state == .multiline {
                if isTriple {
                    state = .code
                    at += 2
                }
            } else if isInString {
                if byte == UInt8(ascii: "\\") {
                    at += 1
                } else if byte == quote {
                    isInString = false
                    code.append(byte)
                }
            } else if byte == slash && next(1) == slash {
                break
            } else if byte == slash && next(1) == star {
                state = .comment
                at += 1
            } else if isTriple {
                state = .multiline
                at += 2
            } else {
                isInString = byte == quote
                code.append(byte)
            }
            at += 1
        }
        return String(decoding: code, as: UTF8.self)
    }

    /// Every line for which `problem` names something.
    func findings(_ problem: (Line) -> String?) -> [Finding] {
        files.flatMap { file in
            file.lines.compactMap { line in
                problem(line).map { Finding(path: file.path, line: line.number, what: $0) }
            }
        }
    }
}
