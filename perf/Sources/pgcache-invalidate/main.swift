// What a transaction of the stream costs that hits one entry of a relation, by how many entries there are: nanoseconds
// from its messages to the entry being gone, with few and with many. A line of JSON for each kind of constraint.
//
//     pgcache-invalidate [ROUNDS [KIND]]

import Cache

/// Changes in one measurement; their entries are stored again in between.
let batch = 50
let few = 100
let many = 100_000
let rounds = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 41

struct Failure: Error { let sentence: String }

/// Nanoseconds for each transaction of one batch. The numbers are spread, so that entries are not found in the cache.
func measure(_ trial: InvalidationTrial, count: Int, round: Int) throws -> Double {
    let numbers = (0..<batch).map { (($0 * 2 + round) * (count / few) + $0 * 37 % max(count / few, 1)) % count }
    let transactions = numbers.map(trial.messages(hitting:))
    let started = ContinuousClock.now
    let isRight = transactions.allSatisfy { trial.receive($0) == 1 }
    let spent = ContinuousClock.now - started
    guard isRight else { throw Failure(sentence: "a change hit other entries than its own") }
    guard trial.restore(numbers) else { throw Failure(sentence: "no room for the entries") }
    return Double(spent.components.attoseconds) / 1e9 / Double(batch)
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

let wanted = CommandLine.arguments.dropFirst(2).first

for kind in InvalidationTrial.Kind.allCases where wanted == nil || wanted == kind.rawValue {
    guard let small = InvalidationTrial(kind, count: few), let large = InvalidationTrial(kind, count: many) else {
        throw Failure(sentence: "no room for the entries")
    }
    var figures: (few: [Double], many: [Double]) = ([], [])
    for round in 0..<rounds {
        figures.few.append(try measure(small, count: few, round: round))
        figures.many.append(try measure(large, count: many, round: round))
    }
    let (cheap, dear) = (median(figures.few), median(figures.many))
    let percent = Int(dear / cheap * 100 + 0.5)
    print(
        "{\"kind\": \"\(kind.rawValue)\", \"few_ns\": \(Int(cheap)), \"many_ns\": \(Int(dear)), "
            + "\"ratio\": \(Double(percent) / 100)}")
}
