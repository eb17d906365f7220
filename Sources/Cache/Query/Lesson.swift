import PGProtocol

/// What all texts of a shape have in common once their names are resolved, and where their constants go.
///
/// Made from two texts of which the catalog has judged both: one that a client sent, and a *probe*, which is the same
/// with other constants. What they do not share is either a constant in its place, or the shape is unfit. That
/// does not rest on any list of what may depend on a constant: whatever does, differs.
struct Lesson {
    /// The constant of a constraint that came from the text.
    struct Place: Equatable {
        /// Position among the operands of the test.
        var operand: Int
        /// Position among the lifted constants.
        var constant: Int
        /// There is a minus in front of it, which belongs to the shape.
        var isNegative: Bool
    }
    /// One constraint with such constants.
    struct Slot {
        var use: Int
        var constraint: Int
        var column: Column
        var places: [Place]
    }

    /// With the constants of the probe; nil for what is forwarded.
    let query: ResolvedQuery?
    let slots: [Slot]

    /// The query of another text of the shape, with its own constants. A constraint whose constant is not understood is
    /// left out, which is always sound [I3].
    func query(for text: ByteView, _ constants: [ShapeScanner.Constant]) -> ResolvedQuery? {
        guard let query else { return nil }
        if slots.isEmpty { return query }
        var uses = query.uses
        // From the last one, so that positions stay what they are when one is left out.
        for slot in slots.reversed() {
            var test = uses[slot.use].constraints[slot.constraint].test
            let values = slot.places.map { place in
                constants[place.constant].literal(in: text, isNegative: place.isNegative)
                    .flatMap { ConstraintReader.value(of: $0, on: slot.column) }
            }
            if test.replace(slot.places.map(\.operand), by: values) {
                uses[slot.use].constraints[slot.constraint].test = test
            } else {
                uses[slot.use].constraints.remove(at: slot.constraint)
            }
        }
        return ResolvedQuery(query, uses: uses)
    }
}

// MARK: - Learning

extension Lesson {
    /// A query with more constants is parsed.
    static let constantsMax = 256

    /// What a text and its probe have in common; nil where that is not certain.
    ///
    /// `parsed`, `resolution`: the text, parsed, and what became of it; nil where its names were not looked up.
    /// `resolve` does
    /// the same with the probe. `relation`: what the catalog knows of one.
    init?(
        _ text: ByteView, _ constants: [ShapeScanner.Constant], _ parsed: ParsedStatement, _ resolution: Resolution?,
        relation: (OID) -> Relation?, resolve: (ParsedStatement) -> Resolution?
    ) {
        guard parsed.isLiftable else { return nil }
        let probe = ShapeProbe(text, constants)
        // Neither text has a string whose end depends on it.
        let probed = withView(probe.text) {
            StatementParser.parse($0, standardConformingStrings: true, bytesMax: probe.text.count)
        }
        guard parsed.isAlike(probed) else { return nil }
        switch (resolution, resolve(probed)) {
        case (nil, nil):
            self.init(query: nil, slots: [])
        case (.forward(let reason, let isUnknown), .forward(let others, let othersIsUnknown)):
            guard reason == others, isUnknown == othersIsUnknown else { return nil }
            self.init(query: nil, slots: [])
        case (.cacheable(let query), .cacheable(let other)):
            guard constants.count <= Self.constantsMax,
                let slots = Self.slots(
                    of: query, probe: other, count: constants.count, relation: relation,
                    literals: { number, isNegative in
                        let lexicalClass = constants[number].lexicalClass
                        let probed = withView(probe.constants[number]) {
                            ParsedSelect.Operand.Literal($0, lexicalClass, isNegative: isNegative)
                        }
                        return (constants[number].literal(in: text, isNegative: isNegative), probed)
                    })
            else { return nil }
            self.init(query: other, slots: slots)
        default:
            return nil
        }
    }

