import SandboxModel

extension SandboxEngine {
    /// Makes sure of a capability.
    ///
    /// - Parameters:
    ///   - action: what is refused otherwise, such as `fork`.
    ///   - object: what it is refused for.
    /// - Throws: `unsupported`, naming the engine and what to choose instead.
    package func require(_ capability: EngineCapability, _ action: String, _ object: String) throws(MartletError) {
        guard !capabilities.contains(capability) else { return }
        throw .unsupported(capability, action, object, engine: name)
    }
}
