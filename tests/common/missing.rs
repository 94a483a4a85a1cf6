//! What a server says of its log when it stops.

/// How many requests or connections are missing from the log, according to these lines of standard
/// error.
#[track_caller]
pub fn missing(stderr: &[String]) -> usize {
    let count = |line: &String| {
        let count = line.strip_prefix("upcase-server: ")?;
        let count = count.strip_suffix(" are missing from the log")?;
        let count = count
            .strip_suffix(" requests")
            .or(count.strip_suffix(" connections"))?;
        count.parse::<usize>().ok()
    };
    let counts = stderr.iter().map(|line| count(line).expect(line));
    counts.sum()
}
