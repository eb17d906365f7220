import PGProtocol

/// In what the cache database is like the origin, as far as is known: a statement whose answer depends on more is
/// answered by the memo alone.
struct Likeness {
    private enum Zone {
        case asked(origin: String?, cache: String?)
        case alike
        case unlike
    }

    var databases: DatabaseFacts.Alikeness?
    private var zones: [String: Zone] = [:]
    /// Zones that somebody should ask both sides about.
    private(set) var wantedZones: [String] = []
    private static let zonesMax = 256

    private static let fixedZones: Set<String> = ["utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "zulu"]
    /// Locales whose numbers, money and names of months are the same on all systems.
    private static let plainLocales: Set<String> = [
        "c", "posix", "c.utf-8", "c.utf8", "en_us.utf-8", "en_us.utf8", "en_us",
    ]

    /// Whether a query of these classes under this profile computes the same there. What is not known yet is asked for.
    mutating func allows(_ query: ResolvedQuery, _ profile: Profile) -> Bool {
        guard let databases, databases.allowsPools else { return false }
        guard databases.defaultCollation || !query.ordersText else { return false }
        let classes = query.classes
        if !classes.isDisjoint(with: [.time, .rest]) {
            for name in ["lc_time", "lc_numeric", "lc_monetary"] {
                guard let value = profile.value(of: name), Self.plainLocales.contains(value.lowercased()) else {
                    return false
                }
            }
        }
        return !classes.contains(.time) || hasZone(profile)
    }

    private mutating func hasZone(_ profile: Profile) -> Bool {
        guard let zone = profile.value(of: "TimeZone"),
            profile.value(of: "timezone_abbreviations")?.lowercased() == "default"
        else { return false }
        if Self.fixedZones.contains(zone.lowercased()) { return true }
        // Other styles print abbreviations, which are not compared.
        guard profile.value(of: "DateStyle")?.hasPrefix("ISO") ?? false else { return false }
        switch zones[zone] {
        case .alike: return true
        case .unlike, .asked: return false
        case nil:
            if zones.count < Self.zonesMax {
                zones[zone] = .asked(origin: nil, cache: nil)
                wantedZones.append(zone)
            }
            return false
        }
    }

    /// The origin may have others by now.
    mutating func forgetZones() {
        zones.removeAll()
        wantedZones.removeAll()
    }

    mutating func takeWantedZone() -> String? { wantedZones.popLast() }

    /// One side has answered `DatabaseFacts.zoneQuestion`; nil where it cannot tell.
    mutating func zoneAnswered(_ zone: String, _ digest: String?, isOrigin: Bool) {
        guard case .asked(var origin, var cache)? = zones[zone] else { return }
        guard let digest else {
            zones[zone] = .unlike
            return
        }
        if isOrigin { origin = digest } else { cache = digest }
        if let origin, let cache {
            zones[zone] = origin == cache ? .alike : .unlike
        } else {
            zones[zone] = .asked(origin: origin, cache: cache)
        }
    }
}

extension Profile {
    /// As the session has it; nil where the origin lacks the setting.
    func value(of setting: String) -> String? {
        guard let position = Self.settings.firstIndex(of: setting), !values[position].isEmpty else { return nil }
        return values[position]
    }
}
