//! The client's half of SCRAM (RFC 5802, RFC 7677), by which the gateway itself logs in: pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::digest::core_api::BlockSizeUser;
use sha2::digest::{Digest, Output};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::config::gateway_upstream::LoginMechanism;
use crate::limits;

/// What a server of SCRAM did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    #[error("the broker's message of SCRAM can't be read")]
    Malformed,
    #[error("the broker answers another nonce than was sent")]
    Nonce,
    #[error("the broker asks for {0} rounds")]
    Rounds(u32),
    #[error("the broker does not know the password: it is not the one it says")]
    Impostor,
}

/// How a password is made into a key: what it costs to find out is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Salt {
    pub salt: Vec<u8>,
    pub rounds: u32,
}

/// One login, from its first message on.
pub(super) struct Client {
    mechanism: LoginMechanism,
    nonce: String,
    /// The first message without what stands before the name.
    first: String,
    /// The server's signature that the last message must show.
    expected: Option<Vec<u8>>,
}

impl Client {
    /// A login with a nonce that was never used: printable, without commas.
    pub(super) fn new(mechanism: LoginMechanism, username: &str, nonce: String) -> Client {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        Client { mechanism, first: format!("n={name},r={nonce}"), nonce, expected: None }
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// What the server's first message asks for.
    pub(super) fn salt(&self, server_first: &[u8]) -> Result<Salt, Failed> {
        let (nonce, salt, rounds) = parse(server_first).ok_or(Failed::Malformed)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Failed::Nonce);
        }
        if !(1..=limits::SCRAM_ROUNDS_MAX).contains(&rounds) {
            return Err(Failed::Rounds(rounds));
        }
        Ok(Salt { salt, rounds })
    }

    /// The last message, to a server's first one, with the key that [`key`] makes of the password.
    pub(super) fn last(&mut self, server_first: &[u8], key: &[u8]) -> Result<String, Failed> {
        let (nonce, ..) = parse(server_first).ok_or(Failed::Malformed)?;
        let server_first = std::str::from_utf8(server_first).map_err(|_| Failed::Malformed)?;
        let unproved = format!("c=biws,r={nonce}");
        let all = format!("{},{server_first},{unproved}", self.first);
        let (proof, expected) = match self.mechanism {
            LoginMechanism::ScramSha512 => proofs::<Sha512>(key, all.as_bytes()),
            _ => proofs::<Sha256>(key, all.as_bytes()),
        };
        self.expected = Some(expected);
        Ok(format!("{unproved},p={}", STANDARD.encode(proof)))
    }

    /// Whether the server's last message shows that it knows the password too.
    pub(super) fn check(&self, server_last: &[u8]) -> Result<(), Failed> {
        let text = std::str::from_utf8(server_last).map_err(|_| Failed::Malformed)?;
        let signature = text.strip_prefix("v=").ok_or(Failed::Malformed)?;
        let signature = signature.split(',').next().unwrap_or_default();
        let signature = STANDARD.decode(signature).map_err(|_| Failed::Malformed)?;
        let expected = self.expected.as_ref().ok_or(Failed::Malformed)?;
        if bool::from(signature.ct_eq(expected)) { Ok(()) } else { Err(Failed::Impostor) }
    }
}

/// The key that a password comes to: `rounds` of a hash, so keep it from threads that must not wait.
pub(super) fn key(mechanism: LoginMechanism, password: &str, salt: &Salt) -> Vec<u8> {
    match mechanism {
        LoginMechanism::ScramSha512 => salted::<Sha512>(password, salt),
        _ => salted::<Sha256>(password, salt),
    }
}

/// Nonce, salt and rounds of a server's first message.
fn parse(message: &[u8]) -> Option<(&str, Vec<u8>, u32)> {
    let mut parts = std::str::from_utf8(message).ok()?.split(',');
    let nonce = parts.next()?.strip_prefix("r=")?;
    let salt = STANDARD.decode(parts.next()?.strip_prefix("s=")?).ok()?;
    let rounds = parts.next()?.strip_prefix("i=")?.parse().ok()?;
    (!salt.is_empty()).then_some((nonce, salt, rounds))
}

