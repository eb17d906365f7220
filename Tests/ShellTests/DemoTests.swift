import Testing

@testable import Shell

struct DemoTests {
    @Test func theLoadsResultSurvivesItsText() throws {
        var result = DemoLoad.Result()
        result.reads = 12
        result.stalenessMax = 7
        #expect(DemoLoad.Result(text: "a line before\n" + result.text + "\n") == result)
        #expect(DemoLoad.Result(text: "reads=1") == nil)
    }

    @Test func everyKeyIsDrawnAndLowOnesMoreOften() {
        var dice = DemoDice(seed: 3)
        var drawn = [Int](repeating: 0, count: DemoShop.products + 1)
        for _ in 0..<40_000 { drawn[dice.key(of: DemoShop.products)] += 1 }
        #expect(drawn[0] == 0)
        #expect(!drawn[1...].contains(0))
        #expect(drawn[1...150].reduce(0, +) > 20_000)
    }

    @Test func thereAreAtLeastAThousandKeys() {
        #expect(DemoShop.everyRead.count >= 1000)
        #expect(Set(DemoShop.everyRead.map { $0.read.sql($0.key) }).count == DemoShop.everyRead.count)
    }

    private func report(hits: Int, misses: Int, differences: Int) -> DemoReport {
        var load = DemoLoad.Result()
        load.reads = 940
        load.writes = 60
        load.readMedian = 123
        load.probes = 3
        load.neverSeen = 1
        load.stalenessMedian = 1500
        var report = DemoReport(load: load)
        report.hits = hits
        report.misses = misses
        report.differences = differences
        report.compared = 1800
        return report
    }

    @Test func equalAnswersAndEnoughHitsAreASuccess() {
        let report = report(hits: 95, misses: 5, differences: 0)
        #expect(report.status(Demo.Choice()) == 0)
        let text = report.lines(Demo.Choice()).joined(separator: "\n")
        #expect(text.contains("hit ratio 0.950"))
        #expect(text.contains("60, 6.0 % of the statements"))
        #expect(text.contains("median 0.12 ms"))
        #expect(text.contains("1 not seen within a second"))
        #expect(text.contains("1800 answers of pgcache and of the origin after the writes: 0 differ"))
        #expect(text.contains("result      ok"))
    }

    @Test func readsForwardedForAReasonCountAgainstTheHits() {
        var report = report(hits: 90, misses: 5, differences: 0)
        report.forwardedReads = ["own_write": 2, "not_yet_servable": 3]
        #expect(report.hitRatio == 0.9)
        let text = report.lines(Demo.Choice()).joined(separator: "\n")
        #expect(text.contains("forwarded 5 (not_yet_servable 3, own_write 2), hit ratio 0.900"))
    }

    @Test func reasonsAreReadFromMetrics() throws {
        let answer = try #require(
            HTTPProbe.Answer(
                """
                HTTP/1.1 200 OK\r\n\r\npgcache_queries_forwarded{reason="own_write"} 4
                pgcache_queries_forwarded{reason="not_select"} 7
                pgcache_queries_cache_hit 9
                """))
        #expect(answer.reasons(of: .queriesForwarded) == ["own_write": 4, "not_select": 7])
        #expect(answer.metric(.queriesForwarded) == 11)
        #expect(answer.metric(.queriesCacheHit) == 9)
    }

    @Test func aDifferenceOrTooFewHitsFail() {
        #expect(report(hits: 95, misses: 5, differences: 1).status(Demo.Choice()) == 1)
        #expect(report(hits: 90, misses: 10, differences: 0).status(Demo.Choice()) == 1)
        #expect(report(hits: 0, misses: 0, differences: 0).status(Demo.Choice()) == 1)
    }

    @Test func aBrokenInvalidationMustBeNoticed() {
        let choice = Demo.Choice(breaksInvalidation: true)
        #expect(report(hits: 95, misses: 5, differences: 9).status(choice) == 1)
        #expect(report(hits: 95, misses: 5, differences: 9).lines(choice).last?.contains("noticed") == true)
        #expect(report(hits: 95, misses: 5, differences: 0).status(choice) == 2)
    }

    @Test func metricsAreSummedOverTheirLabels() throws {
        let answer = try #require(
            HTTPProbe.Answer(
                "HTTP/1.0 200 OK\r\nA: b\r\n\r\n# TYPE pgcache_queries_forwarded counter\n"
                    + "pgcache_queries_forwarded{reason=\"a\"} 2\npgcache_queries_forwarded{reason=\"b\"} 3\n"
                    + "pgcache_queries_forwarded_more 100\n"))
        #expect(answer.metric(.queriesForwarded) == 5)
        #expect(answer.metric(.queriesCacheHit) == 0)
        #expect(HTTPProbe.Answer("SSH-2.0") == nil)
        let odd = try #require(
            HTTPProbe.Answer(
                "HTTP/1.0 200 OK\r\n\r\npgcache_cdc_applied_lsn 9223372036854775807\n"
                    + "pgcache_cdc_applied_lsn 1\npgcache_cdc_lag_bytes +Inf\npgcache_cdc_lag_bytes 1e300\n"
                    + "pgcache_cdc_beats 2.0\npgcache_cdc_beats many\n"))
        #expect(odd.metric(.cdcAppliedLSN) == .max)
        #expect(odd.metric(.cdcLagBytes) == 0)
        #expect(odd.metric(.cdcBeats) == 2)
    }
}
