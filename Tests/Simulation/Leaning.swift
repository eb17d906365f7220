/// What some worlds lean on: one rule that ordinary ones hardly ever reach.
///
/// Drawn last, so that all other worlds are what they were.
enum Leaning: String, CaseIterable {
    /// The stream is lost again and again, and nothing else empties the cache [T7].
    case losses
    /// Others change rights, and nothing else that would make the proxy forget them [P1].
    case rights
    /// Sessions read what they have written, and roll it back [C4].
    case mistakes
    /// Idle sessions are told of commits that the stream is slow to bring [S1].
    case notifications
    /// A few rows are read by their keys and written all the time; slow clients read the longest of them [I4].
    case keys

    /// All but `keys`, which is drawn behind them.
    static let first: [Leaning] = [.losses, .rights, .mistakes, .notifications]
}

extension Parameters {
    mutating func lean(on leaning: Leaning) {
        self.leaning = leaning
        // Entries live long, and clients ask for them often.
        clients = max(clients, 6)
        statementsPerClient = 400
        poolSize = 5
        readsPerMille = 980
        startsWarm = true
        settingsPerMille = 0
        blocksPerMille = 0
        mappersPerMille = 0
        favouriteTable = nil
        memoBytesMax = 4 << 20
        entryBytesMax = 64 << 10
        noteBytes = 8
        changesCatalog = leaning == .rights
        allowsEventTriggers = false
        if leaning != .rights { catalogPollMilliseconds = 5_000 }
        originMicroseconds = 60
        linkMicroseconds = 60
        decodingMicroseconds = 100
        switch leaning {
        case .losses:
            readsPerMille = 950
            hasPersistentSlot = false
            faultMilliseconds = 500
            favouriteFault = .streamFails
        case .rights:
            catalogChangesPerMille = 0
            administratorMilliseconds = 200
            catalogPollMilliseconds = 100
        case .mistakes: readsPerMille = 900
        case .notifications:
            readsPerMille = 995
            decodingMicroseconds = 5_000
        case .keys:
            readsPerMille = 900
            rowsPerTable = 3
            poolSize = 8
            favouriteTable = Table.account
            // Longer than what is copied rather than pinned.
            noteBytes = 6_000
            windowBytes = 4096
        }
    }
}
