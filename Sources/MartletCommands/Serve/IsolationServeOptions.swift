import ArgumentParser

/// The options of `serve` about how sandboxes are walled off.
struct IsolationServeOptions: ParsableArguments {
    @Option(
        name: .long,
        help:
            "What isolates sandboxes that do not ask and whose template does not: microvm (default), firecracker or gvisor."
    )
    var defaultIsolation: String?

    @Option(
        name: .long,
        help: "Refuse sandboxes with a weaker wall: hardware-vm, user-kernel, emulated-vm or process, strongest first.")
    var minimumIsolation: String?
}
