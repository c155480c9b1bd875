//! Digests of secrets, for finding and telling them apart without keeping them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frankd_proto::Secret;
use ring::digest::{SHA256, digest};

/// First 8 octets of SHA-256 of a refresh token, hexadecimal: tells which one a request carried.
pub fn fingerprint(secret: &Secret) -> String {
    let digest = digest(&SHA256, secret.expose().as_bytes());
    let first: [u8; 8] = std::array::from_fn(|at| digest.as_ref().get(at).copied().unwrap_or_default());
    format!("{:016x}", u64::from_be_bytes(first))
}

/// SHA-256 of a `state` parameter, base64url.
pub fn state_digest(state: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, state.expose().as_bytes()))
}

/// Whether a `state` parameter is the one of a digest. Takes the same time wherever the two differ.
pub fn is_state(state: &Secret, digest: &str) -> bool {
    Secret::new(state_digest(state)) == Secret::new(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_by_its_digest_alone() {
        let state = Secret::new("abc");
        // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
        assert_eq!(state_digest(&state), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        assert_eq!(fingerprint(&state), "ba7816bf8f01cfea");
        assert!(is_state(&state, &state_digest(&state)));
        assert!(!is_state(&Secret::new("abd"), &state_digest(&state)));
        assert!(!is_state(&state, ""));
    }
}
