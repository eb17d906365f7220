/// What all models of a world share: its parameters, its clock, its trace, and the texts of its statements.
final class Surroundings {
    let parameters: Parameters
    let scheduler = Scheduler()
    let trace: Trace
    let book = StatementBook()
    /// Of the origin.
    let configuration = Configuration()

    init(parameters: Parameters, isTraced: Bool = false) {
        self.parameters = parameters
        trace = Trace(isOn: isTraced, scheduler: scheduler)
    }

    /// A stream of draws of one thing's own.
    func random(_ name: String, _ number: Int = 0) -> Random {
        Random(seed: parameters.seed, name, number)
    }
}
