import PGProtocol
import Testing

@testable import Cache

@Suite struct StatementPreviewTests {
    private func preview(_ text: String) -> String {
        withView(Array(text.utf8)) { StatementPreview.of($0) }
    }

    @Test(arguments: [
        ("select id from item where name = 'very private'", "select id from item where name = ?"),
        ("select 'it''s', E'a\\'b', b'01', N'x' from t", "select ?, ?, b?, N? from t"),
        ("select * from t where a=1 and b=-2.5e-3 and c=.5", "select * from t where a=? and b=-? and c=?"),
        ("select 0x1F, 1_000, 1e5 from t", "select ?, ?, ? from t"),
        ("select c1, t2.c3 from t2", "select c1, t2.c3 from t2"),
        ("select a from t limit 10 offset 20", "select a from t limit ? offset ?"),
        ("select $1, $12 from t", "select $1, $12 from t"),
        ("select $$secret$$, $a$se$$cret$a$ from t", "select ?, ? from t"),
        ("select \"a 1\", U&\"d\" from t", "select \"a 1\", U&\"d\" from t"),
        ("select a /* user 7 /* nested 8 */ 9 */ from t -- 10\nwhere b", "select a from t where b"),
        ("select\n\t a\r\n from t", "select a from t"),
        ("select größe from t", "select größe from t"),
        ("create role r password 'p'", "create role r password ?"),
        ("", ""),
    ])
    func constantsAndCommentsDisappear(text: String, expected: String) {
        #expect(preview(text) == expected)
    }

    @Test(arguments: [
        "select 'secret", "select $$secret", "select $x$secret", "select /* secret", "select E'secret\\",
        "select 'a\\' or b = 'secret'", "select -- secret",
    ])
    func whatIsLeftOpenIsNotShown(text: String) {
        #expect(!preview(text).contains("secret"))
    }

    @Test func thePreviewIsShort() {
        let many = "select a from t where b in (" + (1...5000).map { "\($0)" }.joined(separator: ",") + ")"
        let shown = preview(many)
        #expect(shown.utf8.count <= StatementPreview.bytesMax + 8)
        #expect(shown.hasPrefix("select a from t where b in (?,?,"))
        #expect(shown.hasSuffix("…"))
    }

    /// The cut never makes a constant look like a name.
    @Test func noBeginningOfATextShowsMore() {
        let text = Array("select 'secret', E'se\\'cret', $t$secret$t$ /* secret */ -- secret".utf8)
        for count in 0...text.count {
            let shown = withView(Array(text[..<count])) { StatementPreview.of($0) }
            #expect(!shown.contains("sec") && !shown.contains("cret"), "\(shown)")
        }
    }

    @Test func anyBytesAreTaken() {
        for seed in 0..<2000 {
            var state = UInt64(seed)
            let bytes = (0..<40).map { _ -> UInt8 in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Array("'\"$/*-e1a.\\ \n\u{FF}".utf8)[Int(state >> 33) % 14]
            }
            _ = withView(bytes) { StatementPreview.of($0) }
        }
    }
}
