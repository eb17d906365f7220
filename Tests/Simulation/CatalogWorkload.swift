/// What clients do with roles, rights and `sheet`, mixed into what they do anyway.
///
/// Drawn from a stream of its own: a world in which the catalog changes has the other steps of its clients as they
/// were.
struct CatalogWorkload {
    private let parameters: Parameters
    private let number: Int
    private var random: Random

    init(_ parameters: Parameters, _ number: Int) {
        self.parameters = parameters
        self.number = number
        random = Random(seed: parameters.seed, "catalog plan", number)
    }

    /// Adds steps between those of the plan, about as many as there are.
    func mix(into plan: inout ClientPlan) {
        var workload = self
        let user: OriginRole = workload.random.pick([.app, .app, .clerk, .clerk, .guest, .boss])
        if plan.login == .plain { plan.login.user = user.rawValue }
        var steps: [Step] = []
        for step in plan.steps {
            steps.append(step)
            if workload.random.chance(400) { steps.append(workload.step()) }
        }
        plan.steps = steps
    }

    private mutating func step() -> Step { Step(seed: random.next(), action: action()) }

    private mutating func action() -> Step.Action {
        if random.chance(parameters.catalogChangesPerMille) { return change() }
        switch random.below(100) {
        case ..<30: return .query(read())
        case ..<60: return .execute(read())
        case ..<66: return .pipeline([read(), read()], syncsEach: random.chance(500))
        case ..<76: return .query(bound(.write(write())))
        case ..<80: return .prepareEarly(read(), between: between(), pause: UInt64(random.below(20_000)) * microsecond)
        case ..<90: return .query(bound(role()))
        default: return .transaction(block())
        }
    }

    private func bound(_ statement: CatalogStatement) -> BoundStatement { BoundStatement(.catalog(statement)) }

    /// Few texts, so that clients ask the same things.
    private mutating func read() -> BoundStatement {
        let id = Int64(random.within(1...6))
        let hasParameter = random.chance(300)
        let key: Operand = hasParameter ? .parameter(1) : .constant(.int(id))
        let parameters: [Datum] = hasParameter ? [.int(id)] : []
        switch random.below(10) {
        case ..<3: return BoundStatement(.catalog(.read(SheetRead(output: .everything, key: key))), parameters)
        case ..<5: return bound(.read(SheetRead(output: .everything, key: nil, isOrdered: true)))
        case 5: return bound(.read(SheetRead(output: .count, key: nil)))
        case 6: return BoundStatement(.catalog(.read(SheetRead(output: .columns([.id, .label]), key: key))), parameters)
        case 7: return bound(.read(SheetRead(output: .columns([.id, .title, .size]), key: nil, isOrdered: true)))
        case 8: return BoundStatement(.catalog(.read(SheetRead(output: .columns([.size]), key: key))), parameters)
        default: return bound(.read(SheetRead(output: .columns([.id, .owner, .extra]), key: nil, isOrdered: true)))
        }
    }

    private mutating func write() -> SheetWrite {
        let id = random.within(1...6)
        switch random.below(20) {
        case ..<8: return .insert(id, owner: random.pick([.app, .clerk, .guest]))
        case ..<12: return .update(id, .size, random.below(100))
        case ..<15: return .update(id, random.pick([.label, .title]), random.below(10))
        case ..<19: return .delete(id)
        default: return random.chance(100) ? .truncate : .update(id, .extra, random.below(10))
        }
    }

    private mutating func role() -> CatalogStatement {
        switch random.below(10) {
        case ..<4: .setRole(random.pick([.clerk, .guest, .staff]))
        case ..<8: .setRole(nil)
        case 8: .setSession(random.pick([.clerk, .guest, .app]))
        default: .setSession(nil)
        }
    }

    private mutating func between() -> [BoundStatement] {
        guard random.chance(8 * parameters.catalogChangesPerMille) else { return [read()] }
        return [bound(Self.administration(&random, parameters))]
    }

    private mutating func change() -> Step.Action {
        let one = bound(Self.administration(&random, parameters))
        switch random.below(10) {
        case ..<6: return .query(one)
        case ..<7: return .execute(one)
        default:
            let list = one.statement == .catalog(.change(.drop)) ? [one, bound(.change(.create))] : [one, read()]
            return .transaction(TransactionBlock(statements: list, commits: !random.chance(300)))
        }
    }

    private mutating func block() -> TransactionBlock {
        var list: [BoundStatement] = []
        for _ in 0..<random.within(1...4) {
            switch random.below(6) {
            case 0: list.append(bound(role()))
            case 1: list.append(bound(.setLocalRole(random.pick([.clerk, .guest, .staff]))))
            case 2: list.append(bound(.write(write())))
            default: list.append(read())
            }
        }
        return TransactionBlock(statements: list, commits: random.chance(600))
    }

    // MARK: Changes

    /// A change of rights, roles, or the shape of `sheet`.
    static func administration(_ random: inout Random, _ parameters: Parameters) -> CatalogStatement {
        let role: OriginRole = random.pick([.clerk, .guest, .staff])
        let table: Int? = random.pick([nil, nil, Table.account, Table.entry, Table.branch])
        switch random.below(100) {
        case ..<25: return .change(.grant(table, role))
        case ..<40: return .change(.revoke(table, role))
        // Where sessions have search paths of their own, the oracle takes `public` to be in them.
        case ..<44 where parameters.settingsPerMille == 0: return .change(.revokeUsage(role))
        case ..<54: return .change(.grantUsage(role))
        case ..<58: return .change(.leave(random.pick([.clerk, .guest])))
        case ..<64: return .change(.join(random.pick([.clerk, .guest])))
        case ..<70: return .change(.rowSecurity(true))
        case ..<74: return .change(.rowSecurity(false))
        case ..<80: return .change(.addColumn(random.pick([.extra, .label, .title, .size]), .int4, standard: 7).fitting)
        case ..<85: return .change(.dropColumn(random.pick([.extra, .label, .title, .size])))
        case ..<89: return random.chance(500) ? .change(.rename(.label, .title)) : .change(.rename(.title, .label))
        case ..<94: return .change(.alterType(.size, random.pick([.int4, .int8])))
        case ..<96: return .change(.drop)
        default: return .change(.create)
        }
    }
}

extension CatalogChange {
    /// A column's type goes with its name.
    fileprivate var fitting: CatalogChange {
        guard case .addColumn(let column, _, let standard) = self, column.isText else { return self }
        return .addColumn(column, .text, standard: standard)
    }
}
