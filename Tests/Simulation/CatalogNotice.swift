import PGProtocol

/// From when on the proxy must know of a change of the catalog: the bounds that the oracle holds it to.
extension OriginDatabase {
    /// The proxy has taken an answer to its poll: it knows of everything that was visible when that was computed.
    func noticed(poll rows: [[String?]]) {
        guard let version = CatalogAnswers.version(ofPoll: rows) else { return }
        for number in catalogVersions.indices where number <= version { noticed(number) }
    }

    /// The proxy has taken a transaction with the event trigger's message; nil looks again at those that were taken
    /// before their changes were visible.
    func messageTaken(_ narrowID: UInt32?) {
        if let narrowID { messagesTaken.append(narrowID) }
        messagesTaken.removeAll { taken in
            guard
                let version = catalogVersions.lastIndex(where: {
                    $0.xid.map { UInt32(truncatingIfNeeded: $0.value) } == taken
                })
            else { return false }
            noticed(version)
            return true
        }
    }

    /// A client was told that what it did to the catalog is done.
    func noticed(_ version: Int) {
        if catalogVersions[version].noticedAt == nil {
            catalogVersions[version].noticedAt = surroundings.scheduler.count
        }
    }
}
