// swift-tools-version: 6.2
import Foundation
import PackageDescription

/// libpg_query hands out PostgreSQL's own parse tree, so whoever imports it, directly or through
/// another module, needs the server headers of PostgreSQL 15.
let postgresHeaders = Context.environment["PG_INCLUDE_SERVER"]
    ?? "/usr/include/postgresql/15/server"

/// Fuzzing is a build of its own, with every module instrumented (scripts/fuzz).
let isFuzzed = Context.environment["PGCACHE_FUZZ"] == "1"

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // Every test runs with the checks; a release does without: they were 15 % of the instructions of a hit.
    .unsafeFlags(
        ["-enforce-exclusivity=\(isFuzzed ? "checked" : "unchecked")"], .when(configuration: .release)),
]
let withParser: [SwiftSetting] = strict + [.unsafeFlags(["-Xcc", "-I\(postgresHeaders)"])]

/// Whatever is beside main.swift belongs to the library, and SwiftPM wants to be told each of it.
let besideMain =
    try FileManager.default.contentsOfDirectory(atPath: Context.packageDirectory + "/Sources/main")
    .filter { $0 != "main.swift" }.sorted()

let package = Package(
    name: "pgcache",
    products: [
        .executable(name: "pgcache", targets: ["pgcache"]),
        .executable(name: "simulate", targets: ["simulate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // Loop: descriptors, time, child processes, libpq. Knows no message and no SQL.
        .target(
            name: "CLoop", path: "Sources/Loop/CLoop",
            linkerSettings: [.linkedLibrary("uring"), .linkedLibrary("cares"), .linkedLibrary("pq")]),
        .target(
            name: "Loop", dependencies: ["CLoop"], path: "Sources/Loop", exclude: ["CLoop"],
            swiftSettings: strict),

        // Protocol: the wire, as bytes and values.
        .target(name: "PGProtocol", path: "Sources/Protocol", swiftSettings: strict),

        // Mutation: rules that a separate build can switch off, for the simulator.
        .target(name: "Mutation", path: "Sources/Mutation", swiftSettings: strict),

        // CDC: the replication stream, as bytes and values.
        .target(
            name: "CDC", dependencies: ["PGProtocol", "Mutation"], path: "Sources/CDC",
            swiftSettings: strict),

        // Cache: what may be cached, for whom, until when.
        .target(
            name: "CPgQuery", path: "Sources/Cache/CPgQuery",
            cSettings: [.unsafeFlags(["-I\(postgresHeaders)"])],
            linkerSettings: [.linkedLibrary("pg_query")]),
        .target(name: "CXXHash", path: "Sources/Cache/CXXHash"),
        .target(
            name: "Cache", dependencies: ["PGProtocol", "CDC", "Mutation", "CPgQuery", "CXXHash"],
            path: "Sources/Cache", exclude: ["CPgQuery", "CXXHash"], swiftSettings: withParser),

        // main: the shell as a library, and the executable whose only file is main.swift.
        .target(
            name: "CAdmin", path: "Sources/main/CAdmin",
            linkerSettings: [.linkedLibrary("microhttpd")]),
        .target(
            name: "Shell",
            dependencies: [
                "Loop", "PGProtocol", "CDC", "Cache", "CAdmin", "Mutation",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "TOMLKit", package: "TOMLKit"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            path: "Sources/main", exclude: ["CAdmin", "main.swift"], swiftSettings: withParser),
        .executableTarget(
            name: "pgcache", dependencies: ["Shell"], path: "Sources/main",
            exclude: besideMain, sources: ["main.swift"], swiftSettings: withParser),

        // perf: the yardsticks and the load of the benchmark; no part of a release.
        .executableTarget(
            name: "pgcache-perf", dependencies: ["Loop", "PGProtocol", "Cache"],
            path: "perf/Sources/pgcache-perf", swiftSettings: withParser),
        .executableTarget(
            name: "pgcache-invalidate", dependencies: ["Cache"],
            path: "perf/Sources/pgcache-invalidate", swiftSettings: withParser),

        // The simulator: the whole shell in a world of models, driven from one seed.
        .target(
            name: "Simulation",
            dependencies: [
                "Shell", "Loop", "PGProtocol", "CDC", "Cache", "Mutation",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/Simulation", swiftSettings: withParser),
        .executableTarget(
            name: "simulate",
            dependencies: [
                "Simulation", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/simulate", swiftSettings: withParser),

        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Simulation", "Shell", "Loop", "PGProtocol", "CDC", "Cache",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/SimulationTests", swiftSettings: withParser),
        .testTarget(
            name: "LoopTests", dependencies: ["Loop"], path: "Tests/LoopTests",
            swiftSettings: strict),
        .testTarget(
            name: "ProtocolTests", dependencies: ["PGProtocol"], path: "Tests/ProtocolTests",
            swiftSettings: strict),
        .testTarget(
            name: "CDCTests", dependencies: ["CDC", "PGProtocol", "Loop"], path: "Tests/CDCTests",
            swiftSettings: strict),
        .testTarget(
            name: "CacheTests", dependencies: ["Cache", "CDC", "PGProtocol", "Loop"],
            path: "Tests/CacheTests", swiftSettings: withParser),
        .testTarget(
            name: "ShellTests", dependencies: ["Shell", "Loop", "PGProtocol", "CDC", "Cache"],
            path: "Tests/ShellTests", swiftSettings: withParser),
        .testTarget(name: "TidyTests", path: "Tests/TidyTests", swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)

if isFuzzed {
    package.targets.append(
        .executableTarget(
            name: "fuzz", dependencies: ["Shell", "Cache", "CDC", "PGProtocol"], path: "Tests/Fuzz",
            exclude: ["corpus", "dictionaries", "seeds.py"],
            swiftSettings: withParser + [.unsafeFlags(["-parse-as-library"])]))
}
