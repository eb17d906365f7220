import CDC
import PGProtocol
import Testing

@testable import Cache

/// Orders of one customer's region, and the customers that they join.
@Suite struct DependentFragmentTests {
    private static let orders = relation(16_400, "orders")
    private static let customers = relation(16_500, "customers")
    /// Orders of kind 1; the customers that they name in `ref`.
    private static let uses = [
        BoundUse(relation: orders.oid, constraints: [BoundConstraint(column: 1, test: .among([.integer(1)]))]),
        BoundUse(relation: customers.oid, constraints: []),
    ]
    private static let links = [JoinLink(use: 1, partner: 0, column: 0, partnerColumn: 2)]

    private static func relation(_ oid: UInt32, _ name: String) -> Relation {
        Relation(
            oid: OID(oid), schema: "public", name: name, kind: UInt8(ascii: "r"), persistence: UInt8(ascii: "p"),
            hasRowSecurity: false, isInherited: false, hasRules: false, replicaIdentity: UInt8(ascii: "d"),
            columns: ["id", "kind", "ref"].enumerated().map { position, name in
                Column(
                    name: name, number: Int16(position + 1), type: OID(23), kind: .integer, isGenerated: false,
                    isNotNull: position == 0)
            }, primaryKey: [0], identityColumns: [0], hasOnlyKnownTypes: true)
    }

    private static func shape(_ oid: OID) -> RelationShape {
        RelationShape(
            oid: oid, schema: "public", name: oid == orders.oid ? "orders" : "customers",
            replicaIdentity: UInt8(ascii: "d"),
            columns: ["id", "kind", "ref"].map {
                RelationShape.Column(name: $0, type: OID(23), typeModifier: -1, isKey: $0 == "id")
            })
    }

    /// A tier in which both tables are too large to be there as a whole.
    private struct World {
        var tier = RowTier(limits: RowLimits(), usesFIFO: false)
        var sent: [RowCommand] = []

        init() {
            tier.databaseReady()
            want()
            for relation in [orders, customers] {
                tier.schemaArrived(
                    relation.oid,
                    .table(
                        PoolTable(
                            relation: relation.oid, schema: "public", name: relation.name,
                            columns: ["id", "kind", "ref"], key: [0], statements: []), originBytes: .max))
                tier.poolCreated(
                    relation.oid, tableOID: OID(relation.oid.value + 10_000),
                    columnTypes: [OID(23), OID(23), OID(23)])
            }
        }

        mutating func want() {
            tier.want(uses, links, named: [orders, customers], { $0 == orders.oid ? orders : customers })
            turn()
        }

        /// The conditions of the populations that have begun, and the lists that were asked for.
        mutating func turn(beat: UInt64 = 0) {
            tier.advance(
                reachedBeat: beat, isEverythingInDoubt: false, isInvisible: { _ in false }, shape: { shape($0) })
            while let command = tier.nextCommand() { sent.append(command) }
        }

        mutating func take() -> [RowCommand] {
            defer { sent = [] }
            return sent
        }

        /// What was asked to be copied, loaded to its end.
        mutating func load() -> [String] {
            var conditions: [String] = []
            for case .populate(let plan) in take() {
                conditions.append(plan.condition ?? "true")
                _ = tier.populationLoaded(plan.id, bytes: 10, nextBeat: 1)
            }
            turn(beat: 1)
            applyAll()
            return conditions
        }

        mutating func applyAll() {
            for batch in tier.outstanding { tier.applied(batch.sequence, missing: []) }
            turn()
        }

        mutating func receive(_ relation: Relation, _ row: [Int?], old: [Int?]? = nil) {
            func images(_ row: [Int?]) -> RowImage { row.map { $0.map { .text(Array("\($0)".utf8)) } ?? .null } }
            let new = RowValues(columns: row.map { $0.map { .value(.integer(Int64($0))) } ?? .null })
            let change = RowChange(
                relation: relation.oid,
                kind: old == nil ? .insert(new: images(row)) : .update(old: .absent, new: images(row)))
            tier.received(
                SourceTransaction(narrowID: 7, endLSN: LSN(7), commitMicroseconds: 0, changes: [change]),
                [BoundChange(relation: relation.oid, extent: .row(old: nil, oldKey: nil, new: new))]
            ) { shape($0) }
            turn()
        }

        var isCovered: Bool { tier.mayCover(uses, links, named: [orders, customers]) }
    }

