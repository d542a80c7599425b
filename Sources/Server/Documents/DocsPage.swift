import HTTPTypes

/// One page of HTML that lists the API: no script, nothing loaded from elsewhere.
struct DocsPage {
    let endpoints: [Endpoint]

    var html: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Martlet API</title>
        <style>\(DocsPage.style)</style>
        </head>
        <body>
        <main>
        <h1>Martlet API</h1>
        <p>Send <code>Authorization: Bearer &lt;key&gt;</code> with every request that is not marked open; the unix socket
        in the data directory needs no key. Bodies are JSON, at most 1 MiB; files are streamed at any size. The whole
        contract, with every field, is <a href="/openapi.yaml">openapi.yaml</a>.</p>
        <p>Errors look like <code>{"error":{"code":"not_found","message":"…","details":{},"request_id":"…"}}</code>.
        What a user's program does is a result, never an error.</p>
        \(sections)
        </main>
        </body>
        </html>

        """
    }

    private var sections: String {
        var topics: [String] = []
        for endpoint in endpoints where !topics.contains(endpoint.topic) { topics.append(endpoint.topic) }
        return topics.map { topic in
            let rows = endpoints.filter { $0.topic == topic }.map(row).joined(separator: "\n")
            return "<h2>\(DocsPage.escaped(topic))</h2>\n<table>\n\(rows)\n</table>"
        }.joined(separator: "\n")
    }

    private func row(_ endpoint: Endpoint) -> String {
        let open = endpoint.isOpen ? " <small>open</small>" : ""
        return "<tr><td class=\"method\">\(endpoint.method.rawValue)</td>"
            + "<td><code>\(DocsPage.escaped(endpoint.path))</code></td>"
            + "<td>\(DocsPage.escaped(endpoint.summary))\(open)</td></tr>"
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
    }

    private static let style = """
        :root { color-scheme: light dark; }
        body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
        main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem; }
        table { border-collapse: collapse; width: 100%; }
        td { padding: .35rem .75rem .35rem 0; vertical-align: top; border-bottom: 1px solid #8884; }
        .method { font: 600 .85rem ui-monospace, monospace; white-space: nowrap; }
        code { font: .9rem ui-monospace, monospace; overflow-wrap: anywhere; }
        small { opacity: .7; }
        """
}
