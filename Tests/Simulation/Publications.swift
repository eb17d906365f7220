import CDC
import Loop
import PGProtocol

/// Publications and their members over time, advisory locks, slots and walsenders of the modelled origin.
///
/// A change of a publication is a transaction of its own, with a record in the log. Every state that a publication ever
/// had is kept with the position behind which it holds, since a walsender looks membership up as of the change that it
/// decodes [T3], long after.
///
/// Invariant: the states of a publication are in the order of the log. Owner: `Origin`; links hold it too.
final class Publications {
    /// A relation in a publication. Its identity is its row's number and version: another one when it is removed and
    /// added again.
    struct Member: Equatable {
        var table: Int
        var number: UInt32
        var version: TransactionID
        var identity: String { "\(number):\(version)" }
    }

    /// What a publication was from `since` on; without members it did not exist.
    struct Version {
        var since: LSN
        var members: [Member]?
    }

    struct History {
        let name: String
        let number: UInt32
        var versions: [Version]
        var members: [Member]? { versions.last?.members }
    }

    let surroundings: Surroundings
    let database: OriginDatabase
    private(set) var histories: [History] = []
    /// Who holds the advisory lock of which name.
    private var locks: [(name: String, holder: Int)] = []
    /// Instances that have an event trigger, by the digits of their names.
    private(set) var eventTriggers: Set<String> = [] { didSet { database.hasEventTrigger = !eventTriggers.isEmpty } }
    private var backends: [LinkBackend] = []
    var slots: [ReplicationSlot] = []
    private(set) var walsenders: [Walsender] = []
    /// Changes when the configuration was loaded anew.
    private(set) var catalogVersion = 0
    private var nextNumber: UInt32 = 20_000
    private var random: Random

    /// ALTER PUBLICATION waits in vain for its lock until then.
    private var lockedUntil: UInt64 = 0
    /// Of a thousand ALTER PUBLICATION, how many do anyway.
    var alterFailsPerMille = 4

    /// How far the log is on disk: a walsender sees no more.
    private(set) var flushedLSN: LSN
    private var isFlushing = false
    /// When each record of the log was written.
    private var loggedAt: [UInt64] = []

    init(_ surroundings: Surroundings, _ database: OriginDatabase) {
        self.surroundings = surroundings
        self.database = database
        random = surroundings.random("publications")
        flushedLSN = database.insertLSN.withoutPageHeader
        loggedAt = [UInt64](repeating: surroundings.scheduler.now, count: database.log.count)
        // What is dropped is in no publication any more.
        database.catalogChanged = { [weak self] before, now in
            if let table = before.sheet?.table, table != now.sheet?.table { self?.remove(table: table) }
        }
        let next = database.logged
        database.logged = { [weak self] in
            next?()
            self?.logged()
        }
    }

    // MARK: The log

    private func logged() {
        while loggedAt.count < database.log.count { loggedAt.append(surroundings.scheduler.now) }
        if let last = database.log.last { flushed(to: last.end) }
        for walsender in walsenders { walsender.logged() }
    }

    func timeLogged(_ record: Int) -> UInt64 { loggedAt[record] }

    /// A commit puts everything before it on disk; what running transactions have written gets there without them.
    func flushed(to position: LSN) { flushedLSN = max(flushedLSN, position) }

    /// As PostgreSQL's WAL writer: goes on while somebody reads the log.
    private func flushLater() {
        if isFlushing { return }
        isFlushing = true
        surroundings.scheduler.after(UInt64(random.within(20...200)) * millisecond) { [weak self] in
            guard let self else { return }
            self.isFlushing = false
            if self.walsenders.isEmpty { return }
            self.flushed(to: self.database.insertLSN.withoutPageHeader)
            for walsender in self.walsenders { walsender.flushed() }
            self.flushLater()
        }
    }

    func started(_ walsender: Walsender) {
        walsenders.append(walsender)
        flushLater()
    }
    /// The poll of the catalog shows it.
    func catalogChanged() { catalogVersion += 1 }

    func stopped(_ walsender: Walsender) { walsenders.removeAll { $0 === walsender } }

    // MARK: Connections

    func connected(_ backend: LinkBackend) { backends.append(backend) }

    func disconnected(_ backend: LinkBackend) {
        backends.removeAll { $0 === backend }
        locks.removeAll { $0.holder == backend.number }
        releaseSlots(of: backend.number)
    }

    /// The origin stopped at once: every connection is gone, and with them temporary slots, advisory locks and
    /// walsenders. Publications and persistent slots are as they were on disk.
    func restarted() {
        for backend in backends {
            let isTold = random.chance(500)
            backend.terminated(
                state: isTold ? "57P01" : "",
                message: isTold
                    ? "terminating connection due to administrator command"
                    : "server closed the connection unexpectedly")
        }
        restartSlots()
        catalogVersion += 1
    }

