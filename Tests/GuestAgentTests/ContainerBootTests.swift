import Testing

@testable import GuestAgent

struct ContainerBootTests {
    @Test func optionsAreTakenAsAWholeOrNotAtAll() {
        let whole = ContainerBoot.Options([
            "--listen", "7", "--memory", "1048576", "--cpus", "2", "--name-server", "192.0.0.1",
        ])
        #expect(whole?.listener == 7)
        #expect(whole?.memoryBytes == 1_048_576)
        #expect(whole?.cpus == 2)
        #expect(whole?.nameServer == "192.0.0.1")
        let piped = ContainerBoot.Options(["--input", "0", "--output", "1", "--memory", "1048576", "--cpus", "2"])
        #expect(piped?.input == 0)
        #expect(piped?.output == 1)
        for bad in [
            [], ["--listen"], ["--listen", "7"], ["--listen", "7", "--memory", "0", "--cpus", "1"],
            ["--listen", "x", "--memory", "1", "--cpus", "1"],
            ["--listen", "7", "--input", "0", "--output", "1", "--memory", "1", "--cpus", "1"],
            ["--input", "0", "--memory", "1", "--cpus", "1"],
            ["--input", "0", "--output", "1", "--memory", "1", "--cpus", "1", "--else", "1"],
        ] {
            #expect(ContainerBoot.Options(bad) == nil)
        }
    }
}
