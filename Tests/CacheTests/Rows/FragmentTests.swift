import PGProtocol
import Testing

@testable import Cache

/// Which uses lie in which fragments, and what a fragment is in SQL.
@Suite struct FragmentTests {
    private static let relation = OID(16_400)

    private func among(_ column: Int, _ values: Int64...) -> BoundConstraint {
        BoundConstraint(column: column, test: .among(values.map { .integer($0) }))
    }
    private func range(
        _ column: Int, above lower: Int64? = nil, from least: Int64? = nil, below upper: Int64? = nil,
        to most: Int64? = nil
    ) -> BoundConstraint {
        func limit(_ exclusive: Int64?, _ inclusive: Int64?) -> BoundConstraint.Limit? {
            exclusive.map { .init(value: .integer($0), isInclusive: false) }
                ?? inclusive.map { .init(value: .integer($0), isInclusive: true) }
        }
        return BoundConstraint(column: column, test: .range(lower: limit(lower, least), upper: limit(upper, most)))
    }
    private func contains(_ fragment: [BoundConstraint], _ use: [BoundConstraint]) -> Bool {
        Fragment(relation: Self.relation, constraints: fragment)
            .contains(BoundUse(relation: Self.relation, constraints: use))
    }

    @Test func theWholeRelationContainsEveryUseOfIt() {
        #expect(contains([], []))
        #expect(contains([], [among(0, 1)]))
        #expect(!Fragment(relation: OID(1), constraints: []).contains(BoundUse(relation: OID(2), constraints: [])))
    }

    @Test func aNarrowerUseLiesInAWiderFragment() {
        #expect(contains([among(0, 1)], [among(0, 1), among(1, 7)]))
        #expect(!contains([among(0, 1), among(1, 7)], [among(0, 1)]))
        #expect(contains([range(0, above: 50)], [range(0, above: 100)]))
        #expect(contains([range(0, from: 10, to: 200)], [range(0, from: 50, to: 150)]))
        #expect(contains([range(0, above: 50)], [among(0, 100)]))
        #expect(contains([among(0, 1, 2, 3, 4, 5)], [among(0, 2, 3)]))
        #expect(contains([range(0, above: 0)], [among(0, 50, 100)]))
    }

    @Test func boundsCountAsTheyAreMeant() {
        #expect(contains([range(0, above: 50)], [range(0, above: 50)]))
        #expect(contains([range(0, from: 50)], [range(0, above: 50)]))
        #expect(!contains([range(0, above: 50)], [range(0, from: 50)]))
        #expect(!contains([range(0, above: 50)], [among(0, 50)]))
        #expect(!contains([range(0, above: 50)], [range(0, below: 70)]))
        #expect(!contains([range(0, above: 50, below: 100)], [range(0, above: 60)]))
        #expect(!contains([among(0, 1, 2)], [range(0, from: 1, to: 2)]))
        #expect(contains([among(0, 1, 2)], [range(0, from: 2, to: 2)]))
    }

    @Test func columnsAreNotMistakenForEachOther() {
        #expect(!contains([among(0, 1)], [among(1, 1)]))
        #expect(!contains([range(0, above: 5)], [range(1, above: 5)]))
    }

    @Test func nullIsNoValue() {
        let isNull = BoundConstraint(column: 0, test: .isNull)
        let isNotNull = BoundConstraint(column: 0, test: .isNotNull)
        #expect(contains([isNotNull], [among(0, 1)]))
        #expect(contains([isNotNull], [range(0, below: 1)]))
        #expect(contains([isNull], [isNull]))
        #expect(!contains([isNotNull], [isNull]))
        #expect(!contains([isNull], [isNotNull]))
        #expect(!contains([among(0, 1)], [isNotNull]))
        #expect(!contains([isNull], [among(0, 1)]))
    }

    @Test func eachOfSeveralValuesMayLieInAFragmentOfItsOwn() {
        var pool = RelationPool(Self.table)
        for value in [1, 2] as [Int64] {
            pool.fragments.append(
                .init(fragment: Fragment(relation: Self.relation, constraints: [among(0, value)]), population: nil))
        }
        func covers(_ constraints: BoundConstraint...) -> Bool {
            pool.covers(BoundUse(relation: Self.relation, constraints: constraints))
        }
        #expect(covers(among(0, 1, 2)))
        #expect(covers(among(0, 2), among(1, 5)))
        #expect(!covers(among(0, 1, 2, 3)))
        #expect(!covers(range(0, from: 1, to: 2)))
    }

    @Test func whatIsBeingLoadedDoesNotCount() {
        var pool = RelationPool(Self.table)
        pool.fragments.append(
            .init(
                fragment: Fragment(relation: Self.relation, constraints: []), population: PopulationID(number: 1)))
        let use = BoundUse(relation: Self.relation, constraints: [])
        #expect(!pool.covers(use) && pool.isLoading(use))
    }

    @Test func inSQL() {
        func condition(_ constraints: BoundConstraint...) -> String? {
            Fragment(relation: Self.relation, constraints: constraints).condition(Self.table)
        }
        #expect(condition() == nil)
        #expect(condition(among(0, 1, -2)) == #""id" IN ((1), (-2))"#)
        #expect(condition(range(0, above: 5, to: 9)) == #""id" > (5) AND "id" <= (9)"#)
        #expect(condition(BoundConstraint(column: 1, test: .isNull)) == #""na""me" IS NULL"#)
        let text = BoundConstraint(column: 1, test: .among([.bytes(Array("it's".utf8))]))
        #expect(condition(text) == #""na""me" IN ('it''s')"#)
    }

    @Test func textIsOrderedByItsBytes() {
        func condition(_ lower: [UInt8], _ upper: [UInt8]) -> String? {
            let test = BoundConstraint.Test.range(
                lower: .init(value: .bytes(lower), isInclusive: true),
                upper: .init(value: .bytes(upper), isInclusive: false))
            return Fragment(relation: Self.relation, constraints: [BoundConstraint(column: 1, test: test)])
                .condition(Self.table)
        }
        #expect(condition([97], [98]) == #""na""me" COLLATE "C" >= 'a' AND "na""me" COLLATE "C" < 'b'"#)
        // What is no text in UTF-8 bounds nothing, which loads more and is sound.
        #expect(condition([0xC3, 0xA9], [0xC3, 0xFF]) == #""na""me" COLLATE "C" >= 'é'"#)
    }

    private static let table = Relation(
        oid: relation, schema: "public", name: "t", kind: UInt8(ascii: "r"), persistence: UInt8(ascii: "p"),
        hasRowSecurity: false, isInherited: false, hasRules: false, replicaIdentity: UInt8(ascii: "d"),
        columns: [
            Column(name: "id", number: 1, type: OID(23), kind: .integer, isGenerated: false, isNotNull: true),
            Column(name: "na\"me", number: 2, type: OID(25), kind: .text, isGenerated: false, isNotNull: false),
        ],
        primaryKey: [0], identityColumns: [0], hasOnlyKnownTypes: true)
}
