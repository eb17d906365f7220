import Logging
import Testing

@testable import Shell

private final class FixedPages: AdminPages {
    var isReady = false
    func readiness() -> (isReady: Bool, reason: String) { (isReady, "the change stream is down") }
    func status() -> JSON { ["uptime_ms": 5, "name": "a\"b\n\u{1}ü", "list": [1, 2.5, nil, true]] }
    func metrics() -> [MetricValue] {
        [
            MetricValue(.queriesCacheHit, 3),
            MetricValue(.queriesForwarded, 1, [.init("reason", "no\"t\\se\nlect")]),
            MetricValue(.connectionsActive, 2),
            MetricValue(.queriesForwarded, 4, [.init("reason", "locking")]),
            MetricValue(.cdcLagSeconds, Double.infinity),
            MetricValue(.processProcessorSeconds, 0.25),
        ]
    }
}

struct AdminTests {
    @Test func aLivingProcessIsHealthyAndReadyOnceItSaysSo() {
        let pages = FixedPages()
        #expect(AdminServer.page(method: "GET", path: "/healthz", pages).status == 200)
        let waiting = AdminServer.page(method: "GET", path: "/readyz", pages)
        #expect(waiting.status == 503)
        #expect(waiting.body == "the change stream is down\n")
        pages.isReady = true
        #expect(AdminServer.page(method: "GET", path: "/readyz", pages).status == 200)
    }

    @Test func otherPathsAndMethodsAreRefused() {
        let pages = FixedPages()
        #expect(AdminServer.page(method: "GET", path: "/", pages).status == 404)
        #expect(AdminServer.page(method: "POST", path: "/status", pages).status == 405)
        #expect(AdminServer.page(method: "HEAD", path: "/status", pages).status == 200)
        #expect(AdminServer.page(method: "GET", path: "/status", nil).status == 503)
    }

    @Test func statusIsJSON() {
        let page = AdminServer.page(method: "GET", path: "/status", FixedPages())
        #expect(page.contentType == "application/json")
        #expect(
            page.body
                == "{\"uptime_ms\":5,\"name\":\"a\\\"b\\n\\u0001ü\",\"list\":[1,2.5,null,true]}\n")
    }

    @Test func metricsHaveOneHeadPerFamily() {
        let page = AdminServer.page(method: "GET", path: "/metrics", FixedPages())
        #expect(
            page.body == """
                # HELP pgcache_queries_cache_hit Statements answered from the cache.
                # TYPE pgcache_queries_cache_hit counter
                pgcache_queries_cache_hit 3
                # HELP pgcache_queries_forwarded Statements forwarded, by reason.
                # TYPE pgcache_queries_forwarded counter
                pgcache_queries_forwarded{reason="no\\"t\\\\se\\nlect"} 1
                pgcache_queries_forwarded{reason="locking"} 4
                # HELP pgcache_connections_active Client connections now.
                # TYPE pgcache_connections_active gauge
                pgcache_connections_active 2
                # HELP pgcache_cdc_lag_seconds Age of the newest applied change, by the origin's clock.
                # TYPE pgcache_cdc_lag_seconds gauge
                pgcache_cdc_lag_seconds +Inf
                # HELP pgcache_process_cpu_seconds Processor time of the process.
                # TYPE pgcache_process_cpu_seconds counter
                pgcache_process_cpu_seconds 0.25

                """)
    }

    @Test func everyMetricHasItsOwnName() {
        #expect(Set(Metric.allCases.map(\.name)).count == Metric.allCases.count)
        #expect(Metric.markdown.contains("| `pgcache_cdc_lag_bytes` | gauge |"))
    }
}

struct LogTests {
    private final class Lines: @unchecked Sendable {
        var text = ""
    }

    @Test func aLineIsTimeLevelMessageAndFacts() {
        let lines = Lines()
        var log = Logger(label: "test") { _ in
            LineLog(level: .info, wallClock: { 1_709_210_096_000_007 }) { bytes in
                lines.text += String(decoding: bytes, as: UTF8.self)
            }
        }
        log.debug("below the level")
        log.info("listening", metadata: ["socket": "127.0.0.1:6432", "note": "two words"])
        log.logLevel = .debug
        log.debug("two\nlines")
        #expect(
            lines.text == """
                2024-02-29T12:34:56.000007Z info listening note="two words" socket=127.0.0.1:6432
                2024-02-29T12:34:56.000007Z debug two lines

                """)
    }

    @Test(arguments: [
        (UInt64(0), "1970-01-01T00:00:00.000000Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (4_107_542_399_000_000, "2100-02-28T23:59:59.000000Z"),
        (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
    ])
    func datesAreGregorian(microseconds: UInt64, text: String) {
        #expect(TimestampText.text(microsecondsSince1970: microseconds) == text)
    }
}
