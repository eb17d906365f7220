/// The roles of the modelled origin.
///
/// `app` owns every table and is a member of all but `boss`, so that it may become any of them; `archivist` is a member
/// of it; `clerk` and `guest` log in as well and read what they are granted; `staff` is a group; `boss` is a superuser.
enum OriginRole: String, CaseIterable {
    case app, archivist, clerk, guest, staff, boss

    var isSuperuser: Bool { self == .boss }
    /// Rights and policies do not bind the owner of a table or a superuser.
    var isUnbound: Bool { self == .app || self == .archivist || isSuperuser }
}

/// Who a session is: by its log-in, by SET SESSION AUTHORIZATION, by SET ROLE, by SET LOCAL ROLE.
struct Identity: Equatable {
    var login: OriginRole
    var session: OriginRole
    var role: OriginRole?
    /// Until the end of the transaction.
    var local: OriginRole??

    init(_ login: OriginRole) {
        self.login = login
        session = login
    }

    /// current_user: whose rights count.
    var current: OriginRole { (local ?? role) ?? session }
    /// The transaction is over.
    var settled: Identity {
        var settled = self
        settled.local = .none
        return settled
    }

    /// `SET ROLE`, or `SET LOCAL ROLE`; nil is NONE.
    mutating func become(_ wanted: OriginRole?, isLocal: Bool, _ catalog: CatalogState) throws(OriginError) {
        if let wanted, !session.isSuperuser, wanted != session, !catalog.isMember(session, of: wanted) {
            throw OriginError(state: "42501", message: "permission denied to set role \"\(wanted.rawValue)\"")
        }
        if isLocal {
            local = .some(wanted)
        } else {
            role = wanted
            local = .none
        }
    }

    /// `SET SESSION AUTHORIZATION`; nil is DEFAULT. It undoes SET ROLE.
    mutating func authorize(_ wanted: OriginRole?) throws(OriginError) {
        let wanted = wanted ?? login
        guard wanted == login || login.isSuperuser else {
            throw OriginError(state: "42501", message: "permission denied to set session authorization")
        }
        session = wanted
        role = nil
        local = .none
    }
}