    /// Where the constants of a text went, by comparison with its probe.
    ///
    /// `literals`: the constants of text and probe, with a minus or not.
    private static func slots(
        of query: ResolvedQuery, probe: ResolvedQuery, count: Int, relation: (OID) -> Relation?,
        literals: (Int, Bool) -> (text: ParsedSelect.Operand.Literal?, probe: ParsedSelect.Operand.Literal?)
    ) -> [Slot]? {
        guard query.isAlike(probe), query.uses.count == probe.uses.count else { return nil }
        var slots: [Slot] = []
        // By the column's type, what each value of the probe may come from.
        func sources(_ column: Column) -> [Value: [(constant: Int, isNegative: Bool)]] {
            var found: [Value: [(constant: Int, isNegative: Bool)]] = [:]
            for constant in 0..<count {
                for isNegative in [false, true] {
                    guard let literal = literals(constant, isNegative).probe,
                        let value = ConstraintReader.value(of: literal, on: column)
                    else { continue }
                    found[value, default: []].append((constant, isNegative))
                }
            }
            return found
        }
        for (number, (use, other)) in zip(query.uses, probe.uses).enumerated() {
            guard use.relation == other.relation, use.reads == other.reads,
                use.constraints.count == other.constraints.count
            else { return nil }
            for (position, (left, right)) in zip(use.constraints, other.constraints).enumerated() {
                guard left.column == right.column, left.kind == right.kind, left.test.isAlike(right.test)
                else { return nil }
                let operands = zip(left.test.operands, right.test.operands)
                guard operands.contains(where: { $0 != $1 }) else { continue }
                guard let columns = relation(use.relation)?.columns, columns.indices.contains(left.column)
                else { return nil }
                var slot = Slot(use: number, constraint: position, column: columns[left.column], places: [])
                let known = sources(slot.column)
                for (operand, (text, probe)) in operands.enumerated() where text != probe {
                    // Exactly one constant explains the value in the probe, and it does so in the text.
                    guard case .constant(let value) = text, case .constant(let probed) = probe,
                        let from = known[probed], from.count == 1,
                        let literal = literals(from[0].constant, from[0].isNegative).text,
                        ConstraintReader.value(of: literal, on: slot.column) == value
                    else { return nil }
                    slot.places.append(
                        Place(operand: operand, constant: from[0].constant, isNegative: from[0].isNegative))
                }
                slots.append(slot)
            }
        }
        return slots
    }
}

extension ParsedStatement {
    /// A statement of rows and nothing else: what it may do does not depend on a constant, and nothing is known of it
    /// that `StatementFacts` would not hand on.
    var isLiftable: Bool {
        let plain = ParsedStatement(effect: plainEffect, body: body, mentions: mentions, isASCII: isASCII)
        return self == plain
            && effect.isDisjoint(
                with: [.changesSession, .controlsTransaction, .changesSchema, .namesPrepared, .seesPrepared])
    }

    /// The same names, and the same in all else but the body.
    func isAlike(_ other: ParsedStatement) -> Bool {
        guard plainEffect == other.plainEffect, mentions == other.mentions, other.isLiftable else { return false }
        switch (body, other.body) {
        case (.select, .select): return true
        case (.forward(let reason), .forward(let others)): return reason == others
        case (.select, .forward), (.forward, .select): return false
        }
    }
}

extension ResolvedQuery {
    /// The same but for what its relations are constrained to. Of LIMIT and ORDER BY nothing is lifted [K2].
    fileprivate func isAlike(_ other: ResolvedQuery) -> Bool {
        functions == other.functions && isRowForRow == other.isRowForRow && parameterCount == other.parameterCount
            && columns == other.columns && rights == other.rights && classes == other.classes
            && callsBodies == other.callsBodies && ordersText == other.ordersText
            && namesCollation == other.namesCollation && isPointRead == other.isPointRead && links == other.links
            && ranking == other.ranking
    }

    fileprivate convenience init(_ query: ResolvedQuery, uses: [RelationUse]) {
        self.init(
            uses: uses, functions: query.functions, isRowForRow: query.isRowForRow,
            parameterCount: query.parameterCount, columns: query.columns, rights: query.rights, classes: query.classes,
            callsBodies: query.callsBodies, ordersText: query.ordersText, namesCollation: query.namesCollation,
            isPointRead: query.isPointRead, links: query.links, ranking: query.ranking)
    }
}

extension Constraint.Test {
    fileprivate var operands: [Constraint.Operand] {
        switch self {
        case .among(let operands): operands
        case .range(let lower, let upper): [lower?.operand, upper?.operand].compactMap { $0 }
        case .symmetric(let one, let other): [one, other]
        case .like(let pattern): [pattern]
        case .elements, .isNull, .isNotNull: []
        }
    }

    /// The same but for the operands.
    fileprivate func isAlike(_ other: Constraint.Test) -> Bool {
        switch (self, other) {
        case (.among(let left), .among(let right)): left.count == right.count
        case (.range(let low, let high), .range(let lower, let higher)):
            low?.isInclusive == lower?.isInclusive && high?.isInclusive == higher?.isInclusive
        case (.elements(let left), .elements(let right)): left == right
        case (.isNull, .isNull), (.isNotNull, .isNotNull), (.symmetric, .symmetric), (.like, .like): true
        case (.among, _), (.range, _), (.symmetric, _), (.elements, _), (.like, _), (.isNull, _), (.isNotNull, _): false
        }
    }

    /// Puts constants in the place of these operands; false where one of them is none.
    fileprivate mutating func replace(_ positions: [Int], by values: [Value?]) -> Bool {
        var operands = operands
        for (position, value) in zip(positions, values) {
            guard let value else { return false }
            operands[position] = .constant(value)
        }
        switch self {
        case .among: self = .among(operands)
        case .range(var lower, var upper):
            var rest = operands[...]
            if lower != nil, let operand = rest.popFirst() { lower?.operand = operand }
            if upper != nil, let operand = rest.popFirst() { upper?.operand = operand }
            self = .range(lower: lower, upper: upper)
        case .symmetric: self = .symmetric(operands[0], operands[1])
        case .like: self = .like(operands[0])
        case .elements, .isNull, .isNotNull: break
        }
        return true
    }
}
