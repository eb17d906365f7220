import PGProtocol

/// Binds the columns of a SELECT to the relations in its FROM.
///
/// Follows PostgreSQL's scoping only as far as it is unambiguous; a name that could mean anything
/// else than one column of one relation is not resolved, and the statement is forwarded.
/// Lives for one resolution. Its calls come in the order in which they stand here.
struct SelectResolver {
    /// A column of one of the sources.
    struct Place: Hashable {
        var source: Int
        var column: Int
    }
    private enum Found {
        case one(Place)
        /// One of these, or a merger of them (USING, NATURAL).
        case merged([Place])
        /// The name of an output column, which is an expression of its own.
        case output
        case failed(ForwardReason)
    }

    let select: ParsedSelect
    private let named: [RelationName: Relation]
    let declaredTypes: [OID]
    /// Those of `select.sources`, in the same order.
    private(set) var relations: [Relation] = []
    /// `t.name` was no column: it may be a call of a function.
    private(set) var mayCallField = false
    /// Every column that the statement names, by `*` included.
    private var namedColumns: Set<Place> = []

    init(select: ParsedSelect, relations: [RelationName: Relation], declaredTypes: [OID]) {
        self.select = select
        self.named = relations
        self.declaredTypes = declaredTypes
    }

    mutating func findRelations(_ allows: (Relation) -> Bool) -> ForwardReason? {
        var names: Set<String> = []
        for source in select.sources {
            guard let relation = named[source.name] else { return .unknownRelation }
            if let reason = relation.forwardReason { return reason }
            if !allows(relation) { return .notAllowed }
            guard names.insert(source.alias ?? source.name.name).inserted else {
                return .unresolvedColumn
            }
            relations.append(relation)
        }
        return relations.isEmpty ? .noRelation : nil
    }

    mutating func findColumns() -> ForwardReason? {
        for column in select.columns {
            let places: [Place]
            switch find(column) {
            case .failed(let reason):
                if column.relation != nil, reason == .unresolvedColumn { mayCallField = true }
                return reason
            case .output: places = []
            case .one(let place): places = [place]
            case .merged(let several): places = several
            }
            namedColumns.formUnion(places)
            // Conversions to and from timetz look at today's daylight saving time.
            if places.contains(where: { DateTimeText.timeWithZoneTypes.contains(type(of: $0)) }) {
                return .timeDependent
            }
        }
        for star in select.starred {
            guard star.relation != nil else {
                namedColumns.formUnion(relations.indices.flatMap { places(in: $0) })
                continue
            }
            guard let source = source(of: star) else { return .unresolvedColumn }
            namedColumns.formUnion(places(in: source))
        }
        let implied = relations.indices.flatMap { places(in: $0) }.filter {
            select.hasNaturalJoin || select.usingColumns.contains(column(at: $0).name)
        }
        if implied.contains(where: { DateTimeText.timeWithZoneTypes.contains(type(of: $0)) }) {
            return .timeDependent
        }
        namedColumns.formUnion(implied)
        return nil
    }

    private func places(in source: Int) -> [Place] {
        relations[source].columns.indices.map { Place(source: source, column: $0) }
    }

    /// Declared types whose values mean something else next time, or are not PostgreSQL's own.
    func checkParameters() -> ForwardReason? {
        for type in declaredTypes {
            if !type.isBuiltIn { return .userType }
            if DateTimeText.timeWithZoneTypes.contains(type) { return .timeDependent }
            if Volatility.catalogTypeOIDs.contains(type.value) { return .catalogDependent }
        }
        return nil
    }

    /// Casts, and calls that are casts, whose text could mean another moment next time [C1].
    func checkCasts() -> ForwardReason? {
        for cast in select.casts {
            if let reason = reason(cast.type.name, cast.source) { return reason }
        }
        for call in select.mentions.calls {
            guard let argument = call.argument else { continue }
            if call.name == "timezone" {
                if !isMoment(argument) { return .timeDependent }
            } else if let reason = reason(call.name, argument) {
                return reason
            }
        }
        for type in select.mentions.types {
            let name = Self.element(type.name)
            if Volatility.catalogTypes.contains(name) { return .catalogDependent }
            if name == "xml" { return .unsupportedExpression }
        }
        return nil
    }

