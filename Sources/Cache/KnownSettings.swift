/// The settings that sessions were seen with, and what a SET, RESET or DISCARD ALL makes of them [K3].
///
/// Reading a session's settings costs the origin more than a point select, and a pool that resets its sessions at
/// every checkout would have them read each time. What such a statement leads to follows from what the settings
/// were, what they were at log-in (RESET goes back to that), and its text: so it is learned once.
///
/// Owner: the cache store, which forgets what was learned with every change of the schema, since a search path may then
/// lead elsewhere. Bounds: `readingsMax`, `stepsMax`; numbers are never given twice, so an old one finds nothing.
struct KnownSettings {
    enum Use: Equatable {
        case cacheable(profile: UInt32, role: UInt8)
        case refused(ForwardReason)
    }

    /// A statement that changes settings, where the settings before it were known.
    struct Step: Hashable {
        var login: UInt32
        /// `anything` where the outcome does not depend on it.
        var before: UInt32
        /// SET LOCAL does nothing outside of a block.
        var isInBlock: Bool
        var text: [UInt8]

        static let anything = UInt32.max - 1
    }

    static let readingsMax = 4096
    static let stepsMax = 4096
    static let textBytesMax = 1024

    private var numbers: [ProfileReading: UInt32] = [:]
    private var readings: [UInt32: (reading: ProfileReading, use: Use)] = [:]
    private var steps: [Step: UInt32] = [:]
    private var next: UInt32 = 0

    subscript(number: UInt32) -> (reading: ProfileReading, use: Use)? { readings[number] }

    /// The number of these settings; `use` is asked for when they are new.
    mutating func number(_ reading: ProfileReading, _ use: () -> Use) -> UInt32 {
        if let number = numbers[reading] { return number }
        if numbers.count >= KnownSettings.readingsMax || next >= Step.anything - 1 {
            numbers.removeAll()
            readings.removeAll()
            steps.removeAll()
        }
        let number = next
        next += 1
        numbers[reading] = number
        readings[number] = (reading, use())
        return number
    }

    /// What the settings are after it, if that was learned.
    func after(_ step: Step) -> UInt32? { steps[step] }

    mutating func learn(_ step: Step, leadsTo number: UInt32) {
        // A temporary schema was there before it, and is not for others.
        guard readings[number]?.reading.refusal != .temporarySchema else { return }
        if steps.count >= KnownSettings.stepsMax { steps.removeAll() }
        steps[step] = number
    }

    mutating func forgetSteps() { steps.removeAll() }
}
