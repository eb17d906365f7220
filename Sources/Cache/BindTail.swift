import PGProtocol

/// What Bind carries behind the portal's and the statement's name (manual, 55.7 Bind): the formats of
/// the parameters, their values, and the formats of the result.
///
/// Borrowed: valid as long as the bytes it was parsed from. The bytes come from a client and may be
/// anything; what PostgreSQL would refuse is refused here too.
struct BindTail {
    enum Format: UInt16 { case text = 0, binary = 1 }

    /// None: all text; one: for all; else one for each parameter.
    let formats: [Format]
    /// Nil is NULL.
    let values: [ByteView?]
    /// None: all text; one: for all; else one for each column.
    let resultFormats: [Format]

    init(_ view: ByteView) throws(ProtocolError) {
        var reader = ByteReader(view)
        formats = try Self.formats(&reader)
        let count = Int(try reader.uint16("Bind: number of parameters"))
        guard formats.count <= 1 || formats.count == count else {
            throw ProtocolError("Bind: \(formats.count) formats for \(count) parameters")
        }
        var values: [ByteView?] = []
        values.reserveCapacity(min(count, reader.remaining / 4))
        for _ in 0..<count {
            let length = try reader.int32("Bind: length of a parameter")
            values.append(
                length == -1 ? nil : try reader.bytes(Int(length), "Bind: value of a parameter"))
        }
        self.values = values
        resultFormats = try Self.formats(&reader)
        guard reader.remaining == 0 else {
            throw ProtocolError("Bind: \(reader.remaining) bytes behind its end")
        }
    }

    private static func formats(_ reader: inout ByteReader) throws(ProtocolError) -> [Format] {
        let count = Int(try reader.uint16("Bind: number of formats"))
        var formats: [Format] = []
        formats.reserveCapacity(min(count, reader.remaining / 2))
        for _ in 0..<count {
            let code = try reader.uint16("Bind: format")
            guard let format = Format(rawValue: code) else {
                throw ProtocolError("Bind: 0 or 1 expected for a format, \(code) came")
            }
            formats.append(format)
        }
        return formats
    }

    /// Of the parameter at this position, from 0.
    func format(of position: Int) -> Format {
        switch formats.count {
        case 0: .text
        case 1: formats[0]
        default: formats[position]
        }
    }

    func resultFormat(of column: Int) -> Format? {
        switch resultFormats.count {
        case 0: .text
        case 1: resultFormats[0]
        default: resultFormats.indices.contains(column) ? resultFormats[column] : nil
        }
    }
}

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
            BoundUse(relation: use.relation, constraints: use.constraints.compactMap(bind))
        }
    }

    private func bind(_ constraint: Constraint) -> BoundConstraint? {
        let test: BoundConstraint.Test
        switch constraint.test {
        case .isNull:
            test = .isNull
        case .isNotNull:
            test = .isNotNull
        case .among(let operands):
            var values: [Value] = []
            values.reserveCapacity(operands.count)
            for operand in operands {
                guard let value = value(of: operand, constraint.kind) else { return nil }
                values.append(value)
            }
            guard !values.isEmpty else { return nil }
            test = .among(values)
        case .range(let lower, let upper):
            // Text is ordered by its collation, which is not ours to know.
            switch constraint.kind {
            case .text, .opaque: return nil
            case .integer, .uuid, .boolean: break
            }
            let bounds = (limit(lower, constraint.kind), limit(upper, constraint.kind))
            guard bounds.0 != nil || bounds.1 != nil else { return nil }
            test = .range(lower: bounds.0, upper: bounds.1)
        }
        return BoundConstraint(column: constraint.column, test: test)
    }

    /// A bound that is not understood is no bound.
    private func limit(_ bound: Constraint.Bound?, _ kind: ValueKind) -> BoundConstraint.Limit? {
        guard let bound, let value = value(of: bound.operand, kind) else { return nil }
        return BoundConstraint.Limit(value: value, isInclusive: bound.isInclusive)
    }

    private func value(of operand: Constraint.Operand, _ kind: ValueKind) -> Value? {
        let value: Value?
        switch operand {
        case .constant(let constant): value = constant
        case .parameter(let number): value = parameter(number, kind)
        }
        switch (kind, value) {
        case (.integer, .integer), (.boolean, .integer): return value
        case (.uuid, .bytes(let bytes)): return bytes.count == 16 ? value : nil
        case (.text, .bytes(let bytes)):
            return isEncodingShared || bytes.allSatisfy { $0 < 0x80 } ? value : nil
        default: return nil
        }
    }

    /// The value of `$number`, from 1; nil for NULL too, which satisfies nothing and therefore
    /// constrains nothing here.
    private func parameter(_ number: Int, _ kind: ValueKind) -> Value? {
        guard let tail, number >= 1, number <= tail.values.count, let view = tail.values[number - 1]
        else { return nil }
        let type = number <= declaredTypes.count ? declaredTypes[number - 1] : OID(0)
        guard Value.isComparable(kind, declared: type) else { return nil }
        switch tail.format(of: number - 1) {
        case .binary:
            return Value(binary: view, kind: kind, type: type)
        case .text:
            if kind == .integer, view.count > 0, view[0] == UInt8(ascii: "-"),
                !Value.mayBeNegative(declared: type)
            {
                return nil
            }
            return Value(text: view, kind: kind)
        }
    }
}
