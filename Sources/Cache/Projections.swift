/// What is left of a profile when the settings outside some classes are taken out: two sessions in which that is the
/// same get the same answer to a statement that depends on no more than those classes [K1].
///
/// Search paths are in it only where other names than those of relations are looked up along them. The relations that
/// a statement's names resolved to are compared as well by whoever shares a statement.
struct Projection: Hashable, Sendable {
    let classes: SettingClasses
    let values: [String]
    let customValues: [String?]
    let searchPath: [String]

    init(_ profile: Profile, on classes: SettingClasses) {
        self.classes = classes
        values = zip(Profile.classes, profile.values).map { of, value in
            of.map { classes.contains($0) } ?? true ? value : ""
        }
        customValues = classes.contains(.custom) ? profile.customValues : []
        searchPath = classes.contains(.path) ? profile.searchPath : []
    }
}

/// Numbers for projections.
///
/// Owner: the cache store. Bounds: `max`; a statement whose projection finds no place is shared with no other profile.
struct Projections: Sendable {
    let max: Int
    private var numbers: [Projection: UInt32] = [:]
    private var known: [Source: UInt32] = [:]

    private struct Source: Hashable {
        var profile: UInt32
        var classes: SettingClasses
    }

    init(max: Int = 16_384) { self.max = max }

    /// The number of what these classes leave of a profile, which goes by `number`.
    mutating func intern(_ profile: Profile, _ number: UInt32, on classes: SettingClasses) -> UInt32? {
        let source = Source(profile: number, classes: classes)
        if let known = known[source] { return known }
        guard known.count < max else { return nil }
        let projection = Projection(profile, on: classes)
        let interned = numbers[projection] ?? UInt32(numbers.count)
        numbers[projection] = interned
        known[source] = interned
        return interned
    }
}
