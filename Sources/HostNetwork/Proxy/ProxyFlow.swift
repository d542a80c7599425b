import NIOCore
import SandboxModel

/// One connection of the guest's, from its arrival to its end: what it was let through for, and both its channels.
///
/// Lives on its slot's event loop only.
final class ProxyFlow {
    /// What a connection was let through for: as long as that is allowed, it lives.
    enum Use {
        case undecided
        /// Whatever is spoken, since the address itself is allowed.
        case address
        /// Neither TLS nor HTTP, to an address of one of these names.
        case unnamed([String])
        /// TLS with this name, passed through.
        case tls(String)
        /// HTTP with these hosts so far.
        case http(Set<String>)
        /// TLS with this name, ended here.
        case secret(String)
    }

    /// Time for the first bytes to come, and from the first of them until it is clear what they are.
    static let silence = TimeAmount.seconds(60)
    static let opening = TimeAmount.seconds(10)
    /// How long a client that could speak first is waited for before its server may.
    static let clientFirst = TimeAmount.milliseconds(500)
    /// A connection on which nothing moves is given up after this; keep-alive probes end dead ones sooner.
    static let idle = TimeAmount.hours(2)
    /// Time for a client to read an answer whose connection is over.
    static let lingering = TimeAmount.seconds(2)
    /// Names one connection may be used for.
    static let maxNames = 64

    let core: ProxyCore
    let guest: any Channel
    private(set) var destination: Destination?
    private(set) var use = Use.undecided
    private(set) var upstream: (any Channel)?
    var opening: OpeningHandler?
    /// What was opened before the client had spoken, and passes its server's words on.
    var early: RelayHandler?
    /// Whether that is under way or done; what the client's first bytes are waits for it.
    var isOpeningEarly = false
    var decided: FirstBytes?
    private var retained: Set<String> = []
    private var timer: Scheduled<Void>?
    private var idleTimer: Scheduled<Void>?
    private var touched = NIODeadline.now()
    private(set) var isOver = false

    init(core: ProxyCore, guest: any Channel) {
        self.core = core
        self.guest = guest
    }

    // MARK: Beginning

    func begin(_ handler: OpeningHandler) {
        opening = handler
        core.destination(of: guest).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let destination): self.begin(to: destination)
            case .failure: self.end(withReset: true)
            }
        }
    }

    private func begin(to destination: Destination) {
        guard !isOver else { return }
        self.destination = destination
        armIdleTimer()
        guard core.connectionCount <= core.rules.maxConnections else { return refuse(.connectionLimit) }
        admit(destination)
    }

    /// Gives up after a time, unless `cancelTimer` or another is set first.
    func setTimer(_ time: TimeAmount, _ action: @escaping () -> Void) {
        timer?.cancel()
        timer = core.loop.assumeIsolated().scheduleTask(in: time, action)
    }

    func cancelTimer() {
        timer?.cancel()
        timer = nil
    }

    private var hasBegunToSpeak = false

    /// Some bytes have come, not enough to tell what they are.
    func firstBytesBegan() {
        guard !hasBegunToSpeak else { return }
        hasBegunToSpeak = true
        setTimer(ProxyFlow.opening) { self.refuse(self.destination?.port == 443 ? .notTLS : .notHTTP) }
    }

    // MARK: What it is used for

    func setUse(_ use: Use) {
        self.use = use
        switch use {
        case .undecided, .address: break
        case .unnamed(let names): for name in names.prefix(ProxyFlow.maxNames) { retain(name) }
        case .tls(let name), .secret(let name): retain(name)
        case .http(let names): for name in names { retain(name) }
        }
    }

    /// Notes another host that HTTP requests of this connection go to; false when there are too many.
    func addHTTPHost(_ name: String) -> Bool {
        guard case .http(var names) = use else { return false }
        if names.contains(name) { return true }
        guard names.count < ProxyFlow.maxNames else { return false }
        names.insert(name)
        setUse(.http(names))
        return true
    }

    private func retain(_ name: String) {
        guard let destination, retained.insert(name).inserted else { return }
        core.pins.retain(name, destination.address)
    }

    func rulesChanged(from before: EgressRules) {
        guard !isOver, let destination else { return }
        let rules = core.rules
        let gate = core.gate(destination)
        if case .refused(let rule) = gate { return refuse(rule) }
        let port = destination.port
        switch use {
        case .undecided:
            // What it says is held against the new rules, but a server that spoke early must still be one to hear.
            if gate == .named, admittedNames(destination).isEmpty { refuse(.addressNotAllowed) }
        case .address: if gate != .open { refuse(.addressNotAllowed) }
        case .unnamed(let names):
            if gate == .named, !names.contains(where: { rules.refusal(of: $0, port: port) == nil }) {
                refuse(.hostNotAllowed, name: names.first)
            }
        case .tls(let name):
            if gate == .named, let rule = rules.refusal(of: name, port: port) { return refuse(rule, name: name) }
            // From now on a secret is to be put in; the client connects again.
            if rules.hasSecrets(for: name) { end(withReset: true) }
        case .http(let names):
            if gate == .named {
                for name in names {
                    if let rule = rules.refusal(of: name, port: port) { return refuse(rule, name: name) }
                }
            }
        case .secret(let name):
            if gate == .named, let rule = rules.refusal(of: name, port: port) { return refuse(rule, name: name) }
            if !rules.hasSecrets(for: name) || rules.network.authority != before.network.authority {
                end(withReset: true)
            }
        }
    }

    // MARK: Upstream

    func setUpstream(_ channel: any Channel) {
        upstream = channel
        if isOver { channel.close(promise: nil) }
    }

    /// Something moved.
    func touch() { touched = .now() }

    private func armIdleTimer() {
        let next = touched + ProxyFlow.idle
        idleTimer = core.loop.assumeIsolated().scheduleTask(deadline: next) {
            guard !self.isOver else { return }
            if .now() - self.touched >= ProxyFlow.idle { self.end(withReset: true) } else { self.armIdleTimer() }
        }
    }

    // MARK: End

    /// Tells of a refusal.
    func report(_ rule: RefusalRule, name: String?) {
        core.deny(
            .connection, rule, transport: "tcp", name: name, address: destination?.address, port: destination?.port)
    }

    /// Refuses the connection: the client sees a reset.
    func refuse(_ rule: RefusalRule, name: String? = nil) {
        guard !isOver else { return }
        report(rule, name: name)
        end(withReset: true)
    }

    func end(withReset: Bool) {
        guard !isOver else { return }
        isOver = true
        if withReset {
            // Both before either: the end of one ends the other.
            guest.prepareReset()
            upstream?.prepareReset()
            guest.close(promise: nil)
            upstream?.close(promise: nil)
        } else {
            guest.closeAfterWriting()
            upstream?.closeAfterWriting()
        }
    }

    /// The guest's channel is closed: nothing is left to do.
    func guestClosed() {
        isOver = true
        cancelTimer()
        idleTimer?.cancel()
        upstream?.closeAfterWriting()
        if let destination {
            for name in retained { core.pins.release(name, destination.address) }
        }
        retained = []
        opening = nil
        early = nil
    }
}
