/// What kind of world a run is in: drawn once from the seed, and printed with the run.
struct Parameters: Hashable {
    var seed: UInt64
    var clients = 6
    var statementsPerClient = 200
    var rowsPerTable = 12
    /// SELECTs that the clients share; of a thousand statements, how many read.
    var poolSize = 24
    var readsPerMille = 900
    /// Of a thousand things that a client does, how many are about its settings; 0: nobody changes one.
    var settingsPerMille = 0
    /// Of a thousand, how many are transaction blocks of every form.
    var blocksPerMille = 0
    /// Of a thousand clients, how many do all in short blocks, as mappers of objects do.
    var mappersPerMille = 0
    /// Number of the table that nearly all changes are of; nil where there is none.
    var favouriteTable: Int?
    /// Everything has been read once before the clients come.
    var startsWarm = true
    /// Typical one-way delays in microseconds: between a client and the proxy, the proxy and the origin.
    var clientMicroseconds = 30
    var originMicroseconds = 60
    /// The same between pgcache's own connections and the origin.
    var linkMicroseconds = 60
    /// Most bytes that a socket takes before its reader must read.
    var windowBytes = 16 * 1024
    /// Of a thousand pieces sent, how many are cut at an arbitrary byte.
    var cutPerMille = 200
    /// How long a commit that is in the log may stay invisible, and how many of a thousand do for long.
    var visibilityMicroseconds = 50
    var slowVisibilityPerMille = 20
    var slowVisibilityMicroseconds = 20_000
    /// How late the walsender decodes what was written.
    var decodingMicroseconds = 100
    /// The walsender forgets that a relation was not published only at the next ALTER PUBLICATION [T3].
    var remembersUnpublished = false
    /// Bytes that a WAL record takes at most; small ones make neighbouring positions meaningful.
    var recordBytesMax = 24
    /// Bytes of a long note: with long ones answers are too long to be copied, and are pinned instead.
    var noteBytes = 2
    /// What the proxy may keep in its cache.
    var memoBytesMax = 4 << 20
    var entryBytesMax = 64 << 10
    var usesFIFO = false
    /// A slot that outlives its connection.
    var hasPersistentSlot = false
    /// Answers wait for a beat that tells of many.
    var sharesBeats = false
    /// Roles, rights and the table `sheet` change: of a thousand statements about them, how many do that.
    var changesCatalog = false
    var catalogChangesPerMille = 20
    /// `sheet` shows everybody their own rows from the beginning on.
    var startsWithPolicy = false
    /// pgcache may create its event trigger, which tells of changes of the schema in the stream.
    var allowsEventTriggers = false
    /// Milliseconds between what others change behind the proxy's back, about.
    var administratorMilliseconds = 50
    var catalogPollMilliseconds: UInt64 = 5_000
    /// Milliseconds of virtual time between two faults, about; 0 for none.
    var faultMilliseconds = 0
    /// The kind that most faults are of; nil where there is none.
    var favouriteFault: Fault?
    /// The rule that the world leans on; nil in ordinary ones.
    var leaning: Leaning?
    /// There is a cache database with rows; without, answers are only copied.
    var hasRows = false
    /// No answers are kept: each hit is read from the rows.
    var isMemoOff = false
    /// Tables up to this are loaded whole, and what one population may copy, in bytes.
    var tableBytesMax = 32 << 20
    var fragmentBytesMax = 64 << 20
    /// First rows that are loaded beyond those that a LIMIT asks for.
    var spareRows = 1
    /// Of one relation: with more, those that come take the place of others.
    var fragmentsMax = 256
    /// Misses of the same fragment before it is loaded, less one.
    var admissionThreshold = 1
    var populationsMax = 2
    /// What the pools may take on disk: with less than all takes, fragments are evicted.
    var poolBytesMax = 1 << 30
    /// Typical delays of the cache database's connections, and of a copy.
    var cacheMicroseconds = 60
    var populationMicroseconds = 500
    /// Texts from so many bytes on are TOASTed: the stream does not tell them where an UPDATE has not touched them.
    var toastBytesMin = Int.max
    /// Of a thousand steps of those who only read: they leave, and come back as somebody who has seen nothing.
    var newcomersPerMille = 0

    /// Every table is loaded whole when it is asked for, and nothing goes wrong in the cache database.
    var hasAllRows: Bool {
        hasRows && tableBytesMax >= 1 << 20 && fragmentBytesMax >= 1 << 20 && poolBytesMax >= 1 << 20
            && faultMilliseconds == 0
    }

    init(seed: UInt64) { self.seed = seed }

