import Crypto
import FoundationEssentials
import SandboxModel

/// What a template is built out of and how, as it was asked for.
package struct BuildPlan: Sendable {
    static let maxSteps = 256

    /// A template of the host, or one of the caller's own.
    package var parent: TemplateReference
    package var steps: [BuildStep]
    /// A line of a shell that is started once in every sandbox of the template, before its capture.
    package var startCommand: String?
    /// A line of a shell that succeeds when the template is ready to be captured.
    package var readyCommand: String?
    /// Whether all steps are run even where the very same were run before.
    package var isForced: Bool
    /// What the steps may reach.
    package var network: NetworkPolicy

    package init(
        parent: TemplateReference, steps: [BuildStep], startCommand: String? = nil, readyCommand: String? = nil,
        isForced: Bool = false, network: NetworkPolicy = .closed
    ) {
        self.parent = parent
        self.steps = steps
        self.startCommand = startCommand
        self.readyCommand = readyCommand
        self.isForced = isForced
        self.network = network
    }

    /// - Throws: `invalid_argument` naming what is wrong.
    func check() throws(MartletError) {
        guard steps.count <= BuildPlan.maxSteps else { throw .invalid("steps", "has more than \(BuildPlan.maxSteps)") }
        for (index, step) in steps.enumerated() { try step.check(index) }
        for (field, text) in [("startCmd", startCommand), ("readyCmd", readyCommand)] {
            guard let text else { continue }
            guard text.utf8.count <= 4096, !text.utf8.contains(0) else {
                throw .invalid(field, "is larger than 4096 bytes, or holds a NUL byte")
            }
        }
        try network.check()
    }

    /// The content address of all that decides what comes of it.
    ///
    /// - Parameters:
    ///   - parentDigest: what the parent is now.
    ///   - size: processors, memory and disk as they were asked for.
    func recipe(owner: String?, parentDigest: String, size: [Int?]) -> String {
        var hash = SHA256()
        func add(_ texts: [String]) {
            for text in ["\(texts.count)"] + texts {
                hash.update(data: Data("\(text.utf8.count):".utf8))
                hash.update(data: Data(text.utf8))
            }
        }
        add(["template-build-1", owner ?? "", parentDigest, startCommand ?? "", readyCommand ?? "", "\(network)"])
        add(size.map { $0.map { "\($0)" } ?? "-" })
        for step in steps { add(step.texts) }
        let digits = Array("0123456789abcdef")
        return String(hash.finalize().flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}
