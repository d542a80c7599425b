import Glibc
import LinuxSystem
import MartletAPI

/// The machine that was measured.
package struct BenchMachine: Sendable, Codable {
    package var cpus: Int
    package var model: String
    package var memoryBytes: UInt64
    package var kernel: String
    package var engine: String
    package var engineVersion: String
    package var accelerator: String
    /// Processes that wanted a processor when the run began, averaged over a minute: high means noisy figures.
    package var loadAverage: Double

    package init(
        cpus: Int, model: String, memoryBytes: UInt64, kernel: String, engine: String, engineVersion: String,
        accelerator: String, loadAverage: Double
    ) {
        self.cpus = cpus
        self.model = model
        self.memoryBytes = memoryBytes
        self.kernel = kernel
        self.engine = engine
        self.engineVersion = engineVersion
        self.accelerator = accelerator
        self.loadAverage = loadAverage
    }

    private enum CodingKeys: String, CodingKey {
        case cpus, model, kernel, engine, accelerator
        case memoryBytes = "memory_bytes"
        case engineVersion = "engine_version"
        case loadAverage = "load_average"
    }

    /// The server's machine; the processor's model and the load are this machine's, which is the same one unless the
    /// server was named by its address.
    ///
    /// - Parameter name: the engine that is measured; the first that can be used, if it is none's.
    init(_ host: HostResource, engine name: String? = nil) {
        let usable = host.engines.filter(\.available)
        let engine = usable.first { $0.name == name } ?? usable.first
        self.init(
            cpus: host.cpus, model: BenchMachine.processorModel, memoryBytes: host.memoryBytes, kernel: host.kernel,
            engine: engine?.name ?? "none", engineVersion: engine?.version ?? "",
            accelerator: engine?.accelerator ?? "none", loadAverage: BenchMachine.currentLoad)
    }

    private static var processorModel: String {
        let text = String(decoding: (try? AtomicFile.read("/proc/cpuinfo")) ?? [], as: UTF8.self)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("model name") }),
            let colon = line.firstIndex(of: ":")
        else { return "unknown" }
        return String(line[line.index(after: colon)...].drop { $0 == " " })
    }

    private static var currentLoad: Double {
        var averages = [Double](repeating: 0, count: 1)
        return getloadavg(&averages, 1) == 1 ? Statistics.rounded(averages[0]) : 0
    }
}
