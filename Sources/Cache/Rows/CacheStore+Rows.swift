import CDC
import Mutation
import PGProtocol

/// Answers from the row tier: which executions it may answer, and how they come into the memo [T6].
extension CacheStore {
    // MARK: - Asking

    /// Whether the row tier has the answer to an execution.
    func mayReadRows(_ execution: Execution) -> Bool { usesForRead(execution) != nil }

    /// What an execution reads, if all of it is in the cache database, which would compute the same of it; and what its
    /// answer has to show, if only some first rows are there.
    private func usesForRead(
        _ execution: Execution
    ) -> (uses: [BoundUse], links: [JoinLink], proof: RankingProof?)? {
        guard rows.hasRoomForRead, isServing, originDatabase != nil, let query = execution.statement.pointee.query,
            rows.hasSomeRows(query.uses.lazy.map(\.relation)),
            execution.statement.pointee.rowsRefusal != .always, execution.key.count == execution.tail.count,
            !rows.isOversized(memo.hash(execution.statement, tail: execution.key)),
            isPortable(query, profile: execution.statement.pointee.profile),
            execution.tail.count == 0 || !StatementParser.isTimeDependentText(execution.tail),
            let binding = binding(execution.statement, execution.tail),
            execution.statement.pointee.rowsRefusal != .binary || !(binding.tail?.asksForBinary ?? false)
        else { return nil }
        var uses = binding.bind(query)
        var proof: RankingProof?
        if !rows.covers(uses, query.links, named: named(query)) {
            guard let first = firstRows(execution.statement, binding),
                let (narrowed, needed) = rows.narrowed(uses, first),
                rows.covers(narrowed, query.links, named: named(query))
            else { return nil }
            uses = narrowed
            proof = needed
        }
        // It would show what the origin does not show to anybody yet [T2].
        guard !visibility.matches(uses) || Mutation.rowsAheadOfOrigin.isOn else {
            isVisibilityUrgent = true
            return nil
        }
        return (uses, query.links, proof)
    }

    /// The rows that an execution's LIMIT asks for, where they are the first in the order of a column.
    private func firstRows(_ statement: UnsafeMutablePointer<Statement>, _ binding: OperandBinding) -> RankedRows? {
        guard let ranking = statement.pointee.query?.ranking, let range = rowRange(statement, binding.tail),
            let limit = range.limit, limit > 0, limit <= RankedRows.countMax, range.offset <= RankedRows.countMax
        else { return nil }
        return RankedRows(ranking: ranking, limit: limit, count: limit + range.offset)
    }

    /// Begins to read an execution's answer in the cache database; nil where the origin has to be asked.
    ///
    /// The entry is found by whoever asks for the same meanwhile, like one whose answer the origin is giving.
    func beginRead(_ execution: Execution) -> EntryID? {
        guard let (uses, links, proof) = usesForRead(execution),
            let id = memo.beginCapture(
                statement: execution.statement.pointee.id, tail: execution.key,
                hash: memo.hash(execution.statement, tail: execution.key), uses: uses)
        else { return nil }
        if Mutation.readSurvivesChange.isOn { memo[id]?.pointee.captureSequence = .max }
        rows.read(
            RowRead(
                entry: id.packed, statement: execution.statement.pointee.id.packed,
                bindTail: execution.tail.count == 0 ? [0, 0, 0, 0, 0, 0] : execution.tail.bytes,
                profile: execution.statement.pointee.profile),
            uses: uses, links, proof: proof)
        counters.rowReads += 1
        if rows.isSubsumed(uses) { counters.subsumptions += 1 }
        return id
    }

    /// The origin has to answer: next time the rows may be here.
    func wantRows(
        _ query: ResolvedQuery, _ uses: [BoundUse], _ statement: UnsafeMutablePointer<Statement>,
        _ binding: OperandBinding
    ) {
        guard rows.isReady, isPortable(query, profile: statement.pointee.profile) else { return }
        rows.want(uses, query.links, first: firstRows(statement, binding), named: named(query)) {
            catalog.relation($0)
        }
    }

