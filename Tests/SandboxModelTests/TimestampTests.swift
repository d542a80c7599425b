import SandboxModel
import Testing

@Suite("Timestamp")
struct TimestampTests {
    @Test(
        "Writes and reads RFC 3339",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_164_800_123, "2024-02-29T00:00:00.123Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func roundTrip(milliseconds: Int64, text: String) {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test("Every day of 400 years comes back as itself")
    func everyDay() {
        let mismatch = (0..<146_097).first { day in
            let time = Timestamp(milliseconds: Int64(day) * 86_400_000 + 43_200_001)
            return Timestamp(rfc3339: time.description) != time
        }
        #expect(mismatch == nil)
    }

    @Test(
        "Refuses what is no time",
        arguments: [
            "", "2024", "2024-13-01T00:00:00.000Z", "2024-00-01T00:00:00.000Z", "2024-01-01T24:00:00.000Z",
            "2024-01-01T00:60:00.000Z", "2024-01-01 00:00:00.000Z", "2024-01-01T00:00:00.000+",
            "2024-01-01T00:00:00.000z", "२०२४-01-01T00:00:00.000Z",
        ])
    func refuses(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test("Adding seconds saturates instead of overflowing")
    func saturates() {
        #expect(Timestamp(milliseconds: 1000).adding(seconds: 2).milliseconds == 3000)
        #expect(Timestamp(milliseconds: 1000).adding(seconds: .max).milliseconds == .max)
        #expect(Timestamp(milliseconds: .max).adding(seconds: 1).milliseconds == .max)
    }
}
