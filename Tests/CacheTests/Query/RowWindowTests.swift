import PGProtocol
import Testing

@testable import Cache

/// Where LIMIT and OFFSET stand, and what is in front of them.
@Suite struct RowWindowTests {
    private func window(_ text: String) -> (base: String, limit: RowWindow.Bound, offset: RowWindow.Bound)? {
        withView(Array(text.utf8)) { view in
            let window = RowWindow(view)
            guard window.isKnown else { return nil }
            return (view.slice(from: 0, count: window.baseCount).string, window.limit, window.offset)
        }
    }

    @Test(arguments: [
        ("select a from t", RowWindow.Bound.absent, RowWindow.Bound.absent),
        ("select a from t ;", .absent, .absent),
        ("select a from t limit 5", .constant(5), .absent),
        ("select a from t LIMIT 5 OFFSET 10;", .constant(5), .constant(10)),
        ("select a from t offset 10 limit 5 -- page", .constant(5), .constant(10)),
        ("select a from t\n/* page */ limit $1", .parameter(1), .absent),
        ("select a from t limit $2 offset $1", .parameter(2), .parameter(1)),
        ("select a from t offset 0", .absent, .constant(0)),
    ])
    func aWindowIsFound(text: String, limit: RowWindow.Bound, offset: RowWindow.Bound) throws {
        let found = try #require(window(text))
        #expect(found.base == "select a from t" && found.limit == limit && found.offset == offset)
    }

    @Test func onlyTheOuterOneCounts() throws {
        let found = try #require(window("select a from (select b from t limit 3) x limit 2"))
        #expect(found.base == "select a from (select b from t limit 3) x" && found.limit == .constant(2))
        #expect(window("(select a from t limit 3)")?.limit == .absent)
    }

    @Test(arguments: [
        "select a from t limit all", "select a from t limit null", "select a from t limit 1 + 1",
        "select a from t limit -1",
        "select a from t limit 1.5", "select a from t limit '1'", "select a from t limit (1)",
        "select a from t limit 1::int",
        "select a from t fetch first 5 rows only", "select a from t fetch first 5 rows with ties",
        "select a from t offset 5 rows", "select a from t offset 5 fetch next 2 rows only",
        "select a from t limit 1 for update",
        "select a from t where b = $1 limit $1", "select a from t limit $1 offset $1",
        "select a from t limit 1 limit 2",
        "select a from t limit 1; select 2", "select a from t limit", "select a from t limit 9999999999999999",
        "select 'a\\' limit 5", "select /* limit 5", "", "limit 5",
    ])
    func whatIsNotPlainIsNone(text: String) {
        #expect(window(text) == nil)
    }
}
