import CDC
import PGProtocol
import Testing

@testable import Cache

/// The relation of these tests: id (key), a, name, blob (opaque), made (generated).
enum Sample {
    static func relation(
        identity: UInt8 = UInt8(ascii: "d"), identityColumns: [Int] = [0], primaryKey: [Int] = [0]
    ) -> Relation {
        func column(
            _ name: String, _ number: Int16, _ type: UInt32, _ kind: ValueKind,
            isGenerated: Bool = false
        ) -> Column {
            Column(
                name: name, number: number, type: OID(type), kind: kind, isGenerated: isGenerated,
                isNotNull: number == 1)
        }
        return Relation(
            oid: OID(100), schema: "public", name: "t", kind: UInt8(ascii: "r"),
            persistence: UInt8(ascii: "p"), hasRowSecurity: false, isInherited: false,
            hasRules: false, replicaIdentity: identity,
            columns: [
                column("id", 1, 23, .integer), column("a", 3, 20, .integer),
                column("name", 4, 25, .text), column("blob", 5, 17, .opaque),
                column("made", 6, 20, .integer, isGenerated: true),
            ], primaryKey: primaryKey, identityColumns: identityColumns, hasOnlyKnownTypes: true)
    }

    /// As the stream describes it: in an order of its own, without the generated column.
    static func shape(_ relation: Relation = relation()) -> RelationShape {
        RelationShape(
            oid: relation.oid, schema: "public", name: "t",
            replicaIdentity: relation.replicaIdentity,
            columns: [1, 0, 2, 3].map { position in
                RelationShape.Column(
                    name: relation.columns[position].name, type: relation.columns[position].type,
                    typeModifier: -1, isKey: relation.identityColumns.contains(position))
            })
    }

    static func image(id: Int?, a: Int?, name: String?, blob: ColumnImage = .null) -> RowImage {
        func text(_ value: String?) -> ColumnImage { value.map { .text(Array($0.utf8)) } ?? .null }
        return [text(a.map(String.init)), text(id.map(String.init)), text(name), blob]
    }

    static func bytes(_ text: String) -> KnownValue { .value(.bytes(Array(text.utf8))) }
}

@Suite struct RowValuesTests {
    private func bind(
        _ kind: RowChange.Kind, _ relation: Relation = Sample.relation()
    ) throws -> (old: RowValues?, oldKey: RowKey?, new: RowValues?) {
        let mapping = try #require(RowMapping(relation, Sample.shape(relation)))
        let change = mapping.bind(RowChange(relation: relation.oid, kind: kind))
        guard case .row(let old, let oldKey, let new) = change.extent else { return (nil, nil, nil) }
        return (old, oldKey, new)
    }

