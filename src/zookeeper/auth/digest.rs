//! The `digest` scheme: `user:base64(sha1(user:password))` (`DigestAuthenticationProvider`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The id of whoever knows `user:password`.
pub(super) fn id_of(user_and_password: &[u8]) -> String {
    let text = String::from_utf8_lossy(user_and_password);
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{}", STANDARD.encode(Sha1::digest(text.as_bytes())))
}

/// Whether an ACL may name this id: a user and a hash, as Java's `split(":")` counts (which drops
/// empty parts at the end).
pub(super) fn is_valid(id: &str) -> bool {
    id.trim_end_matches(':').split(':').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_generate_digest_prints() {
        assert_eq!(id_of(b"super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert_eq!(id_of(b"user:pass"), "user:smGaoVKd/cQkjm7b88GyorAUz20=");
    }

    #[test]
    fn an_acl_names_a_user_and_a_hash() {
        for (id, valid) in [
            ("a:b", true),
            (":b", true),
            ("a:b:", true),
            ("a", false),
            ("a:", false),
            ("a:b:c", false),
            ("", false),
        ] {
            assert_eq!(is_valid(id), valid, "{id}");
        }
    }
}
