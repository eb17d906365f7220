/// Somebody who changes roles, rights and `sheet` on the origin itself, so that the proxy sees no statement of it.
///
/// Everything is drawn from a stream of its own. Owner: the world, which stops it before it is calm.
final class Administrator {
    private let database: OriginDatabase
    private let surroundings: Surroundings
    private var random: Random
    private var isOn = true
    private var count = 0
    private static let countMax = 200

    init(_ database: OriginDatabase, _ surroundings: Surroundings) {
        self.database = database
        self.surroundings = surroundings
        random = surroundings.random("administrator")
        schedule()
    }

    func stop() { isOn = false }

    private func schedule() {
        let pause = random.within(1...2 * surroundings.parameters.administratorMilliseconds)
        surroundings.scheduler.after(UInt64(pause) * millisecond) { [weak self] in
            guard let self, isOn, count < Self.countMax else { return }
            count += 1
            begin()
        }
    }

    private func begin() {
        let transaction = database.begin(.readCommitted)
        var changes = [change()]
        if !isAboutRights, random.chance(300) {
            changes.append(CatalogWorkload.administration(&random, surroundings.parameters))
        }
        if changes[0] == .change(.drop) { changes = [changes[0], .change(.create)] }
        go(on: changes[...], transaction)
    }

    private var isAboutRights: Bool { surroundings.parameters.leaning == .rights }

    /// Often a right that comes and goes: an event trigger's message of it may be decoded long before it is visible,
    /// and nobody waits for it [T2].
    private func change() -> CatalogStatement {
        guard isAboutRights || random.chance(500) else {
            return CatalogWorkload.administration(&random, surroundings.parameters)
        }
        let role: OriginRole = random.pick([.staff, .guest])
        let table = random.pick([Table.account, Table.entry])
        let isReader = database.catalog.readers[table].contains(role)
        return .change(isReader ? .revoke(table, role) : .grant(table, role))
    }

    private func go(on changes: ArraySlice<CatalogStatement>, _ transaction: Transaction) {
        guard transaction.state == .running else { return schedule() }
        guard let change = changes.first else {
            guard !random.chance(150) else { return end(transaction) }
            surroundings.trace.note("administrator", "commits")
            return database.commit(transaction) { [weak self] _ in self?.schedule() }
        }
        let outcome = database.run(.catalog(change), [], in: transaction, view: database.currentView())
        switch outcome {
        case .answer, .changed:
            surroundings.trace.note("administrator", change.sql)
            let pause = UInt64(random.below(random.chance(200) ? 5_000 : 100)) * microsecond
            surroundings.scheduler.after(pause) { [weak self] in self?.go(on: changes.dropFirst(), transaction) }
        case .waits(let other):
            database.whenEnded([other]) { [weak self] in self?.go(on: changes, transaction) }
        case .failed:
            end(transaction)
        }
    }

    private func end(_ transaction: Transaction) {
        database.rollback(transaction)
        schedule()
    }
}