    /// A world like no other: every parameter is drawn.
    static func drawn(_ seed: UInt64) -> Parameters {
        var random = Random(seed: seed, "parameters")
        var drawn = Parameters(seed: seed)
        drawn.clients = random.within(1...10)
        drawn.statementsPerClient = random.within(60...400)
        drawn.rowsPerTable = random.within(2...12)
        drawn.poolSize = random.pick([3, 3, 5, 8, 16, 40])
        drawn.readsPerMille = random.pick([600, 800, 900, 950, 980, 995])
        drawn.favouriteTable = random.pick([nil, nil, nil, nil, 0, 1, 2])
        drawn.startsWarm = random.chance(600)
        drawn.clientMicroseconds = random.pick([2, 30, 30, 200])
        drawn.originMicroseconds = random.pick([5, 60, 60, 500])
        drawn.linkMicroseconds = random.pick([5, 60, 500, 4_000])
        drawn.windowBytes = random.pick([512, 4096, 16 << 10, 64 << 10])
        drawn.cutPerMille = random.pick([0, 50, 200, 800])
        drawn.visibilityMicroseconds = random.pick([1, 50, 50, 1000])
        drawn.slowVisibilityPerMille = random.pick([0, 20, 20, 100])
        drawn.slowVisibilityMicroseconds = random.pick([2_000, 20_000, 100_000])
        drawn.decodingMicroseconds = random.pick([1, 100, 500, 2_000, 10_000])
        drawn.remembersUnpublished = random.chance(500)
        drawn.recordBytesMax = random.pick([1, 1, 2, 24])
        drawn.noteBytes = random.pick([8, 8, 40, 900])
        drawn.memoBytesMax = random.pick([16 << 10, 64 << 10, 4 << 20, 4 << 20])
        drawn.entryBytesMax = random.pick([2 << 10, 64 << 10])
        drawn.usesFIFO = random.chance(250)
        drawn.hasPersistentSlot = random.chance(250)
        drawn.faultMilliseconds = random.pick([0, 0, 0, 20, 100])
        drawn.favouriteFault = random.chance(500) ? random.pick(Fault.ofOrigin) : nil
        if random.chance(150) { drawn.becomeLate(&random) }
        drawn.drawSessions(&random)
        drawn.drawCatalog(&random)
        if random.chance(200) {
            drawn.lean(on: random.pick(Leaning.withoutRows))
        } else if random.chance(160) {
            drawn.lean(on: .keys)
        }
        drawn.drawRows(&random)
        // Each from a stream of its own: the other parameters of a seed stay what they were.
        var places = Random(seed: seed, "fragments")
        drawn.fragmentsMax = places.pick([256, 256, 256, 8, 3, 2])
        if drawn.leaning == .rows, drawn.newcomersPerMille == 0 {
            switch places.below(1000) {
            case ..<60: drawn.roomIsShort()
            case ..<110: drawn.rowsComeEarly()
            default: break
            }
        }
        var policies = Random(seed: seed, "policies")
        drawn.startsWithPolicy = drawn.changesCatalog && policies.chance(300)
        drawn.sharesBeats = random.chance(250)
        if drawn.leaning == nil, !drawn.hasRows {
            if random.chance(60) {
                drawn.welcomeNewcomers(&random)
            } else if random.chance(150) {
                drawn.lean(on: .joins)
            }
        }
        return drawn
    }

    /// Whatever the proxy is told is old, and few statements are asked for often: so that answers are old in every way.
    private mutating func becomeLate(_ random: inout Random) {
        linkMicroseconds = random.pick([1_000, 4_000, 10_000])
        decodingMicroseconds = random.pick([5_000, 20_000])
        poolSize = random.pick([2, 3, 5])
        readsPerMille = random.pick([900, 950, 980])
        startsWarm = true
        clients = random.within(4...10)
    }

    /// In some of the worlds there are rows; those in which [T3] shows best stay what they were.
    private mutating func drawRows(_ random: inout Random) {
        let showsUnpublished = remembersUnpublished && decodingMicroseconds == 1 && settingsPerMille == 0
        hasRows = leaning == nil && !showsUnpublished && random.chance(500)
        guard hasRows else { return }
        if random.chance(700) { leanOnRows(&random) }
        isMemoOff = random.chance(leaning == .rows ? 500 : 350)
        tableBytesMax = random.pick([0, 0, 500, 1 << 20])
        fragmentBytesMax = random.pick([150, 1 << 20, 1 << 20, 1 << 20, 1 << 20])
        admissionThreshold = random.pick([0, 0, 0, 1])
        populationsMax = random.within(1...3)
        poolBytesMax = random.pick([1 << 30, 1 << 30, 1 << 30, 40_000, 18_000])
        cacheMicroseconds = random.pick([5, 60, 60, 500, 4_000])
        populationMicroseconds = random.pick([5, 500, 500, 5_000])
        toastBytesMin = random.pick([.max, .max, 2, 8])
        if leaning == .rows, random.chance(60) { rowsComeOften(&random) }
    }

