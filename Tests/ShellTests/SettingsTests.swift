import Cache
import Testing

@testable import Shell

/// Settings of a command line, a file and an environment, on a machine with 8 GiB.
private func load(
    _ options: [String] = [], file: String? = nil, environment: [String: String] = [:],
    needsOrigin: Bool = false
) throws(SettingsError) -> SettingsLoader.Loaded {
    try SettingsLoader(
        options: options, fileText: file, environment: environment, memoryBytes: 8 << 30
    ).load(needsOrigin: needsOrigin)
}

private func problem(
    _ options: [String] = [], file: String? = nil, environment: [String: String] = [:],
    needsOrigin: Bool = false
) -> String {
    do {
        _ = try load(options, file: file, environment: environment, needsOrigin: needsOrigin)
        return "none"
    } catch {
        return error.description
    }
}

struct SettingsTests {
    @Test func anOriginURLIsEnough() throws {
        let settings = try load(
            ["--origin", "postgres://app:s%40crt@db.example:5433/shop"], needsOrigin: true
        ).settings
        #expect(settings.origin.host == "db.example")
        #expect(settings.origin.port == 5433)
        #expect(settings.origin.user == "app")
        #expect(settings.origin.password == "s@crt")
        #expect(settings.origin.database == "shop")
        #expect(settings.replication == settings.origin)
        #expect(settings.listen.socket == Settings.HostPort(host: "127.0.0.1", port: 6432))
        #expect(settings.metrics.socket == nil)
        #expect(settings.memo.bytesMax == 2 << 30)
    }

    @Test func anOptionWinsOverTheFileAndTheFileOverTheEnvironment() throws {
        let file = "memo_cache_size = 300\nclients_max = 30"
        let environment = [
            "PGCACHE_MEMO_CACHE_SIZE": "200", "PGCACHE_CLIENTS_MAX": "20", "PGCACHE_STATEMENTS_MAX": "99",
        ]
        let settings = try load(["--memo-cache-size", "400"], file: file, environment: environment).settings
        #expect(settings.memo.bytesMax == 400)
        #expect(settings.clientsMax == 30)
        #expect(settings.statementsMax == 99)
    }

    @Test func aPartWinsOverTheURLOfItsSource() throws {
        let settings = try load(
            ["--origin-host=b", "--origin=postgres://u@a:1/d"], file: "[origin]\nport = 7"
        ).settings
        #expect(settings.origin.host == "b")
        #expect(settings.origin.port == 1)
        let fromFile = try load(file: "[origin]\nport = 7\nurl = 'postgres://u@a:1/d'").settings
        #expect(fromFile.origin.port == 7)
        #expect(fromFile.origin.host == "a")
    }

    @Test func theOriginMayBeAURLInTheFile() throws {
        let settings = try load(file: "origin = 'postgres://u@h/d'").settings
        #expect(settings.origin.host == "h")
    }