    /// Whether the cache database would compute the same bytes.
    private func isPortable(_ query: ResolvedQuery, profile: UInt32) -> Bool {
        guard query.isPortable, let profile = profiles[profile], likeness.allows(query, profile) else {
            return false
        }
        return query.rights.allSatisfy { need in need.relations.allSatisfy { catalog.knows($0) } }
    }

    /// The relations that it names.
    func named(_ query: ResolvedQuery) -> [Relation] {
        Set(query.rights.flatMap(\.relations)).compactMap { catalog.relation($0) }
    }

    // MARK: - What the shell does

    public func nextRowCommand() -> RowCommand? {
        while let oid = rows.takeWantedSchema() {
            let isView = catalog.relation(oid)?.view != nil
            let isAsked = questions.ask(.pool(oid), isView ? PoolView.question(oid) : PoolSchema.question(oid))
            if !isAsked { rows.schemaArrived(oid, .refused("no room")) }
        }
        settleRows()
        while let zone = likeness.takeWantedZone() {
            _ = questions.ask(.zone(zone), DatabaseFacts.zoneQuestion(zone))
            rows.compare(zone: zone)
        }
        return rows.nextCommand()
    }

    /// Populations go on, and whoever waits for a read that nobody does any more goes to the origin.
    func settleRows() {
        if rows.takeForgotten() { forgetImages() }
        if rows.takeLoss() { pinned.isDue = true }
        if pinned.isDue { advancePinned() }
        rows.advance(
            reachedBeat: reachedBeat, isEverythingInDoubt: visibility.isEverythingInDoubt,
            isInvisible: { visibility.matches($0) }, shape: { shapes[$0] })
        while let entry = rows.takeAbandoned() { abandon(EntryID(packed: entry)) }
        while let entry = transients.popLast() { drop(entry) }
    }

    /// The body of Parse behind the statement's name; nil when the statement is gone.
    public func parseBody(of statement: UInt64) -> [UInt8]? {
        guard let statement = statements[StatementID(packed: statement)] else { return nil }
        let body = statement.pointee.parseTail.bytes
        // A simple query's key ends with its text's NUL.
        return body.count == statement.pointee.textCount + 1 ? body + [0, 0] : body
    }

    /// What a connection to the cache database has to set for a profile, its search path included.
    public func settings(ofProfile profile: UInt32) -> [(name: String, value: String)] {
        guard let profile = profiles[profile] else { return [] }
        let path = profile.searchPath.map { SQLText.identifier($0) }.joined(separator: ", ")
        return zip(Profile.settings, profile.values).filter { !$0.1.isEmpty }.map { ($0.0, $0.1) }
            + [("search_path", path)]
    }

    // MARK: - What has become of it

    /// The cache database is there, and empty.
    package func cacheDatabaseReady(_ alikeness: DatabaseFacts.Alikeness) {
        likeness = Likeness()
        likeness.databases = alikeness
        rows.databaseReady()
        pinned.isDue = true
        settleRows()
    }

    public func cacheDatabaseLost() {
        rows.databaseLost()
        settleRows()
    }

    public func poolCreated(_ relation: OID, tableOID: OID, columnTypes: [OID]) {
        rows.poolCreated(relation, tableOID: tableOID, columnTypes: columnTypes)
        pinned.isDue = true
    }

    /// - Parameter digest: what the cache database answers to `DatabaseFacts.zoneQuestion`.
    public func zoneDescribed(_ zone: String, _ digest: String?) {
        likeness.zoneAnswered(zone, digest, isOrigin: false)
    }

    public func poolInherits(_ child: OID, parent: OID) {
        rows.poolInherits(child, parent: parent)
        pinned.isDue = true
    }

    public func poolFailed(_ relation: OID, _ reason: String) {
        rows.poolFailed(relation, reason)
        pinned.isDue = true
    }

    /// The memo and the pools share one bound.
    public func poolsMeasured(_ bytes: [OID: Int]) {
        rows.measured(bytes, bytesMax: max(rows.limits.bytesMax - memo.bytes, 0))
    }

    /// - Parameters:
    ///   - missing: the updates in it, by position, whose row was not there.
    ///   - told: by position, the rows that were asked for and are there.
    public func rowsApplied(_ sequence: UInt64, missing: [Int], told: [Int: RowImage] = [:]) {
        imagesTold(sequence, told)
        rows.applied(sequence, missing: missing)
    }

