import CDC
import PGProtocol
import Testing

@testable import Cache

/// A message of the event trigger says that a transaction has changed the schema [D1], and that transaction may not be
/// visible yet [T2].
@Suite struct SchemaMessageTests {
    let select = "select id from items where tenant = 1"

    private func receives(
        _ origin: CannedOrigin, _ transaction: UInt32, schema: Bool = false, publications: Bool = false,
        changes: [RowChange] = []
    ) {
        origin.store.transactionReceived(
            SourceTransaction(
                narrowID: transaction, endLSN: origin.store.watermark, commitMicroseconds: 0, changes: changes,
                changesSchema: schema, changesPublications: publications))
        origin.settle()
    }

    /// Asked at the origin, and answered there.
    private func asks(_ client: Dialogue) {
        client.sends(Wire.query(select))
        client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
        client.origin.settle()
    }

    /// A table that is described as another one than before.
    private func wider() -> RelationShape {
        RelationShape(
            oid: CannedOrigin.items, schema: "public", name: "items", replicaIdentity: UInt8(ascii: "d"),
            columns: ["id", "tenant", "name", "more"].map {
                .init(name: $0, type: OID(23), typeModifier: -1, isKey: $0 == "id")
            })
    }

    @Test func d1AMessageEmptiesAtOnce() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        #expect(client.sends(Wire.query(select)) == ["hit"])
        receives(origin, 600, schema: true)
        #expect(origin.store.figures.entries == 0)
    }

    @Test func d1ACaptureInFlightDoesNotSurviveTheMessage() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.sends(Wire.query(select))
        receives(origin, 600, schema: true)
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        #expect(origin.store.figures.entries == 0)
    }

    /// Decoded before visible: what is read meanwhile may be the old table's.
    @Test func t2NothingIsCapturedBeforeTheTransactionIsSeen() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        receives(origin, 950, schema: true)
        for _ in 0..<3 {
            asks(client)
            origin.beat(100, snapshot: "950:1000:950")
            origin.settle()
        }
        #expect(origin.store.figures.entries == 0)
        origin.beat(100, snapshot: "1000:1000:")
        origin.settle()
        for _ in 0..<3 { asks(client) }
        #expect(origin.store.figures.entries == 1)
    }

    /// What was read of the catalog before the proof is read again behind it.
    @Test func t2TheCatalogIsReadAgainOnceTheTransactionIsSeen() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        receives(origin, 950, schema: true)
        for _ in 0..<2 { asks(client) }
        origin.asked = []
        origin.beat(100, snapshot: "950:1000:950")
        origin.settle()
        #expect(origin.asked.isEmpty)
        let epoch = origin.store.schemaEpoch
        origin.beat(100, snapshot: "1000:1000:")
        origin.settle()
        #expect(origin.store.schemaEpoch == epoch &+ 1, "settings and rights as well")
        for _ in 0..<2 { asks(client) }
        #expect(origin.asked.contains { $0.sql == CatalogQueries.relations })
        origin.beat(100, snapshot: "1000:1000:")
        #expect(origin.store.schemaEpoch == epoch &+ 1, "once")
    }

    /// An answer to a question that was asked before the proof is of no use behind it.
    @Test func t2AQuestionInFlightAtTheProofIsStale() {
        let origin = CannedOrigin.warm()
        receives(origin, 950, schema: true)
        let client = origin.client()
        client.sends(Wire.query(select))
        let question = origin.store.nextQuestion()
        #expect(question != nil)
        origin.beat(100, snapshot: "1000:1000:")
        origin.store.questionAnswered([])
        client.hearsAll(Wire.rows([["1"]]) + Wire.ready())
        origin.settle()
        for _ in 0..<3 { asks(client) }
        #expect(origin.store.figures.entries == 1)
    }

    /// Row changes show a new shape, without any event trigger: the transaction that brought it may have made it.
    @Test func t2ANewShapeCountsAsAMessage() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.relationDescribed(wider())
        #expect(origin.store.figures.entries == 0)
        receives(
            origin, 950,
            changes: [RowChange(relation: CannedOrigin.orders, kind: .insert(new: [.text([49]), .null, .null]))])
        for _ in 0..<3 { asks(client) }
        #expect(origin.store.figures.entries == 0)
        let epoch = origin.store.schemaEpoch
        origin.beat(100, snapshot: "1000:1000:")
        origin.settle()
        #expect(origin.store.schemaEpoch == epoch &+ 1)
        for _ in 0..<3 { asks(client) }
        #expect(origin.store.figures.entries == 1)
    }

    /// Each is waited for by itself.
    @Test func severalTransactionsAreProvenOneByOne() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        receives(origin, 950, schema: true)
        receives(origin, 951, schema: true)
        origin.beat(100, snapshot: "950:1000:950")
        origin.settle()
        for _ in 0..<3 { asks(client) }
        #expect(origin.store.figures.entries == 0)
        origin.beat(100, snapshot: "1000:1000:")
        origin.settle()
        for _ in 0..<3 { asks(client) }
        #expect(origin.store.figures.entries == 1)
    }

    /// Behind a new slot, what committed before it and is not visible yet may have been a change of the schema.
    @Test func t2BehindANewSlotTheCatalogIsReadAgain() {
        let origin = CannedOrigin.warm()
        let epoch = origin.store.schemaEpoch
        origin.store.streamLost(mustEmpty: true)
        origin.store.streamFenced(below: TransactionID(960))
        origin.store.streamBecameLive(LSN(50_000))
        origin.beat(100, snapshot: "950:1000:950")
        #expect(origin.store.schemaEpoch == epoch)
        origin.beat(100, snapshot: "960:1000:960")
        #expect(origin.store.schemaEpoch == epoch &+ 1)
    }

    // MARK: Publications

    /// The publication is looked at only when the change shows; meanwhile nothing is captured.
    @Test func aChangeOfPublicationsIsToldOnceItIsSeen() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        receives(origin, 950, publications: true)
        #expect(origin.store.figures.entries == 0)
        #expect(!origin.store.takePublicationChange())
        for _ in 0..<3 { asks(client) }
        #expect(origin.store.figures.entries == 0)
        origin.beat(100, snapshot: "950:1000:950")
        #expect(!origin.store.takePublicationChange())
        origin.beat(100, snapshot: "1000:1000:")
        #expect(origin.store.takePublicationChange())
        #expect(!origin.store.takePublicationChange(), "once")
    }

    @Test func aChangeOfTheSchemaIsNoneOfPublications() {
        let origin = CannedOrigin.warm()
        receives(origin, 950, schema: true)
        origin.beat(100, snapshot: "1000:1000:")
        #expect(!origin.store.takePublicationChange())
    }

    // MARK: The watermark's age

    @Test func aWatermarkThatIsTooOldServesNobody() {
        let origin = CannedOrigin.warm()
        let client = origin.client()
        client.misses(select)
        origin.passes()
        origin.store.setStale(true)
        #expect(!origin.store.isServing)
        #expect(client.reasons { client.sends(Wire.query(select)) } == [.streamDown])
        client.hears(Wire.rows([["1"]]) + Wire.ready())
        origin.passes()
        origin.store.setStale(false)
        #expect(client.sends(Wire.query(select)) == ["hit"], "nothing was lost")
    }

    /// Neither makes up for the other.
    @Test func aStreamThatIsLiveAgainMayStillBeTooOld() {
        let origin = CannedOrigin.warm()
        origin.store.setStale(true)
        origin.store.streamLost(mustEmpty: false)
        origin.store.streamBecameLive(origin.store.watermark)
        #expect(!origin.store.isServing)
        origin.store.streamLost(mustEmpty: false)
        origin.store.setStale(false)
        #expect(!origin.store.isServing)
        origin.store.streamBecameLive(origin.store.watermark)
        #expect(origin.store.isServing)
    }
}