    @Test func theFileOfPgCacheLoads() throws {
        let file = """
            num_workers = 4
            memo_cache_size = "256MiB"
            allowed_tables = ["Orders", "shop.items"]
            log_level = "debug"
            cache_policy = "fifo"
            [origin]
            host = "db"
            port = 5432
            user = "cache"
            database = "shop"
            ssl_mode = "require"
            [replication]
            host = "primary"
            [cache]
            host = "127.0.0.1"
            shards = 3
            [cdc]
            publication_name = "pub"
            slot_name = "Slot"
            [listen]
            socket = "0.0.0.0:6433"
            [metrics]
            socket = "[::1]:9090"
            """
        let loaded = try load(file: file, needsOrigin: true)
        let settings = loaded.settings
        #expect(settings.memo.bytesMax == 256 << 20)
        #expect(settings.memo.policy == .fifo)
        #expect(settings.allowedTables == ["orders", "shop.items"])
        #expect(settings.logLevel == .debug)
        #expect(settings.origin.sslMode == .require)
        #expect(settings.replication.host == "primary")
        #expect(settings.replication.user == "cache")
        #expect(settings.cdc.publicationName == "pub")
        #expect(settings.cdc.slotName == "slot")
        #expect(settings.listen.socket == Settings.HostPort(host: "0.0.0.0", port: 6433))
        #expect(settings.metrics.socket == Settings.HostPort(host: "::1", port: 9090))
        #expect(settings.rows.server?.host == "127.0.0.1")
        #expect(loaded.warnings.sorted() == [
            "cache.shards has no effect in pgcache", "num_workers has no effect in pgcache",
        ])
    }

    @Test func underscoresOfPgCacheAreOptionsToo() throws {
        let loaded = try load(["--origin_host", "h", "--listen_socket=127.0.0.1:1", "--num_workers", "4"])
        #expect(loaded.settings.origin.host == "h")
        #expect(loaded.settings.listen.socket?.port == 1)
        #expect(loaded.warnings == ["--num_workers has no effect in pgcache"])
    }

    @Test func unitsAreUnderstood() throws {
        let settings = try load([
            "--memo-cache-size", "1 GB", "--memo-entry-max=64kB", "--shutdown-timeout", "2min",
            "--coalesce-timeout", "50", "--cdc-silence-timeout=1s",
        ]).settings
        #expect(settings.memo.bytesMax == 1 << 30)
        #expect(settings.memo.entryBytesMax == 64 << 10)
        #expect(settings.shutdownMilliseconds == 120_000)
        #expect(settings.coalesceMilliseconds == 50)
        #expect(settings.cdc.silenceMilliseconds == 1000)
    }

    @Test func aFlagNeedsNoValue() throws {
        #expect(try load(["--ignore-changes", "--cpu", "1"]).settings.ignoresChanges)
        #expect(try load(["--read-your-writes", "off"]).settings.readYourWrites == .off)
        #expect(try load(["--cpu", "1"]).settings.processor == 1)
    }

    @Test func cacheSizeBoundsTheMemo() throws {
        #expect(try load(["--cache-size", "1MiB"]).settings.memo.bytesMax == 1 << 20)
        #expect(try load(["--memo-cache-size", "0"]).settings.memo.bytesMax == 0)
    }

    @Test func theCacheDatabaseIsEmbeddedOrAnExistingOne() throws {
        let plain = try load(["--cache-user", "u"]).settings.rows
        #expect(plain == Settings.Rows())
        #expect(plain.isOn && plain.server == nil && plain.memoryBytes == 256 << 20)
        let rows = try load(
            ["--cache-memory=1GiB", "--pinned_tables", "Orders, shop.items", "--cache-rows", "off"],
            file: """
                pinned_queries = ["select a, b from t", "select count(*) from u where x in (1, 2)"]
                population_workers_max = 3
                [cache]
                host = "/run/cache"
                password = "p"
                ssl_mode = "disable"
                data_directory = "/var/lib/pgcache"
                """, environment: ["PGCACHE_CACHE_PORT": "5555"]
        ).settings.rows
        #expect(!rows.isOn)
        #expect(rows.server?.isUnixSocket == true)
        #expect(rows.server?.port == 5555)
        #expect(rows.server?.user == "pgcache")
        #expect(rows.server?.password == "p")
        #expect(rows.server?.database == "pgcache")
        #expect(rows.dataDirectory == "/var/lib/pgcache")
        #expect(rows.memoryBytes == 1 << 30)
        #expect(rows.populationsMax == 3)
        #expect(rows.pinnedTables == ["orders", "shop.items"])
        #expect(rows.pinnedQueries == ["select a, b from t", "select count(*) from u where x in (1, 2)"])
        #expect(try load(["--pinned-queries", "select 1, 2; select 3;"]).settings.rows.pinnedQueries
            == ["select 1, 2", "select 3"])
        #expect(problem(["--cache-ssl-mode=require"]).hasSuffix("\"require\" is not one of disable"))
        #expect(problem(["--cache-data-directory=here"]).contains("not an absolute path"))
    }

    @Test func everyErrorNamesTheSettingTheValueAndWhatWasExpected() {
        #expect(
            problem(["--memo-entry-max", "12"])
                == "setting memo_entry_max (option --memo-entry-max): \"12\" is not between 1KiB and 1GiB")
        #expect(
            problem(file: "cache_policy = 'lru'")
                == "setting cache_policy (file): \"lru\" is not one of clock, fifo")
        #expect(
            problem(environment: ["PGCACHE_CLIENTS_MAX": "many"])
                == "setting clients_max (environment PGCACHE_CLIENTS_MAX): \"many\" is not a whole number")
        #expect(problem(file: "colour = 1") == "setting colour (file): there is no such setting")
        #expect(problem(["--colour"]) == "setting --colour (command line): there is no such option")
        #expect(problem(["--cpu"]) == "setting --cpu (command line): its value is missing")
        #expect(problem(["db"]) == "setting db (command line): an option was expected")
        #expect(problem(file: "a = [").contains("line 1"))
        #expect(problem(["--listen-socket=off"]).contains("neither a TCP nor a Unix socket"))
        #expect(problem(["--listen-unix-socket=tmp"]).contains("not an absolute path"))
        #expect(problem(needsOrigin: true).hasPrefix("setting origin.host (nowhere): it is required"))
    }

    @Test func aPasswordIsNeverRepeated() {
        #expect(!problem(["--origin", "mysql://u:secret@h/d"]).contains("secret"))
        #expect(!problem(["--origin", "postgres://u:secret@h:99999/d"]).contains("secret"))
    }

    @Test(arguments: SettingsTable.all.filter { !$0.isHidden }.map(\.path))
    func everyDefaultInTheTableIsTheDefault(path: String) throws {
        let setting = try #require(SettingsTable.setting(path: path))
        // A default that is a sentence rather than a value is not written as one.
        guard let value = try? SettingValue(setting.defaultText, as: setting.kind),
            !setting.path.hasPrefix("origin"), !setting.path.hasPrefix("replication"),
            setting.defaultText != "one per instance", setting.defaultText != "none",
            setting.path != "allowed_tables"
        else { return }
        var draft = SettingsDraft()
        setting.store(&draft, value)
        #expect(draft.settings == Settings())
    }

    @Test func namesAreUnique() {
        let names = SettingsTable.all.flatMap { $0.names.map(Setting.optionName) }
        #expect(Set(names).count == names.count)
        #expect(SettingsTable.markdown.contains("| `memo_cache_size` | integer |"))
        #expect(SettingsTable.optionHelp.contains("--listen-unix-socket"))
    }
}

