import Mutation
import PGProtocol

/// What a session knows of its own settings [K3].
struct SessionSettings {
    /// Whether a block has changed settings, and whether its end undoes all of it.
    enum BlockChange: UInt8 {
        case none
        case local
        case lasting
    }

    /// Numbers of `KnownSettings`: at log-in, now, and when the open block began; `.max` where they are not known.
    var atLogin = UInt32.max
    var now = UInt32.max
    var beforeBlock = UInt32.max
    /// The question behind the log-in has not been answered: nothing has changed a setting yet.
    var isBehindLogin = true
    /// The schema under which `beforeBlock` was read: under another, its search path may lead elsewhere.
    var beforeBlockEpoch: UInt32 = 0
    /// The configuration under which `atLogin` was read: after another, RESET may lead elsewhere.
    var era: UInt32 = 0
    var blockChange = BlockChange.none
    /// A lone SET or the like is at the origin, and whether it has failed.
    var sent: KnownSettings.Step?
    var hasFailed = false
    /// It has been answered, and nobody knows yet what it leads to: the next reading tells.
    var learning: KnownSettings.Step?
    /// The question for the settings is on its way; what it has brought.
    var isAsked = false
    var read = UInt32.max
    /// The last reading was not what the server had reported.
    var hasDisagreed = false
}

/// The settings of the session: read once behind the log-in, followed, and read again where they cannot be followed.
///
///     unknown ──reading──▶ cacheable / refused ──a lone SET──▶ unknown until its answer ──learned──▶ …
///        ▲                                                                     └──new──▶ unknown, read when needed
///        └── anything else that may have changed them
///
/// The reading waits until a statement comes that could be answered from the cache: a session that only
/// writes is never asked.
extension Session {
    /// The profile under which texts are looked up: none while the settings are not known for sure.
    func textProfile(_ store: CacheStore) -> UInt32 { schemaEpoch == store.schemaEpoch ? profile : .max }

    /// Before a statement that could be cached: the step that brings the settings; nil when they are known, or cannot
    /// be asked for now.
    mutating func stepForSettings(_ store: CacheStore) -> ClientStep? {
        switch standing {
        case .bypass: return nil
        case .refused, .cacheable: if schemaEpoch == store.schemaEpoch { return nil }
        case .unknown: break
        }
        guard !segmentIsForwarded, store.isServing, status == .idle ? !mayHaveBegun : allowsHits else { return nil }
        guard isQuiet else { return .park }
        askProfile(store)
        return .forward(consumed: 0)
    }

    /// Asks the origin, unseen by the client, for the settings of this session [K3].
    ///
    /// What is read is as old as the question: a change of the schema on the way makes it be asked again.
    mutating func askProfile(_ store: CacheStore) {
        schemaEpoch = store.schemaEpoch
        settings.isAsked = true
        settings.read = .max
        store.counters.profileReads += 1
        ask(.profile, [Array(store.profileSQL.utf8)])
    }

    mutating func profileRead(_ body: ByteView, _ store: CacheStore) {
        guard let row = body.textRow, let reading = store.profileReading(row) else { return }
        let number = store.number(of: reading)
        if settings.isBehindLogin {
            settings.atLogin = number
            settings.era = store.settingsEra
        }
        settings.read = number
    }

    /// The question was answered: what it brought counts, unless the server has reported something else since it was
    /// asked. If it has failed, the session forwards until something changes its settings.
    mutating func profileAnswered(_ store: CacheStore) {
        settings.isAsked = false
        // A later reading would not be what RESET goes back to.
        settings.isBehindLogin = false
        if status == .failed { block = .dirty }
        guard settings.read != .max else {
            forgetSettings(isSure: true)
            if standing == .unknown { standing = .refused(.sessionState) }
            return
        }
        let step = settings.learning
        if adopt(settings.read, store) {
            if let step { store.knownSettings.learn(step, leadsTo: settings.read) }
            settings.hasDisagreed = false
        } else if settings.hasDisagreed, standing == .unknown {
            // Twice is no coincidence: asked again and again, it would never end.
            standing = .refused(.sessionState)
        } else {
            settings.hasDisagreed = true
        }
        settings.read = .max
        settings.learning = nil
    }

