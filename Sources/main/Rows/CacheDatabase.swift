import CDC
import Cache
import Loop
import PGProtocol

/// The cache database as the shell sees it: it performs the row tier's commands and tells what came of them.
///
/// An interface, because a simulator replaces it with a model. The real one is `PostgresCacheDatabase`.
package protocol CacheDatabase: AnyObject {
    /// What has to be known of the origin first: `.ready` follows some time, again after each `.lost`. Another origin
    /// than before ends what is there.
    func start(like origin: DatabaseFacts)
    /// Between `.ready` and `.lost` only.
    func perform(_ command: RowCommand)
    /// Takes a completion that carries its tag.
    func advance(_ completion: Completion)
    /// One send for each connection that has something to say.
    func flush()
    /// The oldest event that was not taken yet.
    func nextEvent() -> CacheDatabaseEvent?
    func stop()
    var hasStopped: Bool { get }
}

package enum CacheDatabaseEvent {
    /// It is there, and empty.
    case ready(DatabaseFacts.Alikeness)
    /// It is gone, or was never there; commands that were not answered never will be.
    case lost(String)
    case poolCreated(OID, tableOID: OID, columnTypes: [OID])
    case poolInherits(OID, parent: OID)
    case poolFailed(OID, String)
    /// `missing`: the updates in it, by position, whose row was not there. `told`: by position, the rows that were to
    /// be told and are there, by the table's columns.
    case applied(UInt64, missing: [Int], told: [Int: RowImage])
    /// A batch was refused: what is there is of no use any more.
    case applyFailed(String)
    /// With the bytes that were copied.
    case populationLoaded(PopulationID, bytes: Int, reach: FirstRowsReach?)
    case populationFailed(PopulationID, PopulationFailure)
    /// Whole messages of a read's answer.
    case readArrived(UInt64, [UInt8])
    case readEnded(UInt64)
    /// There is no answer this time.
    case readFailed(UInt64)
    /// The answer to a `KeyList`, as text; nil where there are too many.
    case keysListed(UInt64, [[UInt8]]?)
    /// The answer to `DatabaseFacts.zoneQuestion`; nil where it cannot tell.
    case zoneDescribed(String, String?)
    /// Bytes on disk, by relation.
    case measured([OID: Int])
}
