/// Makes a failing run shorter: leaves out clients, faults and steps as long as the same rule is broken.
///
/// Delta debugging (Zeller, Hildebrandt 2002): pieces are left out from large to small. What is left draws what it drew
/// before, so most of a run can go without what matters going with it.
///
/// Bounds: `runsMax` runs.
struct Shrinker {
    let parameters: Parameters
    let rule: Int
    private(set) var runs = 0
    private(set) var omissions = Omissions()
    private let ignoresChanges: Bool
    private let runsMax: Int

    init(_ parameters: Parameters, rule: Int, ignoresChanges: Bool = false, runsMax: Int = 600) {
        self.parameters = parameters
        self.rule = rule
        self.ignoresChanges = ignoresChanges
        self.runsMax = runsMax
    }

    /// Whether the rule is still broken without these; if so they stay out.
    private mutating func canOmit(_ change: (inout Omissions) -> Void) -> Bool {
        guard runs < runsMax else { return false }
        runs += 1
        var more = omissions
        change(&more)
        let world = World(parameters, omitting: more, ignoresChanges: ignoresChanges)
        world.run()
        guard world.violation?.rule == rule else { return false }
        omissions = more
        return true
    }

    mutating func shrink() {
        let whole = World(parameters, ignoresChanges: ignoresChanges)
        whole.run()
        let plans = Workload(parameters).plans
        omit(Array(0..<whole.faultsDrawn)) { $0.faults.formUnion($1) }
        for _ in 0..<2 {
            omit(plans.map(\.number).filter { !omissions.clients.contains($0) }) { $0.clients.formUnion($1) }
            for plan in plans where !omissions.clients.contains(plan.number) {
                let known = omissions.steps[plan.number] ?? []
                omit(plan.steps.indices.filter { !known.contains($0) }.reversed()) {
                    $0.steps[plan.number, default: []].formUnion($1)
                }
            }
        }
    }

    /// Leaves out as many of these numbers as it can, in pieces from all of them down to one.
    private mutating func omit(_ numbers: [Int], _ body: (inout Omissions, [Int]) -> Void) {
        var left = numbers
        var size = left.count
        while size > 0 {
            var start = 0
            while start < left.count {
                let piece = Array(left[start..<min(start + size, left.count)])
                if canOmit({ body(&$0, piece) }) {
                    left.removeSubrange(start..<start + piece.count)
                } else {
                    start += size
                }
            }
            size /= 2
        }
    }
}