    /// Not a time without a date, which AT TIME ZONE moves by today's daylight saving time.
    private func isMoment(_ source: ValueSource) -> Bool {
        switch source {
        case .constant, .dateTime: return true
        case .parameter, .other: return false
        case .column(let name):
            guard let place = place(of: name) else { return false }
            return DateTimeText.momentTypes.contains(type(of: place))
        }
    }

    /// `_date` is the array type of `date`.
    private static func element(_ type: String) -> String {
        String(type.drop { $0 == "_" })
    }

    private func reason(_ type: String, _ source: ValueSource) -> ForwardReason? {
        let type = Self.element(type)
        guard DateTimeText.types.contains(type) else { return nil }
        if type == "timetz" { return .timeDependent }
        switch source {
        case .constant, .parameter, .dateTime: return nil
        case .other: return .timeDependent
        case .column(let column):
            let places: [Place]
            switch find(column) {
            case .one(let place): places = [place]
            case .merged(let several): places = several
            case .output, .failed: return .timeDependent
            }
            let isDateTime = places.allSatisfy {
                DateTimeText.columnTypes.contains(self.type(of: $0))
            }
            return isDateTime ? nil : .timeDependent
        }
    }

    func query(functions: [OID], _ hasAggregate: Bool) -> ResolvedQuery {
        let constraints = ConstraintReader(resolver: self).constraints()
        let uses = relations.indices.map {
            RelationUse(relation: relations[$0].oid, constraints: constraints[$0])
        }
        return ResolvedQuery(
            uses: uses, functions: functions,
            isRowForRow: uses.count == 1 && !select.hasLimit && !select.hasGrouping && !hasAggregate,
            parameterCount: select.parameterCount,
            columns: Set(
                namedColumns.map {
                    ColumnName(relation: relations[$0.source].oid, number: column(at: $0).number)
                }), classes: classes())
    }

    /// The settings that the answer depends on [K1].
    private func classes() -> SettingClasses {
        var classes = select.classes
        for place in namedColumns { classes.formUnion(.ofType(column(at: place).baseType)) }
        for type in select.mentions.types { classes.formUnion(.ofType(named: type)) }
        for call in select.mentions.calls { classes.formUnion(.ofFunction(call.name)) }
        for type in declaredTypes where type.value != 0 { classes.formUnion(.ofType(type)) }
        if !select.mentions.operators.allSatisfy({ SettingClasses.isPlain(operator: $0) }) {
            classes.formUnion(.all)
        }
        return classes
    }

    // MARK: Names

    /// The one place that a column can mean.
    func place(of column: ParsedColumn) -> Place? {
        if case .one(let place) = find(column) { place } else { nil }
    }

    func column(at place: Place) -> Column { relations[place.source].columns[place.column] }

    private func type(of place: Place) -> OID { column(at: place).type }

    private func find(_ name: ParsedColumn) -> Found {
        if name.relation != nil {
            guard let source = source(of: name) else { return .failed(.unresolvedColumn) }
            if let place = place(named: name.name, in: source) { return .one(place) }
            return .failed(Self.isSystem(name.name) ? .systemColumn : .unresolvedColumn)
        }
        let isOutput = name.mayBeOutput && select.outputNames.contains(name.name)
        let places = relations.indices.compactMap { place(named: name.name, in: $0) }
        if isOutput { return places.isEmpty ? .output : .merged(places) }
        switch places.count {
        case 1: return .one(places[0])
        case 0:
            if Self.isSystem(name.name) { return .failed(.systemColumn) }
            let isRelation = select.sources.contains { ($0.alias ?? $0.name.name) == name.name }
            return .failed(isRelation ? .wholeRow : .unresolvedColumn)
        default:
            let isMerged = select.hasNaturalJoin || select.usingColumns.contains(name.name)
            return isMerged ? .merged(places) : .failed(.unresolvedColumn)
        }
    }

    private func source(of name: ParsedColumn) -> Int? {
        select.sources.indices.first { index in
            let source = select.sources[index]
            guard let schema = name.schema else {
                return (source.alias ?? source.name.name) == name.relation
            }
            return source.alias == nil && source.name.name == name.relation
                && relations[index].schema == schema
        }
    }

    private func place(named name: String, in source: Int) -> Place? {
        relations[source].columns.firstIndex { $0.name == name }
            .map { Place(source: source, column: $0) }
    }

    /// Manual, 5.5 System Columns.
    private static func isSystem(_ name: String) -> Bool {
        ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"].contains(name)
    }
}
