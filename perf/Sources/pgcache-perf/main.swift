// The programs of the benchmark, in one binary: two yardsticks on our own loop and the load.
//
//     pgcache-perf echo  --port P [--reactor epoll|io_uring]
//     pgcache-perf relay --port P --origin-port P [--reactor epoll|io_uring]
//     pgcache-perf classify
//     pgcache-perf load  --port P --wire simple|prepared|redis|echo --text … --connections N [--write-text …]
//
// `load` reads rounds from its standard input, `REQUESTS random|sequential FIRST COUNT`, and answers
// each with a line of JSON, so that whoever drives it can read the server's CPU time around a round.
// More words may follow: `stride=N` from a key to the next, `span=N` keys in a range, `writes=N` percent of
// the requests, and `digest=1` for one number of all the answers.
import Glibc
import Loop
import PGProtocol

func say(_ line: String) {
    print(line)
    fflush(nil)
}

func makeReactor(_ options: Options) throws -> Reactor {
    switch try options.text("reactor", default: "epoll") {
    case "epoll": return try EpollReactor()
    case "io_uring": return try RingReactor()
    case let name: throw UsageError("no reactor \(name)")
    }
}

func load(_ options: Options) throws {
    guard let wire = Dialogue.Wire(rawValue: try options.text("wire")) else {
        throw UsageError("--wire is none of simple, prepared, redis, echo")
    }
    let count = try options.number("connections")
    guard (1...LoadGenerator.connectionsMax).contains(count) else {
        throw UsageError("--connections is not in 1...\(LoadGenerator.connectionsMax)")
    }
    let dialogue = try Dialogue(
        wire, text: try options.text("text", default: ""), writeText: try options.text("write-text", default: ""),
        requestBytes: try options.number("request-bytes", default: 0),
        responseBytes: try options.number("response-bytes", default: 0))
    let generator = LoadGenerator(
        dialogue, connections: count, seed: UInt64(try options.number("seed", default: 1)) | 1,
        on: try makeReactor(options))
    try generator.connect(to: try options.port("port"))
    say("{\"connected\": \(count), \"request_bytes\": \(dialogue.read.bytes.count)}")
    while let line = readLine() {
        say(json(try round(line, of: generator)))
    }
}

func round(_ line: String, of generator: LoadGenerator) throws -> LoadGenerator.Round {
    let words = line.split(separator: " ")
    guard words.count >= 4, let requests = Int(words[0]), let first = UInt64(words[2]),
        let count = UInt64(words[3]), requests > 0, count > 0
    else { throw UsageError("not a round: \(line)") }
    var keys = LoadGenerator.Keys(first: first, count: count, isSequential: words[1] == "sequential")
    var writePercent = 0
    var pauseMicroseconds = 0
    var hasDigest = false
    for word in words.dropFirst(4) {
        let halves = word.split(separator: "=")
        guard halves.count == 2, let value = Int(halves[1]), value >= 0
        else { throw UsageError("not a round: \(line)") }
        switch halves[0] {
        case "stride": keys.stride = UInt64(value)
        case "span": keys.span = UInt64(value)
        case "writes": writePercent = value
        case "pause": pauseMicroseconds = value
        case "digest": hasDigest = value > 0
        default: throw UsageError("not a round: \(line)")
        }
    }
    return try generator.run(
        requests: requests, keys: keys, writePercent: writePercent, pauseMicroseconds: pauseMicroseconds,
        hasDigest: hasDigest)
}

func json(_ round: LoadGenerator.Round) -> String {
    func microseconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1000 }
    let latencies = round.latencies
    let writes = round.writeLatencies
    return """
        {"requests": \(round.requests), "seconds": \(Double(round.nanoseconds) / 1e9), \
        "response_bytes": \(round.responseBytes), \
        "p50_us": \(microseconds(latencies.percentileNanoseconds(0.5))), \
        "p99_us": \(microseconds(latencies.percentileNanoseconds(0.99))), \
        "max_us": \(microseconds(latencies.maximumNanoseconds)), \
        "writes": \(writes.total), \
        "write_p50_us": \(microseconds(writes.percentileNanoseconds(0.5))), \
        "write_p99_us": \(microseconds(writes.percentileNanoseconds(0.99))), \
        "digest": \(round.digest.map(String.init) ?? "null")}
        """
}

do {
    let words = CommandLine.arguments.dropFirst()
    let options = try Options(words.dropFirst())
    switch words.first {
    case "echo":
        var server = try EchoServer(port: try options.port("port"), on: try makeReactor(options))
        try server.run()
    case "relay":
        var relay = try TCPRelay(
            port: try options.port("port"), originPort: try options.port("origin-port"),
            on: try makeReactor(options))
        try relay.run()
    case "load": try load(options)
    case "classify": say(Classification.run())
    default: throw UsageError("usage: pgcache-perf echo|relay|load|classify --name value …")
    }
} catch {
    say("pgcache-perf: \(error)")
    exit(1)
}