    @Test func columnsAreFoundByNameWhateverTheirOrder() throws {
        let bound = try bind(
            .insert(new: Sample.image(id: 7, a: nil, name: "x", blob: .text([1]))))
        #expect(bound.old == nil && bound.oldKey == nil)
        #expect(
            bound.new?.columns
                == [.value(.integer(7)), .null, Sample.bytes("x"), .unknown, .unknown])
    }

    /// The catalog is out of date, and may be so about everything else that was concluded from it.
    @Test func aNullWhereTheCatalogKnowsNoneMayBeAnything() throws {
        let bound = try bind(.insert(new: Sample.image(id: nil, a: nil, name: "x")))
        #expect(bound.new?[0] == .unknown && bound.new?[1] == .null)
    }

    @Test func anUpdateThatLeavesTheKeyAloneTellsTheKeyAlone() throws {
        let bound = try bind(
            .update(old: .absent, new: Sample.image(id: 7, a: 1, name: "x")))
        #expect(
            bound.old?.columns
                == [.value(.integer(7)), .unknown, .unknown, .unknown, .unknown])
        #expect(bound.oldKey == RowKey([.integer(7)]))
    }

    @Test func aKeyImageTellsTheIdentityAndItsNullsTellNothing() throws {
        let bound = try bind(.delete(old: .key(Sample.image(id: 7, a: nil, name: nil))))
        #expect(
            bound.old?.columns
                == [.value(.integer(7)), .unknown, .unknown, .unknown, .unknown])
        #expect(bound.oldKey == RowKey([.integer(7)]))
        #expect(bound.new == nil)
    }

    @Test func aFullImageTellsAll() throws {
        let relation = Sample.relation(
            identity: UInt8(ascii: "f"), identityColumns: [0, 1, 2, 3, 4])
        let bound = try bind(
            .update(
                old: .full(Sample.image(id: 7, a: 1, name: nil)),
                new: Sample.image(id: 8, a: 1, name: "y")), relation)
        #expect(bound.old?.columns[0...2] == [.value(.integer(7)), .value(.integer(1)), .null])
        #expect(bound.oldKey == RowKey([.integer(7)]))
    }

    @Test func anIdentityOnAnotherIndexDoesNotTellThePrimaryKey() throws {
        let relation = Sample.relation(identity: UInt8(ascii: "i"), identityColumns: [1])
        let bound = try bind(
            .update(old: .absent, new: Sample.image(id: 7, a: 1, name: "x")), relation)
        #expect(bound.old?.columns[0...1] == [.unknown, .value(.integer(1))])
        #expect(bound.oldKey == nil)
    }

    @Test func whatTOASTLeftOutIsUnknown() throws {
        var new = Sample.image(id: 7, a: 1, name: nil)
        new[2] = .unchanged
        let bound = try bind(.update(old: .absent, new: new))
        #expect(bound.new?.columns[2] == .unknown)
    }

    private func changed(_ kind: RowChange.Kind, _ relation: Relation = Sample.relation()) throws -> ColumnMask {
        try #require(RowMapping(relation, Sample.shape(relation))).bind(RowChange(relation: relation.oid,
            kind: kind)).changed
    }

    @Test func whatAFullImageShowsAsItWasIsUnchanged() throws {
        let relation = Sample.relation(identity: UInt8(ascii: "f"), identityColumns: [0, 1, 2, 3, 4])
        let old = Sample.image(id: 7, a: nil, name: "x", blob: .text([1]))
        // The generated column is not in the stream.
        #expect(try changed(.update(old: .full(old), new: old), relation) == ColumnMask([4]))
        var new = old
        new[0] = .text([0x31])
        #expect(try changed(.update(old: .full(old), new: new), relation) == ColumnMask([1, 4]))
        new[3] = .text([2])
        #expect(try changed(.update(old: .full(old), new: new), relation) == ColumnMask([1, 3, 4]))
        new[3] = .unchanged
        #expect(try changed(.update(old: .full(old), new: new), relation) == ColumnMask([1, 4]))
        new[2] = .unchanged
        let bound = try bind(.update(old: .full(old), new: new), relation)
        #expect(bound.new?.columns[2] == Sample.bytes("x"))
        // Images of another shape tell nothing.
        #expect(try changed(.update(old: .full([]), new: new), relation) == .all)
    }

    @Test func withoutAnOldImageOnlyTheKeyIsUnchanged() throws {
        let new = Sample.image(id: 7, a: 1, name: "x", blob: .unchanged)
        #expect(try changed(.update(old: .absent, new: new)) == ColumnMask([1, 2, 4]))
        let old = Sample.image(id: 8, a: nil, name: nil)
        #expect(try changed(.update(old: .key(old), new: new)) == ColumnMask([0, 1, 2, 4]))
        #expect(try changed(.insert(new: new)) == .all)
        #expect(try changed(.delete(old: .key(old))) == .all)
    }

    /// Two values of a type that PostgreSQL did not bring may look alike.
    @Test func alikeIsTheSameOnlyForTypesOfPostgreSQL() throws {
        let types: [(UInt32, Bool)] = [(20_000, false), (142, false), (3500, true), (17, true), (2205, false)]
        for (type, isKnown) in types {
            var relation = Sample.relation(identity: UInt8(ascii: "f"), identityColumns: [0, 1, 2, 3, 4])
            relation.columns[3].baseType = OID(type)
            let row = Sample.image(id: 7, a: 1, name: "x", blob: .text([1]))
            let mask = try changed(.update(old: .full(row), new: row), relation)
            #expect(mask == (isKnown ? ColumnMask([4]) : ColumnMask([3, 4])), "\(type)")
        }
    }

    @Test func valuesThatCannotBeReadAreNotNullAndNoMore() throws {
        var new = Sample.image(id: 7, a: 1, name: nil)
        new[0] = .text(Array("1.5".utf8))
        #expect(try bind(.insert(new: new)).new?.columns[1] == .notNull)
        new[0] = .binary([0, 0, 0, 0, 0, 0, 0, 9])
        #expect(try bind(.insert(new: new)).new?.columns[1] == .value(.integer(9)))
    }

    @Test func anImageOfAnotherShapeTellsNothing() throws {
        let bound = try bind(.insert(new: [.null]))
        #expect(bound.new?.columns == [KnownValue](repeating: .unknown, count: 5))
        #expect(bound.new?[17] == .unknown)
    }

    @Test func truncateConcernsTheWholeRelation() throws {
        let mapping = try #require(RowMapping(Sample.relation(), Sample.shape()))
        #expect(mapping.bind(RowChange(relation: OID(100), kind: .truncate)).extent == .whole)
    }

    @Test func catalogAndStreamHaveToAgree() {
        let relation = Sample.relation()
        func disagrees(_ change: (inout RelationShape) -> Void) -> Bool {
            var shape = Sample.shape(relation)
            change(&shape)
            return RowMapping(relation, shape) == nil
        }
        #expect(!disagrees { _ in })
        #expect(disagrees { $0.oid = OID(101) })
        #expect(disagrees { $0.replicaIdentity = UInt8(ascii: "f") })
        #expect(disagrees { $0.columns[0].name = "b" })
        #expect(disagrees { $0.columns[0].type = OID(23) })
        #expect(disagrees { $0.columns[0].isKey = true })
        #expect(disagrees { $0.columns.removeLast() })
        #expect(disagrees { $0.columns.append($0.columns[0]) })
    }
}