    /// With the orders there, and the customers 5 and 6.
    private func loaded() throws -> World {
        var world = World()
        world.want()
        world.want()
        #expect(world.load() == [#""kind" IN ((1))"#])
        #expect(!world.isCovered)
        world.want()
        world.want()
        let list = world.take().lazy.compactMap { if case .list(let list) = $0 { list } else { nil } }.first
        let keys = try #require(list)
        #expect(keys.relation == Self.orders.oid && keys.column == "ref" && keys.condition == #""kind" IN ((1))"#)
        #expect(!world.isCovered)
        world.tier.keysListed(keys.number, [Array("5".utf8), Array("6".utf8)])
        world.turn()
        #expect(!world.isCovered)
        #expect(world.load() == [#""id" IN ((5), (6))"#])
        #expect(world.isCovered)
        return world
    }

    @Test func partnersAreLoadedByTheirKeys() throws {
        let world = try loaded()
        // Nothing but the link makes it enough.
        #expect(!world.tier.mayCover(Self.uses, [], named: [Self.orders, Self.customers]))
        let wider = [BoundUse(relation: Self.orders.oid, constraints: []), Self.uses[1]]
        #expect(!world.tier.mayCover(wider, Self.links, named: [Self.orders, Self.customers]))
        let narrower = [
            BoundUse(
                relation: Self.orders.oid,
                constraints: Self.uses[0].constraints + [BoundConstraint(column: 0, test: .among([.integer(9)]))]),
            Self.uses[1],
        ]
        #expect(world.tier.mayCover(narrower, Self.links, named: [Self.orders, Self.customers]))
    }

    /// An order that comes with another customer: until that one is there, the answer is the origin's.
    @Test func aNewPartnerIsFetched() throws {
        var world = try loaded()
        world.receive(Self.orders, [1, 1, 6])
        world.receive(Self.orders, [2, 2, 7])
        world.receive(Self.orders, [3, 1, nil])
        #expect(world.isCovered)
        // Somebody uses it.
        let isUsed = world.tier.covers(Self.uses, Self.links, named: [])
        #expect(isUsed)
        world.receive(Self.orders, [2, 1, 7], old: [2, 2, 7])
        #expect(!world.isCovered)
        world.receive(Self.orders, [4, 1, 8])
        #expect(!world.isCovered)
        #expect(world.load() == [#""id" IN ((7))"#])
        #expect(!world.isCovered)
        // Nobody has used it meanwhile, so the next is fetched when somebody asks.
        #expect(world.load() == [])
        world.want()
        #expect(world.load() == [#""id" IN ((8))"#])
        #expect(world.isCovered)
        // All of them are one fragment now.
        #expect(world.tier.pools[Self.customers.oid]?.fragments.count == 1)
    }

    /// While the keys are listed rows come, too.
    @Test func aPartnerThatComesWhileKeysAreListed() throws {
        var world = World()
        world.want()
        world.want()
        _ = world.load()
        world.want()
        world.want()
        world.receive(Self.orders, [1, 1, 9])
        let list = world.take().lazy.compactMap { if case .list(let list) = $0 { list } else { nil } }.first
        world.tier.keysListed(try #require(list).number, [Array("5".utf8)])
        world.turn()
        #expect(world.load() == [#""id" IN ((5), (9))"#])
        world.applyAll()
        #expect(world.isCovered)
    }

    @Test func tooManyPartnersAreGivenUpAndRemembered() throws {
        var world = World()
        world.want()
        world.want()
        _ = world.load()
        world.want()
        world.want()
        let list = world.take().lazy.compactMap { if case .list(let list) = $0 { list } else { nil } }.first
        world.tier.keysListed(try #require(list).number, nil)
        #expect(world.tier.pools[Self.customers.oid]?.dependents.isEmpty ?? false)
        for _ in 0..<5 { world.want() }
        #expect(!world.take().contains { if case .list = $0 { true } else { false } })
    }

    /// A text that is no UTF-8 would be left out of the condition, and its rows with it.
    @Test func whatCannotBeSaidIsNoKey() {
        #expect(DependentFragment.isSayable(.bytes(Array("äß".utf8)), .text))
        #expect(DependentFragment.isSayable(.bytes([0xFF, 0x00]), .numeric))
        for bytes in [[0x61, 0xE4], [0x61, 0x00], Array("a\u{FFFD}".utf8)] as [[UInt8]] {
            #expect(!DependentFragment.isSayable(.bytes(bytes), .text))
        }
    }

    /// Without the fragment that it depends on nothing is known of its keys.
    @Test func itGoesWithWhatItDependsOn() throws {
        var world = try loaded()
        world.tier.dropFragments(of: Self.orders.oid) { _ in true }
        #expect(!world.isCovered)
        #expect(world.tier.pools[Self.customers.oid]?.dependents.isEmpty ?? false)

        world = try loaded()
        world.tier.dropFragments(of: Self.customers.oid) { _ in true }
        #expect(!world.isCovered)
        world.applyAll()
        world.want()
        #expect(world.load() == [#""id" IN ((5), (6))"#])
        #expect(world.isCovered)
    }
}
