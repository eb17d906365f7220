import PGProtocol
import Testing

@testable import Simulation

/// Roles, rights and the table `sheet` of the modelled origin: what PostgreSQL 15 does.
struct CatalogTests {
    private let fixture = DatabaseFixture { $0.changesCatalog = true }
    private var database: OriginDatabase { fixture.database }
    private static let all = SheetRead(output: .everything, key: nil, isOrdered: true)
    private static let account = Select(table: Table.account, output: .columns([.a(0)]))

    private func run(
        _ statement: CatalogStatement, as role: OriginRole = .app, in transaction: Transaction
    ) -> OriginDatabase.Outcome {
        transaction.role = role
        return fixture.run(.catalog(statement), in: transaction)
    }

    private func commit(_ changes: CatalogChange...) {
        let transaction = database.begin(.readCommitted)
        for change in changes {
            guard case .changed = run(.change(change), in: transaction) else {
                Issue.record("\(CatalogStatement.change(change).sql) changed nothing")
                continue
            }
        }
        database.commit(transaction) { _ in }
        fixture.settle()
    }

    /// The names of the result's columns, or the error's SQLSTATE; and how many rows.
    private func read(_ read: SheetRead = all, as role: OriginRole = .app) -> ([String], Int) {
        let transaction = database.begin(.readCommitted)
        defer { database.rollback(transaction) }
        switch run(.read(read), as: role, in: transaction) {
        case .answer(let answer): return (answer.fields?.map(\.name) ?? [], answer.rows.count)
        case .failed(let error): return ([error.state], 0)
        case .changed, .waits: return ([], -1)
        }
    }

    private func state(_ outcome: OriginDatabase.Outcome) -> String? {
        if case .failed(let error) = outcome { error.state } else { nil }
    }

    // MARK: Rights

    @Test func rightsComeFromGrantsGroupsAndOwnership() {
        func mayRead(_ role: OriginRole) -> Bool { database.catalog.refusal([Table.account], role) == nil }
        #expect(OriginRole.allCases.allSatisfy(mayRead))
        commit(.revoke(Table.account, .staff), .revoke(Table.account, .guest))
        #expect(!mayRead(.clerk) && !mayRead(.guest) && mayRead(.app) && mayRead(.boss))
        commit(.grant(Table.account, .staff))
        #expect(mayRead(.clerk) && !mayRead(.guest))
        commit(.leave(.clerk))
        #expect(!mayRead(.clerk))
        commit(.join(.clerk), .revokeUsage(.staff))
        #expect(database.catalog.refusal([Table.account], .clerk)?.state == "42P01")
        #expect(database.catalog.refusal([Table.archivedEvent], .clerk) == nil)
    }

    @Test func aSelectWithoutTheRightFails() {
        commit(.revoke(Table.account, .guest))
        let transaction = database.begin(.readCommitted)
        transaction.role = .guest
        #expect(state(fixture.run(.select(Self.account), in: transaction)) == "42501")
        transaction.role = .clerk
        #expect(state(fixture.run(.select(Self.account), in: transaction)) == nil)
    }

    @Test func aRevokeCountsForOthersOnceItIsVisible() {
        let transaction = database.begin(.readCommitted)
        _ = run(.change(.revoke(nil, .guest)), in: transaction)
        #expect(read(as: .guest).0.first == "id")
        database.commit(transaction) { _ in }
        // It is in the log, and can be decoded.
        #expect(read(as: .guest).0.first == "id")
        #expect(transaction.state == .logged)
        fixture.settle()
        #expect(read(as: .guest).0 == ["42501"])
        #expect(database.catalogVersions.count == 2)
        #expect(transaction.catalogVersion == 1)
    }

    @Test func aPolicyShowsARoleItsOwnRows() {
        commit(.rowSecurity(true))
        #expect(read(as: .app).1 == 4)
        #expect(read(as: .clerk).1 == 2)
        #expect(read(as: .guest).1 == 1)
        commit(.rowSecurity(false))
        #expect(read(as: .guest).1 == 4)
    }

    @Test func onlyTheOwnerChangesTheCatalog() {
        let transaction = database.begin(.readCommitted)
        #expect(state(run(.change(.rowSecurity(true)), as: .clerk, in: transaction)) == "42501")
        #expect(state(run(.change(.grant(nil, .guest)), as: .guest, in: transaction)) == "42501")
        #expect(state(run(.write(.delete(1)), as: .guest, in: transaction)) == "42501")
    }

    // MARK: Shapes