    /// These are the session's settings now. False when that cannot be.
    @discardableResult
    private mutating func adopt(_ number: UInt32, _ store: CacheStore) -> Bool {
        if case .bypass = standing { return true }
        guard let known = store.knownSettings[number], known.reading.profile.agrees(with: reported) else {
            forgetSettings(isSure: true)
            return false
        }
        settings.now = number
        standardConformingStrings = known.reading.profile.standardConformingStrings
        switch known.use {
        case .cacheable(let profile, let role):
            self.profile = Mutation.profileNotInKey.isOn ? 0 : profile
            if !Mutation.roleChangeUnnoticed.isOn || self.role == .max { self.role = role }
            standing = .cacheable
        case .refused(let reason):
            profile = .max
            standing = .refused(reason)
        }
        return true
    }

    /// Nobody knows the settings any more. While they forbid the cache, only what is sure to change them
    /// is a reason to read them again.
    mutating func forgetSettings(isSure: Bool) {
        if Mutation.settingChangeUnnoticed.isOn { return }
        settings.sent = nil
        settings.learning = nil
        settings.now = .max
        switch standing {
        case .bypass: return
        case .refused: if !isSure { return }
        case .unknown, .cacheable: break
        }
        standing = .unknown
        profile = .max
    }

    /// A statement is sent that may change settings; `isSure` if it says so itself.
    mutating func settingsMayChange(_ change: SettingChange, isSure: Bool) {
        forgetSettings(isSure: isSure)
        guard status != .idle || mayHaveBegun else { return }
        let inBlock: SessionSettings.BlockChange = change == .local ? .local : .lasting
        if inBlock.rawValue > settings.blockChange.rawValue { settings.blockChange = inBlock }
    }

    /// The step that a statement is which is sent now, alone, from settings that are known.
    func step(of statement: Statement, _ store: CacheStore) -> KnownSettings.Step? {
        guard statement.settingChange != .none, isQuiet, !segmentIsForwarded, !segmentIsLocal,
            settings.atLogin != .max, settings.era == store.settingsEra, status == .idle || block == .clean,
            schemaEpoch == store.schemaEpoch
        else { return nil }
        var step = KnownSettings.Step(
            login: Mutation.transitionIgnoresLogin.isOn ? 0 : settings.atLogin, before: settings.now,
            isInBlock: status != .idle, text: statement.text.bytes)
        if statement.settingChange == .reset {
            step.before = KnownSettings.Step.anything
        } else if let first = settings.learning, first.isInBlock == step.isInBlock {
            // Behind one whose outcome nobody has read yet: the two are learned as one.
            step.before = first.before
            step.text = first.text + [0] + step.text
        }
        return step.before == .max || step.text.count > KnownSettings.textBytesMax ? nil : step
    }

    /// The first ReadyForQuery behind a lone SET: what it leads to is known, or will be with the next reading.
    mutating func settleStep(_ store: CacheStore) {
        guard let step = settings.sent else { return }
        settings.sent = nil
        if settings.hasFailed {
            // Nothing has changed; in a block, nothing is asked before its end.
            let isKnown = step.before != KnownSettings.Step.anything && !step.text.contains(0)
            if status == .idle, isKnown { adopt(step.before, store) }
        } else if let number = store.knownSettings.after(step) {
            adopt(number, store)
        } else {
            settings.learning = step
        }
    }

    /// The block has ended, or a part of it was undone: settings may be what they were.
    mutating func settleBlock(_ store: CacheStore) {
        let change = settings.blockChange
        settings.blockChange = .none
        if settings.learning?.isInBlock == true { settings.learning = nil }
        switch change {
        case .none: break
        case .local where Mutation.settingUndoneUnnoticed.isOn: break
        case .local where settings.beforeBlock != .max && settings.beforeBlockEpoch == schemaEpoch && pipeline.isEmpty:
            adopt(settings.beforeBlock, store)
        case .local, .lasting: forgetSettings(isSure: true)
        }
        settings.beforeBlock = .max
    }

    /// ParameterStatus: at log-in it tells the settings, later it tells that one has changed [K3].
    mutating func parameterReported(_ body: ByteView, _ store: CacheStore) {
        guard let name = body.cString(at: 0), let value = body.cString(at: name.count + 1) else { return }
        guard reported.count < Session.reportedMax || reported[name.string] != nil else {
            bypass(.sessionState)
            return
        }
        let old = reported.updateValue(value.string, forKey: name.string)
        if state == .loggingIn { return }
        if name.string == "standard_conforming_strings" { standardConformingStrings = value.string == "on" }
        // What a lone SET has changed is checked when it is settled.
        guard old != value.string, settings.sent == nil, !Profile.isHarmlessParameterStatus(name.string) else { return }
        let learning = settings.learning
        forgetSettings(isSure: true)
        settings.learning = learning
    }
}
