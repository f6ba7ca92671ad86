//! The server's half of SASL DIGEST-MD5 (RFC 2831), as the JDK's `DigestMD5Server` plays it for
//! ZooKeeper: realm `zk-sasl-md5`, qop `auth`, two rounds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use crate::config::SaslUser;
use crate::limits;

/// What server and client call the server: ZooKeeper has it fixed.
const REALM: &str = "zk-sasl-md5";
const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";
/// How often this nonce has been used: a nonce serves once.
const NONCE_COUNT: &str = "00000001";

/// Bytes of a nonce before it is encoded.
pub const NONCE_BYTES: usize = 30;

/// What the server answers to a client's token.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client has to answer this.
    Challenge(Vec<u8>),
    /// The client is who it says; this proves to it that the server knows its password too.
    Proved {
        /// The token that ends the exchange.
        token: Vec<u8>,
        /// The user.
        user: String,
    },
}

/// Why a client is refused. It names users and what they sent, never a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SaslError {
    #[error("a token after the end of the exchange")]
    Ended,
    #[error("a token of {0} bytes")]
    TooLong(usize),
    #[error("a malformed token: {0}")]
    Malformed(&'static str),
    #[error("no {0} in the token")]
    Missing(&'static str),
    #[error("{0} is not the one expected")]
    Mismatch(&'static str),
    #[error("user {user:?} wants to act as {authzid:?}")]
    OtherIdentity { user: String, authzid: String },
    #[error("user {0:?} is unknown, or its password is another one")]
    WrongPassword(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Challenged,
    Ended,
}

/// One exchange: it proves one identity or fails, and is spent then.
#[derive(Debug)]
pub struct Exchange {
    step: Step,
    nonce: String,
}

impl Exchange {
    /// An exchange with this nonce, which must never have been used.
    pub fn new(nonce: [u8; NONCE_BYTES]) -> Self {
        Exchange { step: Step::Begin, nonce: STANDARD.encode(nonce) }
    }

    /// Takes the client's next token.
    ///
    /// # Errors
    /// Whatever doesn't prove one of `users`.
    pub fn evaluate(&mut self, token: &[u8], users: &[SaslUser]) -> Result<Answer, SaslError> {
        let step = std::mem::replace(&mut self.step, Step::Ended);
        if token.len() > limits::SASL_TOKEN_BYTES_MAX {
            return Err(SaslError::TooLong(token.len()));
        }
        match step {
            // The JDK has no use for an initial response either, and takes it.
            Step::Begin => {
                self.step = Step::Challenged;
                let nonce = &self.nonce;
                let challenge =
                    format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
                Ok(Answer::Challenge(challenge.into_bytes()))
            }
            Step::Challenged => self.response(token, users),
            Step::Ended => Err(SaslError::Ended),
        }
    }

    fn response(&self, token: &[u8], users: &[SaslUser]) -> Result<Answer, SaslError> {
        let directives = Directives::parse(token)?;
        let text = |name: &'static str| directives.text(name);
        let needed = |name: &'static str| text(name)?.ok_or(SaslError::Missing(name));
        if text("charset")?.is_some_and(|charset| charset != "utf-8") {
            return Err(SaslError::Mismatch("charset"));
        }
        let user = needed("username")?;
        if text("realm")?.unwrap_or_default() != REALM {
            return Err(SaslError::Mismatch("realm"));
        }
        if needed("nonce")? != self.nonce {
            return Err(SaslError::Mismatch("nonce"));
        }
        let cnonce = directives.bytes("cnonce").ok_or(SaslError::Missing("cnonce"))?;
        // `nc` is not looked at, as in the JDK: the nonce serves once, whatever the client counts.
        if text("qop")?.unwrap_or("auth") != "auth" {
            return Err(SaslError::Mismatch("qop"));
        }
        let digest_uri = needed("digest-uri")?;
        if !digest_uri.eq_ignore_ascii_case(DIGEST_URI) {
            return Err(SaslError::Mismatch("digest-uri"));
        }
        let authzid = text("authzid")?;
        // Nobody acts as another: whoever could would pass that one's access control lists.
        if let Some(other) = authzid
            && !other.is_empty()
            && other != user
        {
            let (user, authzid) = (user.to_owned(), other.to_owned());
            return Err(SaslError::OtherIdentity { user, authzid });
        }
        let sent = directives.bytes("response").ok_or(SaslError::Missing("response"))?;
        let known = users.iter().find(|known| known.name == user);
        // An unknown user costs the same time as a known one.
        let password = known.map_or("", |known| known.password.expose());
        for encode in [latin_1_where_it_fits, utf_8] {
            let proof = Proof {
                user: encode(user),
                password: encode(password),
                nonce: self.nonce.as_bytes(),
                cnonce,
                authzid: authzid.map(str::as_bytes),
            };
            let expected = proof.response("AUTHENTICATE", digest_uri);
            if bool::from(expected.as_bytes().ct_eq(sent)) && known.is_some() {
                let token = format!("rspauth={}", proof.response("", digest_uri)).into_bytes();
                return Ok(Answer::Proved { token, user: user.to_owned() });
            }
        }
        Err(SaslError::WrongPassword(user.to_owned()))
    }
}

/// RFC 2831 hashes ISO 8859-1 where a text fits into it.
fn latin_1_where_it_fits(text: &str) -> Vec<u8> {
    let latin_1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    latin_1.unwrap_or_else(|| utf_8(text))
}

/// Some clients hash UTF-8 all the same.
fn utf_8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// What the hash of a response is made of.
struct Proof<'a> {
    user: Vec<u8>,
    password: Vec<u8>,
    nonce: &'a [u8],
    cnonce: &'a [u8],
    authzid: Option<&'a [u8]>,
}

impl Proof<'_> {
    /// The response value for this method: `AUTHENTICATE` is the client's, none the server's.
    fn response(&self, method: &str, digest_uri: &str) -> String {
        let session = Md5::new()
            .chain_update(&self.user)
            .chain_update(format!(":{REALM}:"))
            .chain_update(&self.password)
            .finalize();
        let mut a1 = Md5::new()
            .chain_update(session)
            .chain_update(":")
            .chain_update(self.nonce)
            .chain_update(":")
            .chain_update(self.cnonce);
        if let Some(authzid) = self.authzid {
            a1 = a1.chain_update(":").chain_update(authzid);
        }
        let a2 = Md5::digest(format!("{method}:{digest_uri}"));
        let value = Md5::new()
            .chain_update(hex(&a1.finalize()))
            .chain_update(":")
            .chain_update(self.nonce)
            .chain_update(format!(":{NONCE_COUNT}:"))
            .chain_update(self.cnonce)
            .chain_update(format!(":auth:{}", hex(&a2)))
            .finalize();
        hex(&value)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `name=value` or `name="value"`, with commas between them.
#[derive(Debug)]
struct Directives(Vec<(String, Vec<u8>)>);

impl Directives {
    fn parse(token: &[u8]) -> Result<Self, SaslError> {
        let mut directives = Directives(Vec::new());
        let mut rest = token.trim_ascii_start();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'=');
            let end = end.ok_or(SaslError::Malformed("a directive without a value"))?;
            let name = rest[..end].trim_ascii().to_ascii_lowercase();
            let name = String::from_utf8(name)
                .ok()
                .filter(|name| !name.is_empty())
                .ok_or(SaslError::Malformed("a directive without a name"))?;
            let (value, after) = value(rest[end + 1..].trim_ascii_start())?;
            if directives.bytes(&name).is_some() {
                return Err(SaslError::Malformed("a directive twice"));
            }
            directives.0.push((name, value));
            rest = after.trim_ascii_start();
            if let Some(&separator) = rest.first() {
                if separator != b',' {
                    return Err(SaslError::Malformed("something other than a comma"));
                }
                rest = rest.trim_ascii_start();
                while rest.first() == Some(&b',') {
                    rest = rest[1..].trim_ascii_start();
                }
            }
        }
        Ok(directives)
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, SaslError> {
        let Some(bytes) = self.bytes(name) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| SaslError::Malformed("not UTF-8"))?;
        Ok(Some(text))
    }
}

/// The value at the start, and what follows it.
fn value(rest: &[u8]) -> Result<(Vec<u8>, &[u8]), SaslError> {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        return Ok((rest[..end].trim_ascii_end().to_vec(), &rest[end..]));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((value, &quoted[at + 1..])),
            b'\\' => match bytes.next() {
                Some((_, &escaped)) => value.push(escaped),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(SaslError::Malformed("a quoted value that isn't closed"))
}

#[cfg(test)]
mod tests;
