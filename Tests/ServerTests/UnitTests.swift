import CoreMetrics
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Parts of the server")
struct UnitTests {
    @Test("Queries are decoded as forms are")
    func query() throws {
        let query = try Query("path=%2Fa+b%2Bc&recursive=&n=5", names: ["path", "recursive", "n"])
        #expect(query["path"] == "/a b+c")
        #expect(try query.flag("recursive"))
        #expect(try query.number("n", 1) == 5)
        #expect(try query.number("m", 7) == 7)
        #expect(query["absent"] == nil)
    }

    @Test(
        "Queries that are none are refused",
        arguments: ["a=%", "a=%2", "a=%zz", "a=%FF", "a=%+1", "b=1", "a=1&a=2", "%FF=1"])
    func badQuery(text: String) {
        #expect(throws: MartletError.self) { try Query(text, names: ["a"]) }
    }

    @Test(
        "Ranges of the honoured form",
        arguments: [
            ("bytes=0-", 0, nil), ("bytes=5-9", 5, 5), ("bytes=7-7", 7, 1),
        ] as [(String, UInt64, UInt64?)])
    func ranges(header: String, first: UInt64, length: UInt64?) {
        #expect(ByteRange(header)?.first == first)
        #expect(ByteRange(header)?.length == length)
    }

    @Test(
        "Other ranges count as absent",
        arguments: [
            "bytes=-5", "bytes=5-4", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=", "bytes=-",
            "bytes=0-18446744073709551615",
        ])
    func otherRanges(header: String) {
        #expect(ByteRange(header) == nil)
    }

    @Test("Histograms count cumulatively, in seconds; labels are escaped; kinds do not mix")
    func exposition() {
        let metrics = PrometheusMetrics()
        let timer = metrics.makeTimer(label: "wait.time", dimensions: [("who", "a\"b\\c\nd")])
        timer.recordNanoseconds(3_000_000)
        timer.recordNanoseconds(200_000_000_000)
        metrics.makeCounter(label: "done_total", dimensions: []).increment(by: 2)
        metrics.makeCounter(label: "done_total", dimensions: []).increment(by: 3)
        metrics.makeMeter(label: "level", dimensions: []).set(1.5)
        metrics.makeMeter(label: "done_total", dimensions: [("x", "y")]).set(1.0)
        let text = metrics.exposition()
        let labels = #"who="a\"b\\c\nd""#
        #expect(text.contains("# TYPE wait_time histogram\n"))
        #expect(text.contains("wait_time_bucket{\(labels),le=\"0.0025\"} 0\n"))
        #expect(text.contains("wait_time_bucket{\(labels),le=\"0.005\"} 1\n"))
        #expect(text.contains("wait_time_bucket{\(labels),le=\"60\"} 1\n"))
        #expect(text.contains("wait_time_bucket{\(labels),le=\"+Inf\"} 2\n"))
        #expect(text.contains("wait_time_sum{\(labels)} 200.003\n"))
        #expect(text.contains("wait_time_count{\(labels)} 2\n"))
        #expect(text.contains("done_total 5\n"))
        #expect(text.contains("level 1.5\n"))
        #expect(!text.contains("done_total{"))
    }

    @Test("The number of series is bounded")
    func boundedSeries() {
        let metrics = PrometheusMetrics()
        for number in 0..<(PrometheusMetrics.maxSeries + 100) {
            metrics.makeCounter(label: "c_total", dimensions: [("n", "\(number)")]).increment(by: 1)
        }
        let lines = metrics.exposition().split(separator: "\n").count
        #expect(lines == PrometheusMetrics.maxSeries + 1)
    }
}
