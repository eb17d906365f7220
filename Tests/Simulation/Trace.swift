/// What happened in a world, for people: one line an event, in virtual time. Off unless somebody wants to read it.
final class Trace {
    let isOn: Bool
    private let scheduler: Scheduler
    private(set) var lines: [String] = []

    init(isOn: Bool, scheduler: Scheduler) {
        self.isOn = isOn
        self.scheduler = scheduler
    }

    /// `who` does or hears `what`: `client 3`, `Query "select …"`.
    func note(_ who: @autoclosure () -> String, _ what: @autoclosure () -> String) {
        guard isOn else { return }
        let micros = (scheduler.now - 1_000_000_000) / microsecond
        let words = what().split(whereSeparator: \.isNewline).joined(separator: " ")
        lines.append("\(micros) µs  \(who()): \(words)")
    }
}