    // MARK: History

    /// The state of a publication for a change at `position`: its number among all of its states, and its members; nil
    /// where it did not exist.
    func version(of name: String, at position: LSN) -> (number: Int, members: [Member]?) {
        guard let history = histories.last(where: { $0.name == name }) else { return (-1, nil) }
        var place = history.versions.count - 1
        while place >= 0, history.versions[place].since > position { place -= 1 }
        return (place, place < 0 ? nil : history.versions[place].members)
    }

    /// The publication exists now.
    func exists(_ name: String) -> Bool { histories.contains { $0.name == name && $0.members != nil } }

    /// The tables that are published now.
    func tables(_ name: String) -> [Int] {
        histories.last { $0.name == name }?.members?.map(\.table) ?? []
    }

    private func number() -> UInt32 {
        nextNumber += 1
        return nextNumber
    }

    /// Commits the next state of a publication. A member without a version gets that of the change.
    private func commit(_ index: Int, _ members: [Member]?) {
        let (xid, end) = database.commitAlone { .publication(xid: $0) }
        let complete = members?.map { member in
            var member = member
            if member.version == TransactionID(0) { member.version = xid }
            return member
        }
        histories[index].versions.append(Version(since: end, members: complete))
        surroundings.trace.note(
            "origin",
            "publication \(histories[index].name) by \(xid) at \(end): "
                + (complete.map { "\($0.map { OriginDatabase.name(of: $0.table) })" } ?? "gone"))
    }

    private func create(_ name: String) {
        if let index = histories.firstIndex(where: { $0.name == name }) { return commit(index, []) }
        histories.append(History(name: name, number: number(), versions: []))
        commit(histories.count - 1, [])
    }

    private func existing(_ name: String) -> Int? {
        histories.firstIndex { $0.name == name && $0.members != nil }
    }

    // MARK: What the publication link asks

    /// One statement of the publication link, and how long its answer takes.
    func execute(_ sql: String, for backend: Int) -> (event: LinkEvent, delay: UInt64) {
        if sql.hasPrefix("SELECT pg_try_advisory_lock(") {
            return (.answered([[lock(named(sql, "hashtextextended("), backend) ? "t" : "f"]]), 0)
        }
        if sql.hasPrefix("SELECT pg_advisory_unlock(") {
            let name = named(sql, "hashtextextended(")
            locks.removeAll { $0.name == name && $0.holder == backend }
            return (.answered([["t"]]), 0)
        }
        if sql.hasPrefix("WITH ours AS MATERIALIZED ") {
            return (.answered(others(than: named(sql, "WHERE name <> "), backend)), 0)
        }
        if sql.hasPrefix("DO "), sql.firstRange(of: "CREATE EVENT TRIGGER ") != nil {
            guard surroundings.parameters.allowsEventTriggers else {
                let why = "permission denied to create an event trigger"
                return (.failed(state: "42501", message: why), 0)
            }
            eventTriggers.insert(instance(sql))
            return (.answered([]), 0)
        }
        if sql.hasPrefix("SELECT oid FROM pg_catalog.pg_publication ") {
            let index = existing(named(sql, "pubname = "))
            return (.answered(index.map { [["\(histories[$0].number)"]] } ?? []), 0)
        }
        if sql.hasPrefix("SELECT 'fence'") {
            let (xid, _) = database.commitAlone { .commit(xid: $0, edits: []) }
            return (.answered([["fence", "\(xid)"]]), 0)
        }
        if sql.hasPrefix("SELECT 'publication'") {
            return (.answered(members(named(sql, "pubname = "), isAdopted: false)), 0)
        }
        if sql.hasPrefix("WITH RECURSIVE publication ") {
            return (.answered(members(named(sql, "pubname = "), isAdopted: true)), 0)
        }
        return change(sql)
    }

    /// The digits of an instance's event trigger.
    private func instance(_ sql: String) -> String {
        guard let place = sql.firstRange(of: "pgcache_ddl_") else { return "" }
        return String(sql[place.upperBound...].prefix(while: \.isHexDigit))
    }

    private func named(_ sql: String, _ marker: String) -> String {
        guard let name = SQLExcerpt.quoted(after: marker, in: sql) else {
            preconditionFailure("no name behind \(marker) in \(sql)")
        }
        return name
    }

