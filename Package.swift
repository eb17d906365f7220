// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // Every test runs with the checks; a release does without: they were 15 % of the instructions of a hit.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

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

        .testTarget(
            name: "LoopTests", dependencies: ["Loop"], path: "Tests/LoopTests",
            swiftSettings: strict),
        .testTarget(
            name: "ProtocolTests", dependencies: ["PGProtocol"], path: "Tests/ProtocolTests",
            swiftSettings: strict),
        .testTarget(
            name: "CDCTests", dependencies: ["CDC", "PGProtocol"], path: "Tests/CDCTests",
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)

