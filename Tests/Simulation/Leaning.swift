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
    /// Answers come from rows, which others change and which are lost and copied again [T5] [T6].
    case rows
    /// A few rows are read by their keys and written all the time; slow clients read the longest of them [I4].
    case keys
    /// Most are new and have seen nothing [T4].
    case newcomers
    /// Tables join the publication beside transactions that go on for long [T3].
    case joins

    /// Those that are drawn for worlds without rows; the others are drawn behind them.
    static let withoutRows: [Leaning] = [.losses, .rights, .mistakes, .notifications]
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
        case .rows, .newcomers: break
        case .joins:
            // It is over soon: each table joins once.
            startsWarm = false
            statementsPerClient = 60
            readsPerMille = 700
            linkMicroseconds = 5
            slowVisibilityPerMille = 300
            slowVisibilityMicroseconds = 20_000
            decodingMicroseconds = 1
            remembersUnpublished = true
            faultMilliseconds = 0
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

    /// There are rows, and little else that decides where answers come from.
    mutating func leanOnRows(_ random: inout Random) {
        lean(on: .rows)
        poolSize = random.pick([5, 10, 20])
        readsPerMille = random.pick([500, 800, 900])
        blocksPerMille = random.pick([0, 0, 40])
        noteBytes = random.pick([8, 40])
        decodingMicroseconds = random.pick([1, 100, 500, 5_000])
        linkMicroseconds = random.pick([5, 60, 500, 4_000])
        visibilityMicroseconds = random.pick([1, 50, 1_000])
        slowVisibilityPerMille = random.pick([0, 20, 100])
        memoBytesMax = random.pick([16 << 10, 4 << 20])
        faultMilliseconds = random.pick([0, 0, 100, 300])
        favouriteFault = random.pick([nil, .cacheLost, .cacheLost, .cacheStalls, .cachePopulationFails])
    }

    /// Who has missed waits for the watermark before it hits [S5]: only who has seen nothing is told of what came early
    /// [T4] [T5]. The stream is late, and much is written.
    mutating func welcomeNewcomers(_ random: inout Random) {
        if leaning == nil { lean(on: .newcomers) }
        newcomersPerMille = 300
        clients = 8
        poolSize = 5
        readsPerMille = 500
        blocksPerMille = 0
        linkMicroseconds = 5
        visibilityMicroseconds = 1
        slowVisibilityPerMille = 0
        decodingMicroseconds = random.pick([5_000, 20_000])
    }

    /// Rows make room for others all the time, while they are being read.
    mutating func roomIsShort() {
        isMemoOff = true
        tableBytesMax = 0
        fragmentBytesMax = 1 << 20
        poolBytesMax = 18_000
        admissionThreshold = 0
        cacheMicroseconds = 4_000
        populationMicroseconds = 5
    }

    /// And changes are in them long before the origin shows them to anybody [T2].
    mutating func rowsComeEarly() {
        isMemoOff = true
        poolBytesMax = 1 << 30
        admissionThreshold = 0
        cacheMicroseconds = 5
        populationMicroseconds = 5
        readsPerMille = 800
        linkMicroseconds = 5
        decodingMicroseconds = 1
        slowVisibilityPerMille = 300
        slowVisibilityMicroseconds = 20_000
    }

    /// And rows are lost, and loaded again.
    mutating func rowsComeOften(_ random: inout Random) {
        welcomeNewcomers(&random)
        isMemoOff = true
        tableBytesMax = 1 << 20
        fragmentBytesMax = 1 << 20
        poolBytesMax = 1 << 30
        admissionThreshold = 0
        cacheMicroseconds = 5
        populationMicroseconds = 5
        faultMilliseconds = 100
        favouriteFault = .cacheLost
    }
}
