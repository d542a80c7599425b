import ArgumentParser

/// A size such as `512`, `512m` or `2g`; a bare number counts MiB.
struct MebibytesArgument: ExpressibleByArgument {
    let count: Int

    init?(argument: String) {
        let text = argument.lowercased()
        let number = text.prefix { $0.isASCII && $0.isNumber }
        let factor: Int
        switch text.dropFirst(number.count) {
        case "", "m", "mb", "mi", "mib": factor = 1
        case "g", "gb", "gi", "gib": factor = 1024
        default: return nil
        }
        guard let value = Int(number) else { return nil }
        let (product, overflow) = value.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        count = product
    }
}

/// A time such as `90`, `90s`, `1.5m`, `2h` or `1d`; a bare number counts seconds.
struct SecondsArgument: ExpressibleByArgument {
    let seconds: Double

    init?(argument: String) {
        let factors: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        var text = Substring(argument)
        var factor = 1.0
        if let last = text.last, let known = factors[last] {
            factor = known
            text = text.dropLast()
        }
        guard text.utf8.allSatisfy({ (48...57).contains($0) || $0 == 46 }), let value = Double(text),
            value * factor <= 1e9
        else { return nil }
        seconds = value * factor
    }
}

/// `NAME=value`; a bare name takes its value from our environment.
struct VariableArgument: ExpressibleByArgument {
    let name: String
    let value: String?

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "=") else {
            guard !argument.isEmpty else { return nil }
            name = argument
            value = nil
            return
        }
        name = String(argument[..<equals])
        value = String(argument[argument.index(after: equals)...])
        if name.isEmpty { return nil }
    }
}

extension [VariableArgument] {
    /// The variables by name, later ones over earlier ones; names without a value anywhere are left out, as docker does.
    func resolved(from environment: [String: String] = Session.environment) -> [String: String]? {
        var variables: [String: String] = [:]
        for variable in self { variables[variable.name] = variable.value ?? environment[variable.name] }
        return variables.isEmpty ? nil : variables
    }
}
