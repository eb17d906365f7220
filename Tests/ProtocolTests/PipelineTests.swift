import Testing

@testable import PGProtocol

/// Who is owed which reply.
@Suite struct PipelineTests {
    private func requests(_ pipeline: Pipeline) -> [Pipeline.Request] {
        var pipeline = pipeline
        var found: [Pipeline.Request] = []
        while pipeline.first != nil { found.append(pipeline.removeFirst().request) }
        return found
    }

    @Test func repliesBelongToRequestsInTheirOrder() {
        var pipeline = Pipeline()
        #expect(pipeline.isEmpty && pipeline.first == nil)
        for round in 0..<100 {
            for request: Pipeline.Request in [.parse, .bind, .execute, .sync] {
                pipeline.append(.init(request, isRead: round % 2 == 0))
            }
            if round > 2 { pipeline.removeFirst() }
        }
        #expect(pipeline.count == 400 - 97)
        pipeline.removeFirst()
        pipeline.removeFirst()
        pipeline.removeFirst()
        #expect(requests(pipeline).prefix(5) == [.parse, .bind, .execute, .sync, .parse])
    }

    @Test func writesAreCountedWhileTheyAreOwed() {
        var pipeline = Pipeline()
        pipeline.append(.init(.bind))
        pipeline.append(.init(.execute))
        pipeline.append(.init(.sync, isRead: true))
        #expect(pipeline.writes == 2)
        pipeline.removeFirst()
        pipeline.removeFirst()
        #expect(pipeline.writes == 0)
    }

    /// [S3] An error skips to the Sync.
    @Test func anErrorDropsWhatFollowsUpToTheSync() {
        var pipeline = Pipeline()
        for request: Pipeline.Request in [.parse, .bind, .execute, .sync, .parse, .sync] {
            pipeline.append(.init(request))
        }
        pipeline.removeFirst()
        var dropped: [Pipeline.Request] = []
        pipeline.failed { dropped.append($0.request) }
        #expect(dropped == [.bind, .execute])
        #expect(requests(pipeline) == [.sync, .parse, .sync])
        #expect(!pipeline.isSkippingToSync)
    }

    /// [S3] The Sync has not been sent yet: what is sent until then is dropped as well.
    @Test func whatIsSentBehindAnErrorIsOwedNothing() {
        var pipeline = Pipeline()
        pipeline.append(.init(.parse))
        pipeline.failed { _ in }
        #expect(pipeline.isSkippingToSync)
        let isOwed = [Pipeline.Request.bind, .sync, .bind].map { pipeline.append(.init($0)) }
        #expect(isOwed == [false, true, true])
        #expect(!pipeline.isSkippingToSync)
        #expect(requests(pipeline) == [.sync, .bind])
    }

    @Test func anErrorOfASimpleQueryOrASyncDropsNothing() {
        for request: Pipeline.Request in [.query, .functionCall, .profile, .sync] {
            var pipeline = Pipeline()
            pipeline.append(.init(request))
            pipeline.append(.init(.query))
            pipeline.failed { _ in Issue.record("dropped") }
            #expect(pipeline.count == 2 && !pipeline.isSkippingToSync)
        }
    }

    @Test func anErrorThatNobodyIsOwedChangesNothing() {
        var pipeline = Pipeline()
        pipeline.failed { _ in Issue.record("dropped") }
        #expect(!pipeline.isSkippingToSync)
    }

    @Test func copyIgnoresTheSyncsBehindIt() {
        var pipeline = Pipeline()
        for request: Pipeline.Request in [.execute, .sync, .sync] { pipeline.append(.init(request)) }
        let isAlone = pipeline.dropSyncsBehindFirst()
        #expect(isAlone && requests(pipeline) == [.execute])
        pipeline.append(.init(.parse))
        let isStillAlone = pipeline.dropSyncsBehindFirst()
        #expect(!isStillAlone)
    }

    @Test func aNoticeForgetsTheCapturesOfItsSegment() {
        var pipeline = Pipeline()
        pipeline.append(.init(.bind))
        pipeline.append(.init(.execute, capture: 1))
        pipeline.append(.init(.sync))
        pipeline.append(.init(.execute, capture: 2))
        var forgotten: [UInt64] = []
        pipeline.forgetCaptures { forgotten.append($0.capture) }
        #expect(forgotten == [1])
        pipeline.removeFirst()
        #expect(pipeline.first?.capture == .max)
        pipeline.removeFirst()
        pipeline.removeFirst()
        #expect(pipeline.first?.capture == 2)
    }

    @Test func thereIsALimitThatTheOwnerKeeps() {
        var pipeline = Pipeline()
        while !pipeline.isFull { pipeline.append(.init(.sync)) }
        #expect(pipeline.count == Pipeline.countMax)
        pipeline.removeFirst()
        #expect(!pipeline.isFull)
    }
}
