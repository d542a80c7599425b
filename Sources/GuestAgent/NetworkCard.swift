import CLinux
import Glibc
import LinuxSystem

/// The machine's one network card, as the kernel's command line describes it.
///
/// All guests have the same address: it is part of the memory they were captured with. What their network is besides is
/// the host's business.
struct NetworkCard: Equatable {
    private static let name = "eth0"
    private static let settings = "/proc/sys/net/ipv6/conf"
    private static let resolverFile = "/etc/resolv.conf"
    private static let deviceWaitMilliseconds: Int64 = 5_000

    /// As text, and in network byte order.
    var address: in_addr_t
    var mask: in_addr_t
    var gateway: in_addr_t
    var gatewayText: String
    var mtu: Int32

    /// - Returns: nil when the command line tells of no card, or makes no sense.
    init?(commandLine: some StringProtocol) {
        var values: [String: String] = [:]
        for word in commandLine.split(whereSeparator: \.isWhitespace) where word.hasPrefix("martlet.") {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0].dropFirst(8))] = String(parts[1]) }
        }
        let parts = values["address"]?.split(separator: "/") ?? []
        guard parts.count == 2, let address = NetworkCard.parse(String(parts[0])), let length = Int(parts[1]),
            (1...31).contains(length), let gatewayText = values["gateway"],
            let gateway = NetworkCard.parse(gatewayText)
        else { return nil }
        self.address = address
        mask = (UInt32.max << UInt32(32 - length)).bigEndian
        self.gateway = gateway
        self.gatewayText = gatewayText
        mtu = values["mtu"].flatMap { Int32($0) } ?? 1500
    }

    private static func parse(_ text: String) -> in_addr_t? {
        var address = in_addr()
        return inet_pton(AF_INET, text, &address) == 1 ? address.s_addr : nil
    }

    /// Brings the card up with its address and its way out, and tells programs where names are looked up.
    func bringUp() throws(SystemError) {
        try waitForCard()
        // Before the card is up, which would take an address. Without one nobody tries it first and waits.
        for name in ["default", NetworkCard.name] {
            _ = try? NetworkCard.put("1", "\(NetworkCard.settings)/\(name)/disable_ipv6")
        }
        try SystemError.check(
            clinux_interface_up(NetworkCard.name, address, mask, mtu), "configure", NetworkCard.name)
        try SystemError.check(clinux_default_route(NetworkCard.name, gateway), "add route", NetworkCard.name)
        try placeResolver()
    }

    /// Its driver may find it a moment after it was loaded.
    private func waitForCard() throws(SystemError) {
        let end = Clocks.monotonicNanoseconds + NetworkCard.deviceWaitMilliseconds * 1_000_000
        while access("/sys/class/net/\(NetworkCard.name)", F_OK) != 0 {
            guard Clocks.monotonicNanoseconds < end else {
                throw SystemError("wait", NetworkCard.name, errno: ENODEV)
            }
            _ = clinux_poll_one(-1, 0, 5)
        }
    }

    private static func put(_ text: String, _ path: String) throws(SystemError) {
        try Descriptor.open(path, O_WRONLY).writeAll(Array(text.utf8))
    }

    /// Puts a file in memory over the root image's: it is right in every sandbox, whatever the image says.
    private func placeResolver() throws(SystemError) {
        let source = "\(IdentityFiles.directory)/resolv.conf"
        try Descriptor.open(source, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
            .writeAll(Array("nameserver \(gatewayText)\n".utf8))
        let target = NetworkCard.resolverFile
        if NetworkCard.isFile(target) || NetworkCard.makeTarget(of: target), bind(source, target) == 0 { return }
        // A directory, or a link to nowhere that can be made.
        unlink(target)
        rmdir(target)
        _ = try Descriptor.open(target, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
        try SystemError.check(bind(source, target), "mount", target)
    }

    private func bind(_ source: String, _ target: String) -> Int32 {
        clinux_mount(source, target, nil, UInt(MS_BIND), nil)
    }

    private static func isFile(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
    }

    /// Makes an empty file where there is none, or where a symbolic link leads: often into /run, which is empty yet.
    private static func makeTarget(of path: String) -> Bool {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink(path, &buffer, buffer.count)
        if length > 0 {
            let text = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            var folder = text.hasPrefix("/") ? "" : "/etc"
            for part in text.split(separator: "/").dropLast() {
                folder += "/" + part
                mkdir(folder, 0o755)
            }
        }
        let opened = clinux_open(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0o644)
        if opened >= 0 { close(opened) }
        return isFile(path)
    }
}
