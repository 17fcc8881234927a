//! A fingerprint that is the same in every process and every version: it is kept on disk.

/// Returns 64 bits that two different lists of texts have in common once in 2^64: FNV-1a, with each
/// text's end marked, and its bits mixed once more by the finalizer of SplitMix64.
///
/// Whoever could choose the texts could find two that collide; they come from the tenant.
pub(super) fn fingerprint_of<const N: usize>(texts: [&[u8]; N]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for text in texts {
        // No byte of a text in UTF-8 is 0xff.
        for &byte in text.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_for_ever_and_tells_apart_what_only_looks_alike() {
        assert_eq!(FIRST, fingerprint_of([b"voice".as_slice(), b"c1"]));
        assert_ne!(FIRST, fingerprint_of([b"voicec".as_slice(), b"1"]));
        assert_ne!(FIRST, fingerprint_of([b"voice".as_slice(), b"c2"]));
    }

    /// As the first version made it: rows on disks hold it.
    const FIRST: u64 = 7_270_788_158_650_459_572;
}
