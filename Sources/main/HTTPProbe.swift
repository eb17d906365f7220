import Loop

/// A GET over the loop, for the demo that reads its own pgcache's pages.
enum HTTPProbe {
    struct Answer: Equatable {
        var status: Int
        var body: String

        /// Splits what a server sent until it closed; nil if that is no HTTP answer.
        init?(_ text: String) {
            guard text.hasPrefix("HTTP/1."), let status = Int(text.dropFirst(9).prefix(3)),
                let head = text.firstRange(of: "\r\n\r\n")
            else { return nil }
            self.status = status
            body = String(text[head.upperBound...])
        }

        /// The sum of a metric over its labels, in whole numbers; what is no number counts as 0.
        func metric(_ metric: Metric) -> Int {
            samples(of: metric).reduce(0) { sum, sample in
                let (next, overflow) = sum.addingReportingOverflow(sample.value)
                return overflow ? .max : next
            }
        }

        /// By reason, of a metric that has one.
        func reasons(of metric: Metric) -> [String: Int] {
            var found: [String: Int] = [:]
            for sample in samples(of: metric) {
                guard let label = sample.labels.firstRange(of: "reason=\"") else { continue }
                found[String(sample.labels[label.upperBound...].prefix { $0 != "\"" })] = sample.value
            }
            return found
        }

        private func samples(of metric: Metric) -> [(labels: Substring, value: Int)] {
            body.split(separator: "\n").compactMap { line in
                guard line.hasPrefix(metric.name),
                    let mark = line.dropFirst(metric.name.count).first, mark == " " || mark == "{",
                    let text = line.split(separator: " ").last,
                    let value = Int(text) ?? Double(text).flatMap({ Int(exactly: $0.rounded()) })
                else { return nil }
                return (line.dropFirst(metric.name.count), value)
            }
        }
    }

    private static let bytesMax = 4 << 20

    /// Nil when nothing listens, or something else than HTTP.
    static func get(
        _ path: String, port: UInt16, _ links: BlockingLinks
    ) throws(LinkFailure) -> Answer? {
        let reactor = links.reactor
        let tag = BlockingLinks.socketTag
        let socket: SocketID
        do {
            socket = try reactor.connect(to: .tcp(address: "127.0.0.1", port: port), tag: tag)
        } catch { return nil }
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        let request = UnsafeMutableRawBufferPointer.allocate(byteCount: path.utf8.count + 64, alignment: 16)
        let text = "GET \(path) HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
        request.copyBytes(from: text.utf8.prefix(request.count))
        var received: [UInt8] = []
        var isOpen = true
        while isOpen {
            try links.turn()
            for completion in links.others where completion.socket == socket {
                switch completion.kind {
                case .connected where completion.result == 0:
                    guard let base = request.baseAddress else { continue }
                    withUnsafePointer(to: Slice(base: base, count: min(text.utf8.count, request.count))) {
                        reactor.send(socket, UnsafeBufferPointer(start: $0, count: 1))
                    }
                case .sent where completion.result > 0, .received where completion.result > 0:
                    if completion.kind == .received {
                        received.append(contentsOf: room[..<completion.result])
                    }
                    guard let base = room.baseAddress, received.count < bytesMax else { continue }
                    reactor.receive(socket, into: base, capacity: room.count)
                case .closed:
                    // Only now is the loop done with this memory; an interrupted wait leaves it, and the process ends.
                    isOpen = false
                    room.deallocate()
                    request.deallocate()
                default: reactor.close(socket)
                }
            }
        }
        return Answer(String(decoding: received, as: UTF8.self))
    }
}
