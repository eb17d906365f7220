import Glibc

/// The signals that a server listens to, by name: nobody else knows libc's numbers.
public enum Signals {
    public static let hangup = SIGHUP
    public static let interrupt = SIGINT
    public static let terminate = SIGTERM
    public static let all = [hangup, interrupt, terminate]

    /// A peer that closed is told by an errno, not by the end of the process.
    public static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }
}