    /// Changes could not be applied: what is there is of no use any more.
    public func rowsFailed() { resetRows() }

    func resetRows() {
        rows.reset()
        settleRows()
    }

    /// - Parameter bytes: that were copied.
    /// - Parameter reach: how far some first rows go, where these were asked for.
    public func populationLoaded(_ id: PopulationID, bytes: Int, reach: FirstRowsReach? = nil) {
        let beat = beats.next
        if rows.populationLoaded(id, bytes: bytes, reach: reach, nextBeat: beat) { beats.want(beat) }
    }

    /// - Parameter keys: as text; nil where there are too many, or none could be read.
    public func keysListed(_ number: UInt64, _ keys: [[UInt8]]?) { rows.keysListed(number, keys) }

    public func populationFailed(_ id: PopulationID, _ failure: PopulationFailure) {
        rows.populationFailed(id, failure)
    }

    /// Whole messages of an answer, in their order, without ReadyForQuery.
    public func readArrived(_ entry: UInt64, _ messages: ByteView) {
        let id = EntryID(packed: entry)
        guard rows.reads[entry] != nil, let memoEntry = memo[id], memoEntry.pointee.state == .capturing else { return }
        let hash = memoEntry.pointee.hash
        var position = 0
        while messages.count - position >= 5 {
            let total = 1 + Int(messages.uint32(at: position + 1))
            guard total >= 5, total <= messages.count - position else { break }
            let message = messages.slice(from: position, count: total)
            if let refusal = take(message, of: id) {
                // What is too large for the memo is gone by now. It would be too large again.
                if memo[id] == nil { rows.oversized(hash) }
                refuseRows(id, refusal)
                return
            }
            position += total
        }
        if position < messages.count { refuseRows(id) }
    }

    /// - Returns: why the answer is of no use, if it is not.
    private func take(_ message: ByteView, of id: EntryID) -> RowsRefusal? {
        switch message[0] {
        case BackendType.rowDescription:
            let body: [UInt8]
            switch rows.mapping().mapped(message.dropFirst(5)) {
            case .body(let bytes): body = bytes
            case .unknown: return .always
            case .binaryTypes: return .binary
            }
            var writer = ByteWriter(reserving: message.count)
            writer.message(BackendType.rowDescription) { $0.append(body) }
            guard withView(writer.bytes, { isAsPromised($0, id) && append(id, $0) }) else { return .always }
            descriptionEnded(id)
            return nil
        case BackendType.dataRow, BackendType.commandComplete:
            return append(id, message) ? nil : .always
        case BackendType.parseComplete, BackendType.bindComplete, BackendType.parameterStatus:
            return nil
        default:
            return .always
        }
    }

    /// What the origin has said that the statement returns, if it has.
    private func isAsPromised(_ description: ByteView, _ id: EntryID) -> Bool {
        guard let entry = memo[id], let statement = statements[entry.pointee.statement],
            let known = statement.pointee.rowShape
        else { return true }
        return description.rowShape == known
    }

    /// All of it has come.
    public func readEnded(_ entry: UInt64) {
        let id = EntryID(packed: entry)
        guard let read = rows.readEnded(entry), let memoEntry = memo[id], memoEntry.pointee.state == .capturing else {
            // Its room was taken away meanwhile: whoever waits goes to the origin.
            releaseFollowers(of: id)
            return
        }
        guard memoEntry.pointee.descriptionCount > 0, memoEntry.pointee.rowCount != nil,
            memo.finishCapture(id, descriptionCount: memoEntry.pointee.descriptionCount)
        else {
            refuseRows(id)
            return
        }
        if let proof = read.proof {
            let isProven = isProven(proof, memoEntry)
            rows.proven(proof, isProven)
            guard isProven else { return drop(id) }
        }
        if let statement = statements[memoEntry.pointee.statement], statement.pointee.rowShape == nil {
            statement.pointee.rowShape = memoEntry.pointee.description.rowShape
        }
        if keepsAnswers {
            holdKeys(id)
            noteWindow(id)
        } else {
            transients.append(id)
        }
        // Nothing that could alter it has come since before it was read, so it is the answer at W [T6].
        memo.makeServable(id)
        counters.rowAnswers += 1
        releaseFollowers(of: id)
    }

