// swift-tools-version: 6.2
import PackageDescription

/// libpg_query hands out PostgreSQL's own parse tree, so whoever imports it, directly or through
/// another module, needs the server headers of PostgreSQL 15.
let postgresHeaders = Context.environment["PG_INCLUDE_SERVER"]
    ?? "/usr/include/postgresql/15/server"

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // Every test runs with the checks; a release does without: they were 15 % of the instructions of a hit.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]
let withParser: [SwiftSetting] = strict + [.unsafeFlags(["-Xcc", "-I\(postgresHeaders)"])]

let package = Package(
    name: "pgcache",
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

        // CDC: the replication stream, as bytes and values.
        .target(
            name: "CDC", dependencies: ["PGProtocol"], path: "Sources/CDC", swiftSettings: strict),

        // Cache: what may be cached, for whom, until when.
        .target(
            name: "CPgQuery", path: "Sources/Cache/CPgQuery",
            cSettings: [.unsafeFlags(["-I\(postgresHeaders)"])],
            linkerSettings: [.linkedLibrary("pg_query")]),
        .target(name: "CXXHash", path: "Sources/Cache/CXXHash"),
        .target(
            name: "Cache", dependencies: ["PGProtocol", "CDC", "CPgQuery", "CXXHash"],
            path: "Sources/Cache", exclude: ["CPgQuery", "CXXHash"], swiftSettings: withParser),

        .testTarget(
            name: "LoopTests", dependencies: ["Loop"], path: "Tests/LoopTests",
            swiftSettings: strict),
        .testTarget(
            name: "ProtocolTests", dependencies: ["PGProtocol"], path: "Tests/ProtocolTests",
            swiftSettings: strict),
        .testTarget(
            name: "CDCTests", dependencies: ["CDC", "PGProtocol"], path: "Tests/CDCTests",
            swiftSettings: strict),
        .testTarget(
            name: "CacheTests", dependencies: ["Cache", "CDC", "PGProtocol"],
            path: "Tests/CacheTests", swiftSettings: withParser),
    ],
    swiftLanguageModes: [.v6]
)

