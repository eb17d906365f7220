import PGProtocol
import Testing

@testable import Cache

/// [S1] [S5] What a session has seen and done, and how old an answer may be for it.
@Suite struct BoundsTests {
    private func uses(_ oids: OID...) -> [RelationUse] {
        oids.map { RelationUse(relation: $0, constraints: []) }
    }
    let orders = OID(1)
    let items = OID(2)

    @Test func aReadBoundsTheRelationsThatItRead() {
        var bounds = Bounds()
        bounds.sent(.relations([orders]))
        #expect(bounds.highest == 0)
        bounds.answered(before: 7, isAll: true)
        #expect(bounds.highest == 7)
        #expect(bounds.bound(over: uses(orders)) == 7)
        #expect(bounds.bound(over: uses(items)) == 0)
        #expect(bounds.bound(over: uses(items, orders)) == 7)
    }

    @Test func aReadOfWhatIsNotKnownBoundsEverything() {
        var bounds = Bounds()
        bounds.sent(.relations([orders]))
        bounds.sent(.everything)
        bounds.answered(before: 7, isAll: true)
        #expect(bounds.bound(over: uses(items)) == 7)
        bounds.sent(.nothing)
        bounds.answered(before: 9, isAll: true)
        #expect(bounds.bound(over: uses(items)) == 7)
    }

    @Test func aWriteBoundsEverything() {
        var bounds = Bounds()
        bounds.wrote(before: 4)
        #expect(bounds.written == 4)
        #expect(bounds.bound(over: uses(items)) == 4)
    }

    @Test func whatIsStillUnderWayBoundsAgainWithItsOwnAnswer() {
        var bounds = Bounds()
        bounds.sent(.relations([orders]))
        bounds.answered(before: 3, isAll: false)
        bounds.answered(before: 5, isAll: true)
        #expect(bounds.bound(over: uses(orders)) == 5)
        bounds.answered(before: 9, isAll: true)
        #expect(bounds.bound(over: uses(orders)) == 5)
    }

    @Test func manyRelationsShareOneBound() {
        var bounds = Bounds()
        for number in 1...20 { bounds.bind(OID(UInt32(number)), before: UInt64(number)) }
        for number in 1...20 {
            #expect(bounds.bound(over: uses(OID(UInt32(number)))) >= UInt64(number))
        }
        for number in 1...20 { bounds.sent(reading: OID(UInt32(number))) }
        bounds.answered(before: 30, isAll: true)
        #expect(bounds.bound(over: uses(OID(99))) == 30)
    }
}
