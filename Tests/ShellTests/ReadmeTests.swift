import Cache
import Foundation
import Testing

@testable import Shell

/// The README's tables are what the code prints.
struct ReadmeTests {
    private let text: String

    init() throws {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        text = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
    }

    /// What stands between `<!-- name -->` and `<!-- /name -->`.
    private func part(_ name: String) -> String? {
        guard let from = text.range(of: "<!-- \(name) -->\n"),
            let to = text.range(of: "\n<!-- /\(name) -->"), from.upperBound <= to.lowerBound
        else { return nil }
        return String(text[from.upperBound..<to.lowerBound])
    }

    @Test func settingsAreThoseOfTheCode() {
        #expect(part("settings") == SettingsTable.markdown, "pgcache settings prints the table")
    }

    @Test func metricsAreThoseOfTheCode() {
        #expect(part("metrics") == Metric.markdown, "pgcache settings --metrics prints the table")
    }

    @Test(arguments: ForwardReason.allCases)
    func everyReasonToForwardIsExplained(reason: ForwardReason) {
        let isExplained = text.contains("`\(reason.rawValue)`")
        #expect(isExplained, "the README's table of reasons lacks it")
    }

    @Test func theWalkLeadsToFilesThatExist() throws {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let links = text.matches(of: /\]\(([A-Za-z][^)]*)\)/).map { String($0.output.1) }
        #expect(links.count > 5)
        for link in links {
            let path = root.appendingPathComponent(link).path
            #expect(FileManager.default.fileExists(atPath: path), "\(link)")
        }
    }
}