    private func isProven(_ proof: RankingProof, _ entry: UnsafeMutablePointer<MemoEntry>) -> Bool {
        guard let statement = statements[entry.pointee.statement],
            let binding = binding(statement, entry.pointee.tail.view)
        else { return false }
        return withView(statement.pointee.describeReply ?? []) { described in
            proof.holds(for: entry.pointee, described: described.count > 0 ? described : nil, tail: binding.tail)
        }
    }

    /// There is no answer this time: whoever waits goes to the origin.
    public func readFailed(_ entry: UInt64) {
        _ = rows.readEnded(entry)
        abandon(EntryID(packed: entry))
    }

    /// The cache database does not give what the origin would: it is not asked for this statement again.
    private func refuseRows(_ id: EntryID, _ refusal: RowsRefusal = .always) {
        _ = rows.readEnded(id.packed)
        if let entry = memo[id], let statement = statements[entry.pointee.statement],
            statement.pointee.rowsRefusal != .always
        {
            statement.pointee.rowsRefusal = refusal
        }
        counters.rowRefusals += 1
        abandon(id)
    }
}

extension ResolvedQuery {
    /// It calls nothing but what PostgreSQL brought, and no setting or name matters to it that the cache database
    /// could not have.
    var isPortable: Bool {
        !callsBodies && !namesCollation && classes.isDisjoint(with: [.path, .custom])
            && functions.allSatisfy { $0.isBuiltIn && !Self.ofNumbers.contains($0.value) }
    }

    /// Immutable (pg_proc.dat), and yet of what is another on each server: the numbers of enum values and of types in
    /// arrays and rows, the time line of the WAL.
    private static let ofNumbers: Set<UInt32> = [
        626, 782, 3515, 3414, 6192, 6193,  // hash_array, hashenum, hash_record, each with its `extended`
        3181, 3182, 3183, 3184, 3185, 3186, 3187,  // record_image_eq and its kin
        2850, 2851,  // pg_walfile_name_offset, pg_walfile_name
    ]
}

extension RelationPool {
    /// What the catalog's answer to `PoolSchema.question` makes of the relation that is known.
    static func answer(_ relation: Relation, _ rows: [[String?]]) -> PoolAnswer {
        if relation.view != nil { return viewAnswer(relation, rows) }
        guard let schema = PoolSchema(rows: rows) else { return .refused("its schema could not be read") }
        if let refusal = schema.refusal { return .refused("\(refusal)") }
        guard schema.agrees(with: relation) else { return .refused("it is another one by now") }
        guard schema.collations.isEmpty else { return .refused("a column has a collation of its own") }
        let stored = schema.storedColumns
        let key = schema.keyColumns.compactMap { stored.firstIndex(of: $0) }
        guard schema.isPartitioned || !key.isEmpty, key.count == schema.keyColumns.count else {
            return .refused("its key is generated")
        }
        return .table(
            PoolTable(
                relation: relation.oid, schema: schema.schema, name: schema.name,
                columns: stored.map { schema.columns[$0].name }, key: key, statements: schema.createStatements),
            originBytes: Int(clamping: schema.bytes))
    }

    private static func viewAnswer(_ relation: Relation, _ rows: [[String?]]) -> PoolAnswer {
        guard let view = PoolView(rows: rows) else { return .refused("its query could not be read") }
        if let refusal = view.refusal { return .refused("\(refusal)") }
        guard view.oid == relation.oid, view.version == relation.version else {
            return .refused("it is another one by now")
        }
        guard view.collations.isEmpty else { return .refused("it names a collation") }
        return .view(
            PoolTable(
                relation: relation.oid, schema: view.schema, name: view.name, columns: [], key: [],
                statements: view.createStatements),
            reads: view.reads)
    }
}

/// For which executions of a statement the cache database does not give what the origin would.
enum RowsRefusal: Equatable {
    /// Those with results in binary.
    case binary
    case always
}
