import CLinux
import Glibc
import LinuxSystem

/// A control group that holds one started process and everything it starts.
final class ProcessCage {
    let directory: Descriptor
    private let events: Descriptor
    /// The process it was last given to; a group that is used again is none of the earlier one's business.
    weak var holder: GuestProcess?

    fileprivate init(directory: Descriptor, events: Descriptor) {
        self.directory = directory
        self.events = events
    }

    /// Kills everything inside, whatever session or process group it moved to.
    func killAll() {
        let file = clinux_openat(directory.number, "cgroup.kill", O_WRONLY, 0)
        guard file >= 0 else { return }
        try? Descriptor(owning: file).writeAll([UInt8(ascii: "1")])
    }

    /// Whether any process is left inside.
    var isPopulated: Bool {
        var text = [UInt8](repeating: 0, count: 64)
        let count = clinux_pread(events.number, &text, text.count, 0)
        guard count > 0 else { return false }
        return String(decoding: text[0..<count], as: UTF8.self).hasPrefix("populated 1")
    }
}

/// The control groups of started processes, one each, reused once they are empty.
///
/// One each, since it costs little and nothing else catches a program that leaves its session: under emulation, where
/// starting /bin/true takes 1.5 ms, making a group takes 0.12 ms, being born in it (`clone3`) 0.1 ms and moving into
/// it afterwards 0.2 ms or more. So children are born in their group, a few are made ahead, and all are used again.
/// They have no controllers of their own: the limits are on their parent, for the sandbox as a whole.
final class ProcessCages {
    private static let madeAhead = 4

    private let path: String
    private var free: [ProcessCage] = []
    /// Those whose process has ended but which background processes still live in.
    private var lingering: [ProcessCage] = []
    private var made = 0

    /// - Returns: nil when no group can be made at `path`.
    init?(path: String) {
        self.path = path
        for _ in 0..<ProcessCages.madeAhead {
            guard let cage = make() else { break }
            free.append(cage)
        }
        if free.isEmpty { return nil }
    }

    /// A group with nothing in it, or nil when the kernel gives no more.
    func take() -> ProcessCage? {
        if free.isEmpty { collectEmptied() }
        let cage = free.popLast() ?? make()
        cage?.holder = nil
        return cage
    }

    /// Takes a group back whose process has ended.
    func giveBack(_ cage: ProcessCage) {
        if cage.isPopulated { lingering.append(cage) } else { free.append(cage) }
    }

    private func collectEmptied() {
        free.append(contentsOf: lingering.filter { !$0.isPopulated })
        if !free.isEmpty { lingering.removeAll { cage in free.contains { $0 === cage } } }
    }

    private func make() -> ProcessCage? {
        made += 1
        let whole = path + "/p\(made)"
        guard mkdir(whole, 0o755) == 0 || errno == EEXIST,
            let directory = try? Descriptor.open(whole, O_RDONLY | O_DIRECTORY)
        else { return nil }
        let events = clinux_openat(directory.number, "cgroup.events", O_RDONLY, 0)
        guard events >= 0 else { return nil }
        return ProcessCage(directory: directory, events: Descriptor(owning: events))
    }
}
