import PGProtocol
import Testing

@testable import CDC

/// The machines' statements and the decoder, against a real PostgreSQL.
@Suite(.serialized) final class RealOriginTests {
    private let origin: RealOrigin
    private let admin: RealSession

    init() throws {
        origin = try RealOrigin()
        admin = try origin.session()
    }

    deinit { origin.stop() }

    private func oid(_ name: String) throws -> OID {
        let rows = try admin.ask("SELECT '\(name)'::regclass::oid").rows
        return try #require(rows.first?.first.flatMap { $0 }.flatMap { OID($0) })
    }

    // MARK: Driving a publication by hand

    /// Runs the machine's queries on `link` until it asks none, gives it a snapshot for each beat, and
    /// returns what it said on the way.
    private func drive(
        _ publication: inout Publication, _ link: RealSession, _ first: [PublicationAction],
        beatsMax: Int = 1
    ) throws -> [PublicationAction] {
        var pending = first
        var said: [PublicationAction] = []
        var beats = 0
        while !pending.isEmpty {
            let action = pending.removeFirst()
            switch action {
            case .connect:
                pending += publication.linkConnected(serverVersion: 150_000, now: .ms(1))
            case .query(let sql):
                switch try link.ask(sql) {
                case .rows(let rows): pending += publication.linkAnswered(rows: rows, now: .ms(1))
                case .failed(let state):
                    pending += publication.linkFailed(state: state, message: "", now: .ms(1))
                }
            case .beatWanted:
                guard beats < beatsMax else { break }
                beats += 1
                pending += publication.snapshotArrived(try snapshot(), now: .ms(1))
            case .wake: break
            default: said.append(action)
            }
        }
        return said
    }

    private func snapshot() throws -> Snapshot {
        let text = try admin.ask("SELECT pg_current_snapshot()").rows.first?.first ?? nil
        return try #require(text.flatMap { Snapshot($0) })
    }

    private func started(
        _ configuration: Publication.Configuration
    ) throws -> (Publication, RealSession, [PublicationAction]) {
        var publication = Publication(configuration: configuration)
        let link = try origin.session(options: publication.connectionOptions)
        let said = try drive(&publication, link, publication.started(now: .ms(0)))
        return (publication, link, said)
    }

    private func want(
        _ name: String, _ publication: inout Publication, _ link: RealSession,
        schema: String = "public", as relation: OID? = nil, beatsMax: Int = 10
    ) throws -> [PublicationAction] {
        let relation = try relation ?? oid("\(schema).\"\(name)\"")
        return try drive(
            &publication, link,
            publication.relationWanted(relation, schema: schema, name: name, now: .ms(1)),
            beatsMax: beatsMax)
    }

    // MARK: The publication

