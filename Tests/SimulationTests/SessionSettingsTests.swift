import Testing

@testable import Simulation

/// The settings of a session, and what undoes their changes.
@Suite struct SessionSettingsTests {
    private var settings = SessionSettings()

    init() { settings.set([("user", "app"), ("database", "sim")]) }

    private mutating func set(_ value: String, isLocal: Bool = false) {
        settings.set(.dateStyle, value, isLocal: isLocal)
    }
    private var dateStyle: String? { settings["DateStyle"] }

    @Test mutating func aCommitKeepsWhatIsNotLocal() {
        set("German, DMY")
        set("SQL, DMY", isLocal: true)
        #expect(dateStyle == "SQL, DMY")
        settings.committed()
        #expect(dateStyle == "German, DMY")
    }

    @Test mutating func aSetBehindASetLocalStays() {
        set("SQL, DMY", isLocal: true)
        set("German, DMY")
        settings.committed()
        #expect(dateStyle == "German, DMY")
    }

    @Test mutating func aRollbackGoesBackToTheBeginning() {
        set("German, DMY")
        settings.committed()
        set("SQL, DMY")
        settings.resetAll()
        settings.rolledBack()
        #expect(dateStyle == "German, DMY")
    }

    @Test mutating func savepointsAreGoneBackToAndGivenUp() {
        set("German, DMY")
        settings.savepoint()
        set("SQL, DMY")
        settings.savepoint()
        set("ISO, MDY", isLocal: true)
        settings.rollBack(to: 2)
        #expect(dateStyle == "SQL, DMY")
        settings.release(2)
        settings.rollBack(to: 1)
        #expect(dateStyle == "German, DMY")
        settings.rolledBack()
        #expect(dateStyle == "ISO, MDY")
    }

    @Test mutating func aResetGoesBackToWhatTheLogInSaid() {
        settings.set([("user", "clerk"), ("options", "-c DateStyle=German,DMY -c search_path=archive,public")])
        #expect(dateStyle == "German, DMY")
        #expect(settings.schemas == ["archive", "public"])
        #expect(settings.style == TextStyle(dates: .german, escapesBytes: true))
        set("ISO, MDY")
        settings.set(.byteaOutput, "hex", isLocal: false)
        #expect(settings.style == .standard)
        settings.resetAll()
        #expect(settings.style == TextStyle(dates: .german, escapesBytes: true))
    }

    @Test mutating func aReloadReachesOnlyWhatNobodyHasSet() {
        settings.configuration = [Setting.byteaOutput.key: "escape", Setting.dateStyle.key: "SQL, DMY"]
        set("ISO, MDY")
        #expect(settings.style == TextStyle(dates: .iso, escapesBytes: true))
    }

    @Test func editionsOfTheConfigurationAreFoundByTheirTimes() {
        let configuration = Configuration()
        configuration.reload(["a": "1"], at: 10)
        configuration.reload(["a": "2"], at: 20)
        #expect(configuration.values(since: 25) == [["a": "2"]])
        #expect(configuration.values(since: 15) == [["a": "2"], ["a": "1"]])
        #expect(configuration.values(since: 5) == [["a": "2"], ["a": "1"], [:]])
    }

    /// As PostgreSQL 15 prints them.
    @Test func textsFollowTheStyle() {
        #expect(Wire.date(59, .iso) == "2000-02-29")
        #expect(Wire.date(59, .german) == "29.02.2000")
        #expect(Wire.date(365, .sql) == "31/12/2000")
        #expect(Wire.bytea([0x41, 0x5C, 0xFF], escapes: false) == "\\x415cff")
        #expect(Wire.bytea([0x41, 0x5C, 0xFF, 0], escapes: true) == "A\\\\\\377\\000")
        for days in 0..<366 as Range<Int32> {
            #expect(Wire.datum(Array(Wire.date(days, .iso).utf8), .date, isBinary: false) == .date(days))
        }
        #expect(Wire.datum(Array("\\x00ff".utf8), .bytea, isBinary: false) == .bytes([0, 0xFF]))
    }

    @Test func namesMeanTheFirstTableOfThePath() {
        let select = Statement.select(Select(table: Table.event, output: Say.columns(0)))
        func table(_ schemas: [String]) -> Int? {
            guard case .select(let select) = select.resolved(in: schemas) else { return nil }
            return select.table
        }
        #expect(table(["public"]) == Table.event)
        #expect(table(["archive", "public"]) == Table.archivedEvent)
        #expect(table(["public", "archive"]) == Table.event)
        #expect(table([]) == nil)
        let qualified = Statement.select(Select(table: Table.archivedEvent, output: Say.columns(0)))
        #expect(qualified.sql == "select a.id from archive.event a")
        #expect(qualified.resolved(in: ["public"]) == qualified)
        #expect(Statement.select(Say.account(1)).resolved(in: ["archive"]) == nil)
    }
}
