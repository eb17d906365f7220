import PGProtocol

/// Turns the constraints of a statement into those of one cached query.
///
/// Whatever is not surely understood drops its constraint, which widens what can alter the answer and
/// never narrows it [I3].
struct OperandBinding {
    /// Of the prepared statement, zero or missing where Parse left it open.
    var declaredTypes: [OID] = []
    /// Nil for the simple protocol.
    var tail: BindTail?
    /// The session's client_encoding is that of the change stream. Without it only ASCII text means
    /// the same bytes on both sides.
    var isEncodingShared: Bool

    func bind(_ query: ResolvedQuery) -> [BoundUse] {
        query.uses.map { use in
            BoundUse(
                relation: use.relation, constraints: use.constraints.compactMap(bind),
                reads: use.reads.map { ColumnMask($0).union(ColumnMask(use.constraints.map(\.column))) } ?? .all)
        }
    }

    private func bind(_ constraint: Constraint) -> BoundConstraint? {
        test(constraint.test, constraint.kind).map { BoundConstraint(column: constraint.column, test: $0) }
    }

    private func test(_ test: Constraint.Test, _ kind: ValueKind) -> BoundConstraint.Test? {
        switch test {
        case .isNull: return .isNull
        case .isNotNull: return .isNotNull
        case .among(let operands):
            var values: [Value] = []
            values.reserveCapacity(operands.count)
            for operand in operands {
                guard let value = value(of: operand, kind) else { return nil }
                values.append(value)
            }
            return values.isEmpty ? nil : .among(values)
        case .elements(let number):
            guard let values = elements(number, kind), !values.isEmpty else { return nil }
            return .among(values)
        case .range(let lower, let upper):
            // Text is ordered by its collation, which is not ours to know.
            guard kind.isOrdered || kind == .boolean else { return nil }
            let bounds = (limit(lower, kind), limit(upper, kind))
            guard bounds.0 != nil || bounds.1 != nil else { return nil }
            return .range(lower: bounds.0, upper: bounds.1)
        case .symmetric(let one, let other):
            guard kind.isOrdered, let one = value(of: one, kind), let other = value(of: other, kind) else { return nil }
            return .range(
                lower: .init(value: min(one, other), isInclusive: true),
                upper: .init(value: max(one, other), isInclusive: true))
        case .like(let pattern):
            guard kind == .text, case .bytes(let bytes)? = value(of: pattern, kind) else { return nil }
            return LikePattern.test(bytes)
        }
    }

    /// A bound that is not understood is no bound.
    private func limit(_ bound: Constraint.Bound?, _ kind: ValueKind) -> BoundConstraint.Limit? {
        guard let bound, let value = value(of: bound.operand, kind) else { return nil }
        return BoundConstraint.Limit(value: value, isInclusive: bound.isInclusive)
    }

    private func value(of operand: Constraint.Operand, _ kind: ValueKind) -> Value? {
        let value: Value?
        switch operand {
        case .constant(let constant), .promoted(let constant): value = constant
        case .parameter(let number): value = parameter(number, kind)
        }
        return value.flatMap { isUsable($0, kind) ? $0 : nil }
    }

    private func isUsable(_ value: Value, _ kind: ValueKind) -> Bool {
        switch (kind, value) {
        case (.integer, .integer), (.boolean, .integer), (.date, .integer), (.timestamp, .integer),
            (.timestampWithZone, .integer), (.numeric, .bytes):
            true
        case (.uuid, .bytes(let bytes)): bytes.count == 16
        case (.text, .bytes(let bytes)): isEncodingShared || bytes.allSatisfy { $0 < 0x80 }
        default: false
        }
    }

    /// The bytes of `$number`, from 1, and its declared type; nil for NULL too, which satisfies nothing and therefore
    /// constrains nothing here.
    private func parameter(_ number: Int) -> (view: ByteView, format: BindTail.Format, type: OID)? {
        guard let tail, number >= 1, number <= tail.values.count, let view = tail.values[number - 1]
        else { return nil }
        let type = number <= declaredTypes.count ? declaredTypes[number - 1] : OID(0)
        return (view, tail.format(of: number - 1), type)
    }

    private func parameter(_ number: Int, _ kind: ValueKind) -> Value? {
        guard let (view, format, type) = parameter(number),
            let source = Value.kind(declared: type, comparedWith: kind)
        else { return nil }
        let value: Value?
        switch format {
        case .binary:
            value = Value(binary: view, kind: source, type: type)
        case .text:
            if source == .integer, view.count > 0, view[0] == UInt8(ascii: "-"),
                !Value.mayBeNegative(declared: type)
            {
                return nil
            }
            value = Value(text: view, kind: source)
        }
        return value?.converted(from: source, to: kind)
    }

    /// The elements of the array `$number`.
    private func elements(_ number: Int, _ kind: ValueKind) -> [Value]? {
        guard let (view, format, type) = parameter(number) else { return nil }
        let declared = type.value == 0 ? kind : ValueFamily(elementsOf: type)?.kind
        guard let declared, kind != .opaque, declared == kind || declared.isComparable(with: kind) else { return nil }
        var source = declared
        let values: [Value]?
        switch format {
        case .text:
            values = ArrayDecoding.values(text: view, kind: declared)
        case .binary:
            // The elements' own type is in the array, and array_recv insists on the one that was declared or inferred.
            let read = ArrayDecoding.values(binary: view, kind: declared) { ValueFamily(type: $0)?.kind }
            if let read { source = read.source }
            values = source == declared ? read?.values : nil
        }
        let converted = values?.compactMap { $0.converted(from: source, to: kind) }.filter { isUsable($0, kind) }
        return converted?.count == values?.count ? converted : nil
    }
}

/// What a LIKE pattern says of a text (manual, 9.7.1): up to its first wildcard it is the text's own bytes, whatever
/// the collation, where that is deterministic.
enum LikePattern {
    /// Equality without a wildcard, else a range of bytes: texts that begin alike stand together in bytewise order.
    static func test(_ pattern: [UInt8]) -> BoundConstraint.Test? {
        var prefix: [UInt8] = []
        var position = 0
        while position < pattern.count {
            switch pattern[position] {
            case UInt8(ascii: "%"), UInt8(ascii: "_"):
                guard !prefix.isEmpty else { return .isNotNull }
                return .range(
                    lower: .init(value: .bytes(prefix), isInclusive: true),
                    upper: successor(prefix).map { .init(value: .bytes($0), isInclusive: false) })
            case UInt8(ascii: "\\"):
                position += 1
                // An escape character at the end is an error.
                guard position < pattern.count else { return nil }
                prefix.append(pattern[position])
            default:
                prefix.append(pattern[position])
            }
            position += 1
        }
        return .among([.bytes(prefix)])
    }

    /// The first bytes behind all that begin with these.
    private static func successor(_ bytes: [UInt8]) -> [UInt8]? {
        guard let last = bytes.lastIndex(where: { $0 < 0xFF }) else { return nil }
        var successor = Array(bytes[...last])
        successor[last] += 1
        return successor
    }
}
