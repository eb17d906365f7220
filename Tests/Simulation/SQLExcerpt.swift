/// Takes names and numbers out of pgcache's own statements, whose form is known: no SQL is parsed here.
enum SQLExcerpt {
    /// The text between the two quotation marks that follow `marker`, double or single ones. Names hold neither.
    static func quoted(after marker: String, in sql: String) -> String? {
        guard let place = sql.firstRange(of: marker) else { return nil }
        var rest = sql[place.upperBound...]
        guard let start = rest.firstIndex(where: { $0 == "\"" || $0 == "'" }) else { return nil }
        let mark = rest[start]
        rest = rest[rest.index(after: start)...]
        guard let end = rest.firstIndex(of: mark) else { return nil }
        return String(rest[..<end])
    }

    /// What follows `marker`, up to a blank, a bracket or the end.
    static func word(after marker: String, in sql: String) -> String? {
        guard let place = sql.firstRange(of: marker) else { return nil }
        return String(sql[place.upperBound...].prefix { !" ()[]'\"".contains($0) })
    }

    /// The elements of an array literal whose elements are all quoted, as pgcache writes its parameters.
    static func elements(ofArray text: String) -> [String] {
        var elements: [String] = []
        var element = ""
        var isInside = false
        var isEscaped = false
        for character in text {
            if isEscaped {
                element.append(character)
                isEscaped = false
            } else if isInside, character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                if isInside { elements.append(element) }
                element = ""
                isInside.toggle()
            } else if isInside {
                element.append(character)
            }
        }
        return elements
    }
}
