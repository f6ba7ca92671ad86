//! The `digest` scheme: `user:base64(sha1(user:password))` (`DigestAuthenticationProvider`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest;

use crate::config::DigestAlgorithm;

/// The id of whoever knows `user:password`.
pub(super) fn id_of(user_and_password: &[u8], algorithm: DigestAlgorithm) -> String {
    let text = String::from_utf8_lossy(user_and_password);
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{}", hash(text.as_bytes(), algorithm))
}

/// The hash in base 64.
fn hash(bytes: &[u8], algorithm: DigestAlgorithm) -> String {
    fn of<D: Digest>(bytes: &[u8]) -> String {
        STANDARD.encode(D::digest(bytes))
    }
    match algorithm {
        DigestAlgorithm::Md5 => of::<md5::Md5>(bytes),
        DigestAlgorithm::Sha1 => of::<sha1::Sha1>(bytes),
        DigestAlgorithm::Sha224 => of::<sha2::Sha224>(bytes),
        DigestAlgorithm::Sha256 => of::<sha2::Sha256>(bytes),
        DigestAlgorithm::Sha384 => of::<sha2::Sha384>(bytes),
        DigestAlgorithm::Sha512 => of::<sha2::Sha512>(bytes),
        DigestAlgorithm::Sha512Over224 => of::<sha2::Sha512_224>(bytes),
        DigestAlgorithm::Sha512Over256 => of::<sha2::Sha512_256>(bytes),
        DigestAlgorithm::Sha3Over224 => of::<sha3::Sha3_224>(bytes),
        DigestAlgorithm::Sha3Over256 => of::<sha3::Sha3_256>(bytes),
        DigestAlgorithm::Sha3Over384 => of::<sha3::Sha3_384>(bytes),
        DigestAlgorithm::Sha3Over512 => of::<sha3::Sha3_512>(bytes),
    }
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
        let sha1 = DigestAlgorithm::Sha1;
        assert_eq!(id_of(b"super:test", sha1), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert_eq!(id_of(b"user:pass", sha1), "user:smGaoVKd/cQkjm7b88GyorAUz20=");
    }

    #[test]
    fn each_algorithm_is_the_one_of_its_name() {
        for (algorithm, expected) in [
            (DigestAlgorithm::Md5, "uH8Lter0nk6m/+ouUxhClQ=="),
            (DigestAlgorithm::Sha224, "XZZgfNcho6ZMJK6WSxRHA1GoYjwlLEyOQ0ZnPQ=="),
            (DigestAlgorithm::Sha256, "NZS46jfOYGT+zto6YyNSTvBW3wwLRg1mAsWvHo0QTFg="),
            (DigestAlgorithm::Sha512Over224, "jucmLD9EM3j2KumCw5TlvAcJNNx0f1Ptq9TXFQ=="),
            (DigestAlgorithm::Sha512Over256, "WlYJH+N35ksJhe4J35fh01wuONmDzuA9LcBFoud5bM4="),
            (DigestAlgorithm::Sha3Over224, "vw/M6vesYJFoKHcpHCbSL3lGLjz8GT+waXAy3w=="),
            (DigestAlgorithm::Sha3Over256, "04UGH1pKKP2I6497NZTU2pRx/lfCyP7qU9iYUrhq3JE="),
            (
                DigestAlgorithm::Sha384,
                "7OKdAIgdlWqA86o1Z9oJKmyizKeFtz2fcBHTophedHerkz4vq14QR60HOByvW4ig",
            ),
            (
                DigestAlgorithm::Sha512,
                "Zg0P4q9GbjCXsI6lReeYGHJEBUQzsTQ/yiOwU6eat6CK/jkowE8SH7U0k+7AeIkbOF+LIaMEeH0qlNumxSm1\
                 Ig==",
            ),
            (
                DigestAlgorithm::Sha3Over384,
                "3+QyHV4W70ay8vKUY99FsAV85ahgXtQlRn3OiRor0tSl+T2A3j9ptMM1dR1lcMfe",
            ),
            (
                DigestAlgorithm::Sha3Over512,
                "ZwqowV6an1U3iXO3IVCPMa0fdADC3QfTbmVpcdXKfb5igE6W9TYcLZaSo2wu/E6n5ztqL3FkhQt4271ThqIR\
                 TA==",
            ),
        ] {
            assert_eq!(hash(b"joe:secret", algorithm), expected, "{algorithm:?}");
        }
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