    @Test func orphansGoAndLivingInstancesStay() throws {
        try admin.ask("CREATE PUBLICATION pgcache_pub_dead")
        let alive = try origin.session()
        try alive.ask("CREATE PUBLICATION pgcache_pub_a11e")
        try alive.ask(PublicationSQL.lock("pgcache_pub_a11e"))
        try admin.ask("CREATE PUBLICATION somebody_elses")
        let (_, link, said) = try started(.own("pgcache_pub_1"))
        #expect(
            said == [
                .orphanDropped("pgcache_pub_dead"),
                .ready(publication: "pgcache_pub_1", isNew: true),
            ])
        #expect(
            try admin.ask("SELECT pubname FROM pg_publication ORDER BY 1").rows
                == [["pgcache_pub_1"], ["pgcache_pub_a11e"], ["somebody_elses"]])
        // Both live: cleaning up finds nothing that it may drop.
        #expect(
            try admin.ask(Leftovers.instancesQuery()).rows
                == [["pgcache_pub_1", "f"], ["pgcache_pub_a11e", "f"]])
        alive.close()
        link.close()
    }

    @Test func tablesAreFollowedOrRefusedOneByOne() throws {
        try admin.ask("CREATE TABLE good (id int PRIMARY KEY)")
        try admin.ask("CREATE TABLE \"Odd \"\"$$' name\" (id int PRIMARY KEY)")
        try admin.ask("CREATE TABLE keyless (id int)")
        try admin.ask("CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)")
        try admin.ask(
            "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); "
                + "CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (9)")
        var (publication, link, _) = try started(.own("pgcache_pub_1"))
        #expect(
            try want("keyless", &publication, link)
                == [.refused(try oid("keyless"), .withoutReplicaIdentity)])
        #expect(
            try admin.ask("SELECT count(*) FROM pg_publication_rel").rows == [["0"]],
            "and it is not left in the publication")
        try admin.ask("INSERT INTO keyless VALUES (1)")
        #expect(try admin.ask("UPDATE keyless SET id = 2") == .rows([]))

        #expect(
            try want("good", &publication, link, as: OID(1)) == [.refused(OID(1), .renamed)])
        #expect(
            try want("gone", &publication, link, as: OID(2)) == [.refused(OID(2), .renamed)])
        guard case .refused(_, .failed) = try want("unlogged", &publication, link).first else {
            Issue.record("an unlogged table was taken")
            return
        }
        #expect(try want("good", &publication, link) == [.followed([try oid("good")])])
        #expect(try want("root", &publication, link) == [.followed([try oid("root")])])
        let rows = try admin.ask(
            "SELECT oid FROM pg_class WHERE relname LIKE 'Odd%' AND relkind = 'r'"
        ).rows
        let odd = try #require(rows.first?.first.flatMap { $0 }.flatMap { OID($0) })
        #expect(
            try want("Odd \"$$' name", &publication, link, as: odd) == [.followed([odd])])

        // Removed and added again by others.
        try admin.ask("ALTER PUBLICATION pgcache_pub_1 DROP TABLE good")
        try admin.ask("ALTER PUBLICATION pgcache_pub_1 ADD TABLE good")
        #expect(
            try drive(&publication, link, publication.clockReached(.ms(6_000)))
                == [.unfollowed([try oid("good")])])
        let remaining = try drive(&publication, link, publication.stopped(now: .ms(6_001)))
        #expect(remaining.last == .finished)
        #expect(try admin.ask("SELECT count(*) FROM pg_publication").rows == [["0"]])
        link.close()
    }

    @Test func aTableOfSomebodyElseIsRefused() throws {
        try admin.ask("CREATE TABLE foreign_to_us (id int PRIMARY KEY)")
        try admin.ask("CREATE ROLE plain; GRANT CREATE ON DATABASE postgres TO plain")
        var publication = Publication(configuration: .own("pgcache_pub_1"))
        let link = try origin.session(options: publication.connectionOptions + " -c role=plain")
        _ = try drive(&publication, link, publication.started(now: .ms(0)))
        let said = try want("foreign_to_us", &publication, link)
        #expect(said == [.refused(try oid("foreign_to_us"), .notOwner(""))])
        link.close()
    }

    @Test func aLockedTableDoesNotKeepTheApplicationWaiting() throws {
        try admin.ask("CREATE TABLE busy (id int PRIMARY KEY)")
        let vacuum = try origin.session()
        try vacuum.ask("BEGIN")
        try vacuum.ask("LOCK TABLE busy IN SHARE UPDATE EXCLUSIVE MODE")
        var configuration = Publication.Configuration.own("pgcache_pub_1")
        configuration.lockTimeoutMilliseconds = 50
        configuration.lockAttemptsMax = 1
        var (publication, link, _) = try started(configuration)
        #expect(try want("busy", &publication, link) == [.refused(try oid("busy"), .locked)])
        try vacuum.ask("COMMIT")
        #expect(try want("busy", &publication, link) == [.followed([try oid("busy")])])
        vacuum.close()
        link.close()
    }

    /// Trap B, with a writer that the snapshot after the ALTER does not list.
    @Test func whatAnOlderTransactionWroteIsWaitedFor() throws {
        try admin.ask("CREATE TABLE gap (id int PRIMARY KEY)")
        var (publication, link, _) = try started(.own("pgcache_pub_1"))
        try admin.ask("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        let writer = try origin.session()
        // The ALTER takes its number, then the writer a higher one, then the ALTER commits.
        let relation = try oid("gap")
        let asked = publication.relationWanted(relation, schema: "public", name: "gap", now: .ms(1))
        guard case .query(let alter) = asked.first else {
            Issue.record("\(asked)")
            return
        }
        try link.ask("BEGIN")
        try link.ask(alter)
        try writer.ask("BEGIN")
        try writer.ask("INSERT INTO gap VALUES (1)")
        try link.ask("COMMIT")
        let number = try writer.ask("SELECT pg_current_xact_id()").rows.first?.first ?? nil
        let id = TransactionID(try #require(number.flatMap { UInt64($0) }))
        let after = try snapshot()
        #expect(after.upper == id, "so its upper end says nothing about the writer")

        let early = try drive(
            &publication, link, publication.linkAnswered(rows: [], now: .ms(1)), beatsMax: 3)
        #expect(early == [] && !publication.isFollowed(relation))
        try writer.ask("COMMIT")
        let late = try drive(&publication, link, publication.clockReached(.ms(30)), beatsMax: 3)
        #expect(late == [.followed([relation])])
        try writer.ask("INSERT INTO gap VALUES (2)")
        let rows = try changes("s", "pgcache_pub_1").flatMap(\.changes).map(\.kind)
        #expect(rows == [.insert(new: [StreamBytes.text("2")])], "the first was never sent")
        writer.close()
        link.close()
    }

    @Test func theOperatorsPublicationIsReadExactly() throws {
        try admin.ask("CREATE TABLE whole (id int PRIMARY KEY, v int)")
        try admin.ask("CREATE TABLE filtered (id int PRIMARY KEY, v int)")
        try admin.ask("CREATE TABLE cut (id int PRIMARY KEY, v int)")
        try admin.ask("CREATE TABLE other (id int PRIMARY KEY)")
        try admin.ask(
            "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); "
                + "CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (9)")
        try admin.ask(
            "CREATE PUBLICATION ops FOR TABLE whole, filtered WHERE (id > 5), cut (id), root")
        var (publication, link, said) = try started(.adopt("ops"))
        #expect(said == [.ready(publication: "ops", isNew: false)])
        for name in ["filtered", "cut", "other"] {
            #expect(
                try want(name, &publication, link) == [.refused(try oid(name), .notPublished)])
        }
        for name in ["whole", "leaf"] {
            #expect(try want(name, &publication, link) == [.followed([try oid(name)])])
        }
        try admin.ask("ALTER PUBLICATION ops SET TABLE whole (id), root")
        let polled = try drive(&publication, link, publication.clockReached(.ms(6_000)))
        #expect(polled == [.unfollowed([try oid("whole")])])
        link.close()

        try admin.ask("CREATE PUBLICATION everything FOR ALL TABLES")
        var (all, allLink, _) = try started(.adopt("everything"))
        #expect(try want("other", &all, allLink) == [.followed([try oid("other")])])
        allLink.close()

        try admin.ask("CREATE PUBLICATION narrow FOR ALL TABLES WITH (publish = 'insert')")
        let (_, narrowLink, narrow) = try started(.adopt("narrow"))
        guard case .unavailable(state: "0A000", _) = narrow.first else {
            Issue.record("\(narrow)")
            return
        }
        narrowLink.close()
    }

    // MARK: The stream

    /// Takes what a slot has, message by message, through the builder.
    private func changes(_ slot: String, _ publication: String) throws -> [SourceTransaction] {
        let rows = try admin.ask(
            "SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('\(slot)', NULL, "
                + "NULL, 'proto_version', '1', 'publication_names', '\(publication)', "
                + "'messages', 'true')"
        ).rows
        var builder = SourceTransactionBuilder()
        var transactions: [SourceTransaction] = []
        for row in rows {
            let hex = Array(try #require(row.first.flatMap { $0 }).utf8)
            var bytes: [UInt8] = []
            for index in stride(from: 0, to: hex.count, by: 2) {
                let pair = String(decoding: hex[index...index + 1], as: UTF8.self)
                bytes.append(try #require(UInt8(pair, radix: 16)))
            }
            if let (transaction, shapes) = try bytes.withUnsafeBytes({
                try builder.messageReceived(ByteView($0))
            }) {
                transactions.append(transaction)
                seenShapes += shapes
            }
        }
        #expect(!builder.isInsideTransaction)
        return transactions
    }
    private var seenShapes: [RelationShape] = []

    @Test func realBytesAreDecodedWhole() throws {
        try admin.ask("CREATE TYPE mood AS ENUM ('good', 'bad')")
        try admin.ask("CREATE TABLE orders (id int PRIMARY KEY, note text, m mood, price numeric(9,2))")
        try admin.ask("ALTER TABLE orders ALTER note SET STORAGE EXTERNAL")
        try admin.ask("CREATE TABLE logs (a int, b text)")
        try admin.ask("ALTER TABLE logs REPLICA IDENTITY FULL")
        try admin.ask("CREATE PUBLICATION p FOR TABLE orders, logs")
        try admin.ask("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        try admin.ask("INSERT INTO orders VALUES (1, repeat('x', 9000), 'good', 1.5)")
        try admin.ask("UPDATE orders SET m = 'bad'")
        try admin.ask("UPDATE orders SET id = 2")
        try admin.ask("DELETE FROM orders")
        try admin.ask("BEGIN")
        try admin.ask("INSERT INTO logs VALUES (1, NULL)")
        try admin.ask("UPDATE logs SET b = 'y'")
        try admin.ask("DELETE FROM logs")
        try admin.ask("SELECT pg_logical_emit_message(true, 'pgcache', 'ddl')")
        try admin.ask("COMMIT")
        try admin.ask("TRUNCATE orders, logs")
        try admin.ask("SELECT pg_logical_emit_message(false, 'pgcache', 'now')")
        try admin.ask("INSERT INTO logs SELECT g, 'z' FROM generate_series(1, 10001) g")
        try admin.ask("BEGIN")
        try admin.ask("SAVEPOINT a")
        try admin.ask("INSERT INTO logs VALUES (7, 'undone')")
        try admin.ask("ROLLBACK TO a")
        try admin.ask("INSERT INTO logs VALUES (8, 'kept')")
        try admin.ask("ALTER TABLE logs ADD c int")
        try admin.ask("INSERT INTO logs VALUES (9, 'wider', 1)")
        try admin.ask("COMMIT")

        let orders = try oid("orders")
        let logs = try oid("logs")
        func text(_ value: String) -> ColumnImage { StreamBytes.text(value) }
        let transactions = try changes("s", "p")
        let kinds = transactions.map { $0.changes.map(\.kind) }
        try #require(transactions.count == 8)
        let large = text(String(repeating: "x", count: 9_000))
        #expect(kinds[0] == [.insert(new: [text("1"), large, text("good"), text("1.50")])])
        #expect(
            kinds[1] == [
                .update(old: .absent, new: [text("1"), .unchanged, text("bad"), text("1.50")])
            ])
        #expect(
            kinds[2] == [
                .update(
                    old: .key([text("1"), .null, .null, .null]),
                    new: [text("2"), .unchanged, text("bad"), text("1.50")])
            ])
        #expect(kinds[3] == [.delete(old: .key([text("2"), .null, .null, .null]))])
        #expect(
            kinds[4] == [
                .insert(new: [text("1"), .null]),
                .update(old: .full([text("1"), .null]), new: [text("1"), text("y")]),
                .delete(old: .full([text("1"), text("y")])),
            ])
        #expect(
            transactions[5].changes.sorted { $0.relation < $1.relation }
                == [
                    RowChange(relation: orders, kind: .truncate),
                    RowChange(relation: logs, kind: .truncate),
                ])
        #expect(transactions[6].changes.isEmpty && transactions[6].whollyChanged == [logs])
        #expect(
            transactions[7].changes.isEmpty && transactions[7].whollyChanged == [logs],
            "its images are of two shapes")
        #expect(transactions.map(\.changesSchema) == (0..<8).map { $0 == 4 }, "the message that was transactional")
        #expect(zip(transactions, transactions.dropFirst()).allSatisfy { $0.endLSN < $1.endLSN })
        let shape = try #require(seenShapes.first { $0.oid == orders })
        #expect(shape.columns.map(\.name) == ["id", "note", "m", "price"])
        #expect(shape.columns.map(\.isKey) == [true, false, false, false])
        #expect(shape.schema == "public" && shape.replicaIdentity == UInt8(ascii: "d"))
    }

    @Test func theFeedsCommandsAreTakenByAWalsender() throws {
        try admin.ask("CREATE PUBLICATION \"we\"\"ird's\"")
        for isPersistent in [false, true] {
            var configuration = ReplicationFeed.Configuration(slot: "pgcache_x")
            configuration.isPersistent = isPersistent
            configuration.lockTimeoutMilliseconds = 100
            var feed = ReplicationFeed(configuration: configuration)
            let link = try origin.session(options: feed.connectionOptions, replication: true)
            func step(_ actions: [ReplicationAction]) throws -> [ReplicationAction] {
                guard case .query(let sql) = actions.first else { return actions }
                switch try link.ask(sql) {
                case .rows(let rows): return feed.linkAnswered(rows: rows, now: .ms(1))
                case .failed(let state):
                    return feed.linkFailed(state: state, message: "", now: .ms(1))
                }
            }
            // A transaction that is open keeps the slot from being made, and is named.
            let writer = try origin.session()
            try writer.ask("SET application_name = 'forgetful'; BEGIN; SELECT pg_current_xact_id()")
            _ = feed.started(publication: "we\"ird's", now: .ms(0))
            var actions = feed.linkConnected(serverVersion: 150_000, now: .ms(1))
            while case .query = actions.first { actions = try step(actions) }
            guard case .explainBlocker(let sql) = actions.first else {
                Issue.record("\(actions)")
                return
            }
            let blocker = try #require(try admin.ask(sql).rows.first)
            #expect(blocker.first == "session" && blocker.last == "forgetful")
            try writer.ask("COMMIT")

            _ = feed.clockReached(.ms(10_000))
            actions = feed.linkConnected(serverVersion: 150_000, now: .ms(10_001))
            while case .query = actions.first { actions = try step(actions) }
            guard case .fenced(let fence) = actions.first, fence > TransactionID(2), actions.count > 1,
                case .startReplication(let start) = actions[1]
            else {
                Issue.record("\(actions)")
                return
            }
            let retained = try #require(try admin.ask(feed.retentionQuery).rows.first)
            #expect(retained.count == 2 && retained.last == "reserved")
            // psql cannot stream: told to, it says so itself and knows no SQLSTATE.
            #expect(try link.ask(start) == .failed(state: ""))
            link.close()
            writer.close()
        }
        #expect(try admin.ask(Leftovers.slotsQuery).rows == [["pgcache_x"]], "only the persistent one")
        try admin.ask(Leftovers.dropSlot("pgcache_x"))
        #expect(try admin.ask(Leftovers.slotsQuery).rows == [])
    }
}