    @Test func aColumnThatIsAddedHasItsDefaultInOlderRows() {
        commit(.addColumn(.extra, .int4, standard: 7))
        #expect(read().0 == ["id", "owner", "size", "label", "extra"])
        let extra = SheetRead(output: .columns([.extra]), key: .constant(.int(1)))
        let transaction = database.begin(.readCommitted)
        guard case .answer(let answer) = run(.read(extra), in: transaction) else { return }
        #expect(answer.rows == [[.int(7)]])
        #expect(answer.fields?.first?.attribute == 5)
    }

    @Test func whatIsGoneOrCalledOtherwiseIsNotFound() {
        commit(.rename(.label, .title), .dropColumn(.size))
        #expect(read().0 == ["id", "owner", "title"])
        #expect(read(SheetRead(output: .columns([.label]), key: nil)).0 == ["42703"])
        commit(.drop)
        #expect(read().0 == ["42P01"])
        commit(.create)
        #expect(read().0 == ["id", "owner", "size", "label"])
        #expect(read().1 == 0)
        #expect(read(as: .clerk).0 == ["42501"])
        #expect(database.catalog.sheet?.oid != database.catalogVersions[0].state.sheet?.oid)
    }

    @Test func whoHasReadTheTableIsWaitedFor() {
        let reader = database.begin(.readCommitted)
        _ = run(.read(Self.all), in: reader)
        let changer = database.begin(.readCommitted)
        guard case .waits(let other) = run(.change(.dropColumn(.size)), in: changer) else {
            Issue.record("nobody was waited for")
            return
        }
        #expect(other === reader)
        database.rollback(reader)
        guard case .changed = run(.change(.dropColumn(.size)), in: changer) else {
            Issue.record("the lock is not free")
            return
        }
        #expect(read().1 == -1)
        database.commit(changer) { _ in }
        #expect(read().1 == -1)
        fixture.settle()
        #expect(read().0 == ["id", "owner", "label"])
    }

    @Test func aRollbackLeavesTheCatalogAsItWas() {
        let before = database.catalog
        let transaction = database.begin(.readCommitted)
        _ = run(.change(.dropColumn(.size)), in: transaction)
        _ = run(.change(.revoke(Table.account, .staff)), in: transaction)
        database.rollback(transaction)
        fixture.settle()
        #expect(database.catalog == before)
        #expect(read().0.contains("size"))
    }

    @Test func aRowKeepsTheShapeOfItsTimeInTheLog() {
        commit(.addColumn(.extra, .int4, standard: 7))
        let transaction = database.begin(.readCommitted)
        _ = run(.write(.update(1, .size, 5)), in: transaction)
        database.commit(transaction) { _ in }
        guard case .commit(_, let edits)? = database.log.last?.kind, let edit = edits.last else {
            Issue.record("nothing was logged")
            return
        }
        #expect(edit.sheet?.published.columns.map(\.name) == ["id", "owner", "size", "label", "extra"])
        guard case .update(_, let new) = edit.kind else { return }
        #expect(new == [.int(1), .text("app"), .int(5), .text("l1"), .int(7)])
    }

    @Test func anEventTriggerTellsOfWhatBelongsToTheDatabase() {
        func messages() -> Int {
            database.log.reduce(0) { count, record in
                guard case .commit(_, let edits) = record.kind else { return count }
                return count + edits.count { if case .schemaMessage = $0.kind { true } else { false } }
            }
        }
        commit(.grant(nil, .guest))
        #expect(messages() == 0)
        database.hasEventTrigger = true
        commit(.leave(.clerk))
        #expect(messages() == 0)
        commit(.grant(nil, .guest))
        #expect(messages() == 1)
    }

    // MARK: Roles

    @Test func aSessionBecomesWhatItIsAMemberOf() throws {
        var clerk = Identity(.clerk)
        try clerk.become(.staff, isLocal: false, database.catalog)
        #expect(clerk.current == .staff)
        #expect(throws: OriginError.self) { try clerk.become(.guest, isLocal: false, database.catalog) }
        #expect(throws: OriginError.self) { try clerk.authorize(.guest) }
        try clerk.become(nil, isLocal: false, database.catalog)
        #expect(clerk.current == .clerk)

        var app = Identity(.app)
        try app.become(.guest, isLocal: true, database.catalog)
        #expect(app.current == .guest)
        #expect(app.settled.current == .app)

        var boss = Identity(.boss)
        try boss.authorize(.clerk)
        try boss.become(.staff, isLocal: false, database.catalog)
        #expect(boss.current == .staff)
        try boss.authorize(nil)
        #expect(boss.current == .boss)
    }
}
