//! Names made of other names, where there is a longest length.

/// `full`, or where it is longer than `longest` its beginning and a hash of all of it.
#[must_use]
pub fn fitted(full: &str, longest: usize) -> String {
    if full.len() <= longest {
        return full.to_owned();
    }
    let hash = format!("{:016x}", fnv1a(full.as_bytes()));
    let kept = full
        .get(..longest.saturating_sub(hash.len() + 1))
        .unwrap_or_default();
    format!("{}-{hash}", kept.trim_end_matches(['-', '.']))
}

/// A checksum that is the same on every build and machine, unlike the standard library's.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::fitted;

    #[test]
    fn long_names_fit_and_stay_apart() {
        assert_eq!(fitted("short", 63), "short");
        let one = fitted(&"a".repeat(300), 63);
        let other = fitted(&format!("{}b", "a".repeat(299)), 63);
        assert_eq!((one.len(), other.len()), (63, 63));
        assert_ne!(one, other);
    }
}
