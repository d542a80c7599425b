import Glibc
import SandboxModel

/// Sizes and times as people read them.
enum Format {
    /// `512 B`, `1.5 MiB`, `20 GiB`.
    static func bytes(_ count: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1023.95, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(count) B" : "\(decimal(value, value < 10 ? 2 : 1)) \(units[unit])"
    }

    /// `4s`, `12m`, `3h`, `5d`.
    static func age(milliseconds: Int64) -> String {
        let seconds = max(0, milliseconds / 1000)
        if seconds < 120 { return "\(seconds)s" }
        if seconds < 7200 { return "\(seconds / 60)m" }
        if seconds < 172_800 { return "\(seconds / 3600)h" }
        return "\(seconds / 86_400)d"
    }

    /// `0:04`, `12:30`, `1:02:03`: time on a clock that counts up.
    static func clock(milliseconds: Double) -> String {
        let seconds = max(0, Int64(milliseconds / 1000))
        let rest = String(seconds % 60)
        let tail = (rest.count < 2 ? "0" : "") + rest
        guard seconds >= 3600 else { return "\(seconds / 60):\(tail)" }
        let minutes = String(seconds / 60 % 60)
        return "\(seconds / 3600):\((minutes.count < 2 ? "0" : "") + minutes):\(tail)"
    }

    /// `12.3 ms`, `4.21 s`.
    static func milliseconds(_ value: Double) -> String {
        value < 1000 ? "\(decimal(value, 1)) ms" : "\(decimal(value / 1000, 2)) s"
    }

    /// A number with a fixed count of digits after the point.
    static func decimal(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        let scale = pow(10.0, Double(digits))
        let scaled = Int64((abs(value) * scale).rounded())
        let whole = scaled / Int64(scale)
        let fraction = String(scaled % Int64(scale))
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(whole)" }
        return "\(sign)\(whole).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }
}