    /// In half of the worlds sessions are as plain as can be.
    private mutating func drawSessions(_ random: inout Random) {
        settingsPerMille = random.pick([0, 0, 0, 60, 150, 300])
        blocksPerMille = random.pick([0, 0, 0, 40, 100, 200])
        mappersPerMille = random.pick([0, 0, 0, 300, 1000])
    }

    /// In most of the worlds nobody changes the catalog.
    private mutating func drawCatalog(_ random: inout Random) {
        changesCatalog = random.chance(400)
        catalogChangesPerMille = random.pick([5, 20, 80])
        administratorMilliseconds = random.pick([5, 50, 500])
        allowsEventTriggers = changesCatalog && random.chance(600)
        if changesCatalog { catalogPollMilliseconds = random.pick([250, 1_000, 5_000]) }
        if allowsEventTriggers {
            administratorMilliseconds = random.pick([60, 200])
            catalogPollMilliseconds = 5_000
        }
        guard changesCatalog, random.chance(600) else { return }
        // Few statements, asked for often, and changes by the administrator alone: so that rights matter to hits.
        linkMicroseconds = random.pick([5, 60, 500])
        poolSize = random.pick([2, 3, 5])
        readsPerMille = 980
        startsWarm = true
        clients = random.within(4...10)
        statementsPerClient = 400
        catalogChangesPerMille = 1
        administratorMilliseconds = random.pick([60, 200])
        settingsPerMille = 0
    }

    /// In the order of their declaration, for people.
    var text: String {
        var words: [String] = []
        func add(_ name: String, _ value: Any) { words.append("\(name)=\(value)") }
        add("clients", clients)
        add("statements", statementsPerClient)
        add("rows-per-table", rowsPerTable)
        add("pool", poolSize)
        add("reads", "\(readsPerMille)/1000")
        add("settings", "\(settingsPerMille)/1000")
        add("blocks", "\(blocksPerMille)/1000")
        add("mappers", "\(mappersPerMille)/1000")
        add("changes", favouriteTable.map { Table.all[$0].name } ?? "all")
        add("warm", startsWarm)
        add("client-delay", "\(clientMicroseconds)us")
        add("origin-delay", "\(originMicroseconds)us")
        add("link-delay", "\(linkMicroseconds)us")
        add("window", windowBytes)
        add("cuts", "\(cutPerMille)/1000")
        add("visible-after", "\(visibilityMicroseconds)us")
        add("slow", "\(slowVisibilityPerMille)/1000:\(slowVisibilityMicroseconds)us")
        add("decoded-after", "\(decodingMicroseconds)us")
        add("remembers-unpublished", remembersUnpublished)
        add("record", recordBytesMax)
        add("note", noteBytes)
        add("memo", memoBytesMax)
        add("entry", entryBytesMax)
        add("fifo", usesFIFO)
        add("persistent-slot", hasPersistentSlot)
        add("shares-beats", sharesBeats)
        if changesCatalog {
            add("catalog-changes", "\(catalogChangesPerMille)/1000")
            add("policy", startsWithPolicy)
            add("event-trigger", allowsEventTriggers)
            add("administrator-every", "\(administratorMilliseconds)ms")
            add("poll", "\(catalogPollMilliseconds)ms")
        }
        add("faults-every", faultMilliseconds == 0 ? "never" : "\(faultMilliseconds)ms")
        if faultMilliseconds > 0 { add("mostly", favouriteFault.map { "\($0)" } ?? "any") }
        if let leaning { add("leans-on", leaning.rawValue) }
        if hasRows {
            add("rows", isMemoOff ? "alone" : "beside-memo")
            add("whole-tables-to", tableBytesMax)
            add("copies-to", fragmentBytesMax)
            add("spare-rows", spareRows)
            add("fragments", fragmentsMax)
            add("admission", admissionThreshold)
            add("populations", populationsMax)
            add("pools-to", poolBytesMax)
            add("cache-delay", "\(cacheMicroseconds)us")
            add("copy-delay", "\(populationMicroseconds)us")
            if toastBytesMin < .max { add("toast-from", toastBytesMin) }
            if newcomersPerMille > 0 { add("newcomers", "\(newcomersPerMille)/1000") }
        }
        return words.joined(separator: " ")
    }
}
