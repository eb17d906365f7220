import PGProtocol

/// The constants and parameters of a condition, as values that a row image can be compared with [I3].
///
/// Only what PostgreSQL would surely read as that value, and compare as that kind says; nil is the answer to everything
/// else, and the condition then constrains nothing.
extension ConstraintReader {
    /// Notes which types a condition gives to the parameters in it that have none.
    mutating func infer(from column: ParsedColumn, _ test: ParsedSelect.Test, in scope: ParsedSelect.Scope) {
        guard let column = resolver.typedColumn(of: column, in: scope), let family = ValueFamily(column),
            column.type != ValueFamily.oidType
        else { return }
        // A list has one type for all: another's literal in it could give the parameters that.
        if case .among(let operands) = test, operands.count > 1,
            !operands.allSatisfy({ $0.isPlainly(of: family) })
        {
            return
        }
        let isArray = if case .elements = test { true } else { false }
        for operand in test.operands {
            guard case .parameter(let number) = operand.literal else { continue }
            if let cast = operand.cast, ValueFamily(cast: cast, isArray: isArray) != family { continue }
            var inference = inferences[number] ?? Inference(family: family, isArray: isArray)
            inference.uses += 1
            if inference.family != family || inference.isArray != isArray { inference.isMixed = true }
            inferences[number] = inference
        }
    }

    func test(_ test: ParsedSelect.Test, on column: Column) -> Constraint.Test? {
        if column.isGenerated { return nil }
        switch test {
        case .isNull: return .isNull
        case .isNotNull: return column.isNotNull ? nil : .isNotNull
        default: break
        }
        guard let family = ValueFamily(column) else { return nil }
        switch test {
        case .among(let operands):
            let values = operands.compactMap { self.operand($0, family, column) }
            return values.count == operands.count ? .among(values) : nil
        case .elements(let array):
            return elements(array, family, column)
        case .range(let lower, let upper):
            guard family.kind.isOrdered else { return nil }
            let low = lower.flatMap { bound($0, family, column) }
            let high = upper.flatMap { bound($0, family, column) }
            return low == nil && high == nil ? nil : .range(lower: low, upper: high)
        case .symmetric(let one, let other):
            guard family.kind.isOrdered, let one = operand(one, family, column),
                let other = operand(other, family, column)
            else { return nil }
            return .symmetric(one, other)
        case .like(let pattern):
            guard family.kind == .text, let pattern = operand(pattern, family, column) else { return nil }
            return .like(pattern)
        case .truth(let value):
            return family.kind == .boolean ? .among([.constant(.integer(value ? 1 : 0))]) : nil
        case .isNull, .isNotNull: return nil
        }
    }

    private func bound(
        _ bound: ParsedSelect.Bound, _ family: ValueFamily, _ column: Column
    ) -> Constraint.Bound? {
        operand(bound.operand, family, column).map {
            Constraint.Bound(operand: $0, isInclusive: bound.isInclusive)
        }
    }

    private func operand(
        _ operand: ParsedSelect.Operand, _ family: ValueFamily, _ column: Column
    ) -> Constraint.Operand? {
        var cast: ValueFamily?
        if let name = operand.cast {
            guard let known = ValueFamily(cast: name) else { return nil }
            cast = known
        }
        if case .parameter(let number) = operand.literal {
            return isCertain(number, cast, family, column, isArray: false) ? .parameter(number) : nil
        }
        guard let value = Self.value(of: operand.literal, cast, on: column) else { return nil }
        if case .string = operand.literal, let cast, cast != family { return .promoted(value) }
        return .constant(value)
    }

