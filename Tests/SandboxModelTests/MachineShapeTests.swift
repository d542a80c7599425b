import SandboxModel
import Testing

@Suite("MachineShape")
struct MachineShapeTests {
    @Test("Sizes within bounds are taken", arguments: [(1, 128), (2, 256), (16, 65_536)])
    func accepts(cpus: Int, memory: Int) throws {
        let shape = try MachineShape(cpus: cpus, memoryMiB: memory)
        #expect(shape.cpus == cpus)
        #expect(shape.memoryMiB == memory)
    }

    @Test(
        "Absurd sizes are refused, naming the field",
        arguments: [
            (0, 256, "cpus"), (-1, 256, "cpus"), (17, 256, "cpus"), (1, 0, "memory_mb"), (1, -256, "memory_mb"),
            (1, 127, "memory_mb"), (1, 129, "memory_mb"), (1, 65_538, "memory_mb"), (1, .max, "memory_mb"),
        ])
    func refuses(cpus: Int, memory: Int, field: String) {
        let error = #expect(throws: MartletError.self) { try MachineShape(cpus: cpus, memoryMiB: memory) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.details["field"] == field)
    }
}
