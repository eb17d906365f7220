/// Names and strings as they stand in SQL, for the statements that CDC writes itself.
///
/// Its connections set `standard_conforming_strings = on`, so a backslash means itself.
enum SQLText {
    /// `na"me` as `"na""me"`.
    static func identifier(_ name: String) -> String { quoted(name, "\"") }

    /// `it's` as `'it''s'`.
    static func literal(_ text: String) -> String { quoted(text, "'") }

    private static func quoted(_ text: String, _ quote: Character) -> String {
        var result = String(quote)
        for character in text.unicodeScalars {
            result.unicodeScalars.append(character)
            if Character(character) == quote { result.append(quote) }
        }
        result.append(quote)
        return result
    }
}