    /// A constant of the text, under a cast if there is one, as a value that the column's can be compared with.
    static func value(
        of literal: ParsedSelect.Operand.Literal, _ cast: ValueFamily? = nil, on column: Column
    ) -> Value? {
        guard let kind = ValueFamily(column)?.kind else { return nil }
        let source: ValueKind
        let value: Value?
        switch literal {
        case .parameter: return nil
        case .integer(let number):
            // oid has no sign; a negative integer would wrap around.
            if column.type == ValueFamily.oidType, !(0...Int64(Int32.max)).contains(number) { return nil }
            // As numeric it is the same number.
            source = .integer
            value = cast == nil || cast?.kind == .integer || cast?.kind == .numeric ? .integer(number) : nil
        case .decimal(let text):
            guard cast == nil || cast?.kind == .numeric, column.type != ValueFamily.oidType else { return nil }
            source = kind == .integer ? .integer : .numeric
            value = withView(text) { view in
                kind == .integer
                    ? Decimal.integer(text: view).map { .integer($0) } : Value(text: view, kind: .numeric)
            }
        case .boolean(let flag):
            guard cast == nil || cast?.kind == .boolean else { return nil }
            source = .boolean
            value = .integer(flag ? 1 : 0)
        case .string(let bytes):
            // Beyond ASCII the bytes depend on the client's encoding.
            guard bytes.allSatisfy({ $0 < 0x80 }) else { return nil }
            let read = cast?.kind ?? kind
            source = read
            value = withView(bytes) { Value(text: $0, kind: read) }
            if column.type == ValueFamily.oidType, case .integer(let number)? = value, number < 0 { return nil }
        }
        return value?.converted(from: source, to: kind)
    }

    /// `= ANY ('{…}')` or `= ANY ($n)`.
    private func elements(
        _ array: ParsedSelect.Operand, _ family: ValueFamily, _ column: Column
    ) -> Constraint.Test? {
        var cast: ValueFamily?
        if let name = array.cast {
            guard let known = ValueFamily(cast: name, isArray: true) else { return nil }
            cast = known
        }
        switch array.literal {
        case .parameter(let number):
            return isCertain(number, cast, family, column, isArray: true) ? .elements(number) : nil
        case .string(let bytes):
            let source = cast ?? family
            guard column.type != ValueFamily.oidType, bytes.allSatisfy({ $0 < 0x80 }),
                let values = withView(bytes, { ArrayDecoding.values(text: $0, kind: source.kind) })
            else { return nil }
            let constants = values.compactMap { $0.converted(from: source.kind, to: family.kind) }
            return constants.count == values.count ? .among(constants.map { .promoted($0) }) : nil
        case .integer, .decimal, .boolean: return nil
        }
    }

    /// Whether `$n` has a type for certain whose values, or elements, can be compared with the column: by declaration,
    /// or because the statement holds it nowhere but in comparisons from which PostgreSQL infers such a type.
    private func isCertain(
        _ number: Int, _ cast: ValueFamily?, _ family: ValueFamily, _ column: Column, isArray: Bool
    ) -> Bool {
        if column.type == ValueFamily.oidType { return false }
        if number <= declaredTypes.count, declaredTypes[number - 1].value != 0 {
            let type = declaredTypes[number - 1]
            guard let declared = isArray ? ValueFamily(elementsOf: type) : ValueFamily(type: type) else { return false }
            return declared.isComparable(with: family) && (cast == nil || cast == declared)
        }
        guard let inference = inferences[number], cast == nil || cast == family else { return false }
        return !inference.isMixed && inference.family == family && inference.isArray == isArray
            && inference.uses == select.parameterUses[number]
    }

    private var declaredTypes: [OID] { resolver.declaredTypes }
}

extension ParsedSelect.Test {
    fileprivate var operands: [ParsedSelect.Operand] {
        switch self {
        case .among(let operands): operands
        case .elements(let operand), .like(let operand): [operand]
        case .range(let lower, let upper): [lower?.operand, upper?.operand].compactMap { $0 }
        case .symmetric(let one, let other): [one, other]
        case .isNull, .isNotNull, .truth: []
        }
    }
}

extension ParsedSelect.Operand {
    /// Beside a column of the family it is read as one of that family, or promoted to it.
    fileprivate func isPlainly(of family: ValueFamily) -> Bool {
        if let cast { return ValueFamily(cast: cast) == family }
        switch literal {
        case .parameter, .string: return true
        case .integer: return family.kind == .integer || family.kind == .numeric
        case .decimal: return family.kind == .numeric
        case .boolean: return family.kind == .boolean
        }
    }
}
