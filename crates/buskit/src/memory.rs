//! How much memory this process may use.

use std::fs;

/// Where no limit is found: then `limits.memory` is 256 MiB, half of this.
const FALLBACK: usize = 512 * 1024 * 1024;

/// The container's limit in bytes (cgroup v2, then v1), else 512 MiB.
#[must_use]
pub fn limit() -> usize {
    [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|path| parse(&fs::read_to_string(path).ok()?))
    .unwrap_or(FALLBACK)
}

/// A limit over a tebibyte is the kernel's way to say that there is none.
fn parse(text: &str) -> Option<usize> {
    let bytes: usize = text.trim().parse().ok()?;
    (bytes < 1 << 40).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn no_limit_is_told_from_one() {
        assert_eq!(parse("134217728\n"), Some(134_217_728));
        assert_eq!(parse("max\n"), None);
        assert_eq!(parse("9223372036854771712\n"), None);
    }
}
