import Foundation
import GuestClient
import GuestProtocol
import Node
import SandboxModel
import Testing

@Suite(.serialized) struct Scratch {
    @Test func modes() async throws {
        try await NodeFixture.with(pool: PoolConfiguration(shells: 1, warm: 2, hotTemplates: ["base"])) { f in
            for round in 0..<12 {
                while true {
                    let p = await f.node.report().pools.first
                    if let p, p.warm == 2, p.shells == 1 { break }
                    try await Task.sleep(for: .milliseconds(50))
                }
                try await Task.sleep(for: .milliseconds(100))
                let s = try await f.create()
                let ph = s.report.phases.map { "\($0.key)=\(String(format: "%.1f", $0.value))" }.sorted()
                let mem = try await f.node.memory(of: s.id)
                let g = try await f.node.guest(of: s.id)
                var line = ""
                for c in [["true"], ["true"], ["true"], ["python3", "-c", "pass"], ["python3", "-c", "pass"]] {
                    let t0 = Date()
                    let o = try await g.exec(StartProcess(arguments: c), outputLimit: 1000)
                    let ms = Date().timeIntervalSince(t0) * 1000
                    line += String(format: " %@ %.1f (guest %.1f)", c[0], ms, Double(o.exit.wallMicroseconds) / 1000)
                }
                let mem2 = try await f.node.memory(of: s.id)
                print("R\(round)", s.report.mode, String(format: "%.1f", s.report.totalMilliseconds), ph, "MiB", mem.private >> 20, mem2.private >> 20, line)
                if round % 2 == 0 {
                    // immediately: takes the other warm, then shell, then cold
                    let b = try await f.create(), c = try await f.create(), d = try await f.create()
                    for x in [b, c, d] {
                        print("   ", x.report.mode, String(format: "%.1f", x.report.totalMilliseconds), x.report.phases.map { "\($0.key)=\(String(format: "%.1f", $0.value))" }.sorted())
                        try await f.node.destroy(x.id)
                    }
                }
                try await f.node.destroy(s.id)
            }
        }
    }
}
