import TOMLKit

/// The TOML file as a flat list of settings; the only file that knows TOML.
enum SettingsFile {
    struct Entry: Equatable {
        /// `section.key`, or `key`.
        var path: String
        /// As text, whatever its TOML type: an integer in decimal. Several of a list.
        var values: [String]

        func value(separator: Character) -> String { values.joined(separator: String(separator)) }
    }

    static func entries(of text: String) throws(SettingsError) -> [Entry] {
        let table: TOMLTable
        do {
            table = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw SettingsError(name: "file", source: "\(error.source)", problem: error.description)
        } catch {
            throw SettingsError(name: "file", source: "TOML", problem: "\(error)")
        }
        var entries: [Entry] = []
        try collect(table, prefix: "", depth: 0, &entries)
        return entries
    }

    private static func collect(
        _ table: TOMLTable, prefix: String, depth: Int, _ entries: inout [Entry]
    ) throws(SettingsError) {
        for key in table.keys {
            let path = prefix + key
            guard let value = table[key] else { continue }
            if let inner = value.table {
                guard depth < 4 else {
                    throw SettingsError(name: path, source: "file", problem: "sections are nested too deeply")
                }
                try collect(inner, prefix: path + ".", depth: depth + 1, &entries)
            } else if let list = value.array {
                var items: [String] = []
                for item in list { items.append(try scalar(item, path)) }
                entries.append(Entry(path: path, values: items))
            } else {
                entries.append(Entry(path: path, values: [try scalar(value, path)]))
            }
        }
    }

    private static func scalar(_ value: any TOMLValueConvertible, _ path: String) throws(SettingsError) -> String {
        if let text = value.string { return text }
        if let number = value.int { return String(number) }
        if let flag = value.bool { return flag ? "on" : "off" }
        throw SettingsError(
            name: path, source: "file", problem: "text, a whole number, true or false, or a list was expected")
    }
}