    private func change(_ sql: String) -> (event: LinkEvent, delay: UInt64) {
        if sql.hasPrefix("CREATE PUBLICATION ") {
            let name = named(sql, "CREATE PUBLICATION ")
            guard !exists(name) else {
                return (.failed(state: "42710", message: "publication \"\(name)\" already exists"), 0)
            }
            create(name)
            return (.answered([]), 0)
        }
        if sql.firstRange(of: "DROP EVENT TRIGGER ") != nil { eventTriggers.remove(instance(sql)) }
        if sql.firstRange(of: "DROP PUBLICATION IF EXISTS ") != nil {
            if let index = existing(named(sql, "DROP PUBLICATION IF EXISTS ")) { commit(index, nil) }
            return (.answered([]), 0)
        }
        precondition(
            sql.hasPrefix("ALTER PUBLICATION ") || sql.hasPrefix("DO 'BEGIN\nALTER PUBLICATION "),
            "the modelled origin does not know \(sql)")
        let name = named(sql, "ALTER PUBLICATION ")
        if surroundings.scheduler.now < lockedUntil || database.isSheetLocked || random.chance(alterFailsPerMille) {
            return (
                .failed(state: "55P03", message: "canceling statement due to lock timeout"), second
            )
        }
        guard let index = existing(name) else {
            return (.failed(state: "42704", message: "publication \"\(name)\" does not exist"), 0)
        }
        if sql.hasPrefix("ALTER") {
            commit(index, histories[index].members)
            return (.answered([]), 0)
        }
        return (add(relations(sql), to: index), 0)
    }

    /// The numbers that the block compares what it has added with.
    private func relations(_ sql: String) -> [OID] {
        guard let place = sql.firstRange(of: "ARRAY[") else { return [] }
        return sql[place.upperBound...].prefix { $0 != "]" }.split(separator: ",").compactMap { OID($0) }
    }

    private func add(_ relations: [OID], to index: Int) -> LinkEvent {
        var members = histories[index].members ?? []
        for relation in relations {
            guard let table = database.table(relation) else {
                return .failed(state: "42P01", message: "relation \(relation) does not exist")
            }
            guard !members.contains(where: { $0.table == table }) else {
                let name = OriginDatabase.name(of: table)
                return .failed(
                    state: "42710", message: "relation \"\(name)\" is already member of publication")
            }
            members.append(Member(table: table, number: number(), version: TransactionID(0)))
        }
        commit(index, members)
        return .answered([])
    }

    private func members(_ name: String, isAdopted: Bool) -> [[String?]] {
        guard let index = existing(name), let members = histories[index].members else { return [] }
        let version = "\(histories[index].versions.count)"
        var rows: [[String?]] = [["publication", "true", "\(histories[index].number)"]]
        for member in members {
            rows.append([
                "member", "\(database.oid(of: member.table))",
                isAdopted ? "\(version):\(member.number).\(member.version)" : member.identity,
            ])
        }
        return rows
    }

    // MARK: Advisory locks

    private func lock(_ name: String, _ backend: Int) -> Bool {
        if let held = locks.first(where: { $0.name == name }) { return held.holder == backend }
        locks.append((name, backend))
        return true
    }

    /// Publications of ours but this one, with whether their lock could be taken.
    private func others(than own: String, _ backend: Int) -> [[String?]] {
        let names = histories.filter { history in
            history.members != nil && history.name != own
                && history.name.hasPrefix(Leftovers.publicationPrefix)
        }.map(\.name).sorted()
        return names.map { [$0, lock($0, backend) ? "t" : "f"] }
    }

    /// Names of publications and slots that there are.
    var leftovers: [String] {
        histories.filter { $0.members != nil }.map(\.name) + slots.map(\.name)
            + eventTriggers.sorted().map { "pgcache_ddl_" + $0 }
    }

    // MARK: Faults

    /// Somebody takes a relation out of every publication that holds it.
    func remove(table: Int) {
        for index in histories.indices {
            guard let members = histories[index].members, members.contains(where: { $0.table == table })
            else { continue }
            commit(index, members.filter { $0.table != table })
        }
    }

    /// Somebody adds a relation to every publication that lacks it.
    func add(table: Int) {
        for index in histories.indices {
            guard let members = histories[index].members, !members.contains(where: { $0.table == table })
            else { continue }
            commit(
                index,
                members + [Member(table: table, number: number(), version: TransactionID(0))])
        }
    }

    /// Somebody drops all publications.
    func dropAll() {
        for index in histories.indices where histories[index].members != nil { commit(index, nil) }
    }

    /// A publication that a dead instance has left, or that an operator has made.
    func leave(_ name: String, tables: [Int] = []) {
        create(name)
        guard !tables.isEmpty else { return }
        let members = tables.map { Member(table: $0, number: number(), version: TransactionID(0)) }
        if let index = existing(name) { commit(index, members) }
    }

    /// Every ALTER PUBLICATION fails for so long, as behind a VACUUM.
    func lockTables(for nanoseconds: UInt64) {
        lockedUntil = max(lockedUntil, surroundings.scheduler.now &+ nanoseconds)
    }

    /// Nothing is decoded for so long.
    func stallWalsenders(for nanoseconds: UInt64) {
        for walsender in walsenders { walsender.stall(for: nanoseconds) }
    }
}