/// The client's proof, and the signature by which the server proves itself.
fn proofs<D: Digest + BlockSizeUser>(key: &[u8], all: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let client = hmac::<D>(key, &[b"Client Key"]);
    let signature = hmac::<D>(&D::digest(&client), &[all]);
    let proof = client.iter().zip(&signature).map(|(key, mask)| key ^ mask).collect();
    let server = hmac::<D>(key, &[b"Server Key"]);
    (proof, hmac::<D>(&server, &[all]).to_vec())
}

/// `Hi` of RFC 5802: PBKDF2 for one block.
fn salted<D: Digest + BlockSizeUser>(password: &str, salt: &Salt) -> Vec<u8> {
    let mut round = hmac::<D>(password.as_bytes(), &[&salt.salt, &1_u32.to_be_bytes()]);
    let mut key = round.clone();
    for _ in 1..salt.rounds {
        round = hmac::<D>(password.as_bytes(), &[&round]);
        key.iter_mut().zip(&round).for_each(|(key, byte)| *key ^= byte);
    }
    key.to_vec()
}

/// HMAC (RFC 2104).
fn hmac<D: Digest + BlockSizeUser>(key: &[u8], parts: &[&[u8]]) -> Output<D> {
    let mut block = vec![0; D::block_size()];
    if key.len() > block.len() {
        let hashed = D::digest(key);
        block[..hashed.len()].copy_from_slice(&hashed);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |mask: u8| block.iter().map(move |byte| byte ^ mask).collect::<Vec<u8>>();
    let mut inner = D::new_with_prefix(pad(0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = D::new_with_prefix(pad(0x5c));
    outer.update(inner.finalize());
    outer.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn client() -> Client {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        Client::new(LoginMechanism::ScramSha256, "user", nonce)
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let mut client = client();
        assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let salt = client.salt(FIRST).unwrap();
        assert_eq!(salt.rounds, 4096);
        let key = key(LoginMechanism::ScramSha256, "pencil", &salt);
        assert_eq!(
            client.last(FIRST, &key).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let last = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        client.check(last).unwrap();
        let mut wrong = last.to_vec();
        wrong[5] ^= 1;
        assert_eq!(client.check(&wrong), Err(Failed::Impostor));
        assert_eq!(client.check(b"e=other-error"), Err(Failed::Malformed));
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let hex =
            |bytes: &[u8]| bytes.iter().fold(String::new(), |text, b| format!("{text}{b:02x}"));
        let short = hmac::<Sha256>(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&short), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = hmac::<Sha512>(
            &[0xaa; 131],
            &[b"Test Using Larger Than Block-Size Key - Hash Key First"],
        );
        assert!(
            hex(&long)
                .starts_with("80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352")
        );
    }

    #[test]
    fn what_a_server_may_not_say_is_refused() {
        let client = client();
        for (message, expected) in [
            (&b"r=other,s=W22Z,i=4096"[..], Failed::Nonce),
            (b"r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", Failed::Nonce),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0", Failed::Rounds(0)),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4000000000", Failed::Rounds(4_000_000_000)),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", Failed::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z", Failed::Malformed),
            (b"e=unknown-user", Failed::Malformed),
            (b"", Failed::Malformed),
        ] {
            assert_eq!(client.salt(message), Err(expected));
        }
        for end in 0..FIRST.len() {
            let _ = client.salt(&FIRST[..end]);
            let mut changed = FIRST.to_vec();
            changed[end] ^= 0x80;
            assert!(client.salt(&changed).is_err(), "{end}");
        }
    }

    #[test]
    fn signs_in_a_name_are_written_as_scram_has_them() {
        let client = Client::new(LoginMechanism::ScramSha512, "a,b=c", "x".to_owned());
        assert_eq!(client.first(), "n,,n=a=2Cb=3Dc,r=x");
    }
}
