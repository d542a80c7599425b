import Testing

@testable import LinuxSystem

@Suite struct UserNumbersTests {
    @Test func `nobody gets what somebody has, and ranges do not overlap`() {
        let numbers = UserNumbers(first: 0x8000_0000, count: 4, step: UserRange.count)
        let all: Set<UInt32> = [0x8000_0000, 0x8001_0000, 0x8002_0000, 0x8003_0000]
        numbers.keep(0x8002_0000)
        let taken = [numbers.take(), numbers.take(), numbers.take()]
        #expect(Set(taken) == all.subtracting([0x8002_0000]))
        numbers.giveBack(taken[1])
        // That of somebody who had none is no harm.
        numbers.giveBack(7)
        #expect(numbers.take() == taken[1])
    }
}
