import PGProtocol
import Testing

@testable import Cache

/// Which relations the stream covers.
@Suite struct MembershipTests {
    let relation = OID(20_001)

    @Test func aRelationIsAskedForOnceAndThenFollowed() {
        var membership = Membership()
        membership.ask(relation)
        membership.ask(relation)
        #expect(!membership.isFollowed(relation))
        #expect(membership.nextWanted() == relation)
        #expect(membership.nextWanted() == nil)
        membership.ask(relation)
        #expect(membership.nextWanted() == nil)
        membership.follow([relation])
        #expect(membership.isFollowed(relation))
        #expect(membership.followedCount == 1)
    }

    @Test func whatIsNoLongerFollowedMayBeAskedForAgain() {
        var membership = Membership()
        membership.follow([relation])
        membership.unfollow([relation])
        #expect(!membership.isFollowed(relation))
        membership.ask(relation)
        #expect(membership.nextWanted() == relation)
    }

    @Test func whatWasRefusedIsAskedForAgainOnlyAfterAReconsideration() {
        var membership = Membership()
        membership.ask(relation)
        _ = membership.nextWanted()
        membership.refuse(relation)
        #expect(membership.isRefused(relation) && !membership.isFollowed(relation))
        membership.ask(relation)
        #expect(membership.nextWanted() == nil)
        membership.reconsider()
        membership.ask(relation)
        #expect(membership.nextWanted() == relation)
    }
}
