import PGProtocol
import Testing

@testable import Cache

@Suite struct ExplainCallTests {
    private func call(_ sql: String) -> ExplainCall {
        withView(Array(sql.utf8)) {
            StatementParser.parse($0, standardConformingStrings: true, bytesMax: 1 << 16).explainCall
        }
    }

    @Test("Only a lone call with a text or a parameter asks pgcache")
    func forms() {
        #expect(call("SELECT pgcache_explain('select 1')") == .constant(Array("select 1".utf8)))
        #expect(call("select PGCACHE_EXPLAIN($1);") == .parameter)
        #expect(call("select pgcache_explain('it''s')") == .constant(Array("it's".utf8)))
        for sql in [
            "select pgcache_explain()", "select pgcache_explain('a', 'b')", "select pgcache_explain(null)",
            "select pgcache_explain(1)", "select pgcache_explain($2)", "select pgcache_explain('a'), 1",
            "select s.pgcache_explain('a')", "select pgcache_explain('a') from t",
            "select pgcache_explain('a') limit 0",
            "select pgcache_explain('a') union select 'b'", "select pgcache_explain('a'); select 1", "pgcache_explain",
            "explain select pgcache_explain('a')",
        ] { #expect(call(sql) == .none, "\(sql)") }
    }
}
