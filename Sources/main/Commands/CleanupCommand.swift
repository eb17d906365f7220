import ArgumentParser
import CDC

/// `pgcache cleanup`: removes what a killed pgcache left on the origin.
struct CleanupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cleanup",
        abstract: "Drop publications, event triggers and slots of pgcache that no running instance holds.",
        discussion: SettingsArguments.discussion)

    @Flag(help: "Only say what would be dropped.") var dryRun = false

    @OptionGroup var arguments: SettingsArguments

    func run() throws {
        let settings = try arguments.load()
        do {
            let links = try BlockingLinks()
            let link = try links.connect(settings.origin, name: "pgcache cleanup")
            let dropped = try removeInstances(links, link) + removeSlots(links, link)
            if dropped == 0 { StandardStream.output.line("nothing is left over") }
        } catch {
            StandardStream.error.line("pgcache cleanup: \(error)")
            throw ExitCode(1)
        }
    }

    /// The publication and the event trigger of each.
    private func removeInstances(_ links: BlockingLinks, _ link: UInt64) throws(LinkFailure) -> Int {
        var count = 0
        for row in try links.ask(link, Leftovers.instancesQuery()) {
            guard row.count == 2, let name = row[0] else { continue }
            guard row[1] == "t" else {
                StandardStream.output.line("instance \(name): in use")
                continue
            }
            count += 1
            try drop("instance \(name)", Leftovers.remove(name), links, link)
            try links.ask(link, Leftovers.unlock(name))
        }
        return count
    }

    private func removeSlots(_ links: BlockingLinks, _ link: UInt64) throws(LinkFailure) -> Int {
        var count = 0
        for row in try links.ask(link, Leftovers.slotsQuery) {
            guard let first = row.first, let name = first else { continue }
            count += 1
            try drop("slot \(name)", Leftovers.dropSlot(name), links, link)
        }
        return count
    }

    private func drop(
        _ what: String, _ sql: String, _ links: BlockingLinks, _ link: UInt64
    ) throws(LinkFailure) {
        if !dryRun { try links.ask(link, sql) }
        StandardStream.output.line("\(what): \(dryRun ? "would be dropped" : "dropped")")
    }
}