struct ConnectionURLTests {
    @Test func everyPartMayBeMissing() throws {
        let url = try ConnectionURL("postgresql://")
        #expect(url.host == nil && url.port == nil && url.user == nil && url.database == nil)
    }

    @Test func aSocketDirectoryIsAHost() throws {
        #expect(try ConnectionURL("postgres://u@%2Fvar%2Frun/db").host == "/var/run")
        #expect(try ConnectionURL("postgres:///db?host=/tmp&port=5433").host == "/tmp")
        #expect(try ConnectionURL("postgres:///db?host=/tmp&port=5433").port == 5433)
    }

    @Test func ipv6StandsInBrackets() throws {
        let url = try ConnectionURL("postgres://u:p:w@[::1]:6000/db")
        #expect(url.host == "::1")
        #expect(url.port == 6000)
        #expect(url.password == "p:w")
    }

    @Test(arguments: [
        "http://h/d", "postgres://a,b/d", "postgres://h:0/d", "postgres://h:x/d", "postgres://%zz/d",
        "postgres://h/d?options=-c", "postgres://h/d?sslmode=maybe", "postgres://[::1/d", "postgres://h/%00",
        "postgres://h/d?x",
    ])
    func whatCannotBeUsedIsRefused(text: String) {
        #expect(throws: SettingValueError.self) { try ConnectionURL(text) }
    }
}
