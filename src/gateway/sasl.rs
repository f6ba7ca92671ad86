//! What SASL's messages say of a client's login, as Kafka's frames carry them: pure.
//!
//! Of PLAIN and SCRAM the user's name is read, of answers whether the broker took the login and how
//! long it holds. Passwords and proofs are looked past, and nothing is kept but the name.

use bytes::Buf;

use crate::kafka::wire::guard;

/// The mechanisms as far as they are told apart here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// `PLAIN` (RFC 4616): one token.
    Plain,
    /// `SCRAM-SHA-256` and `SCRAM-SHA-512` (RFC 5802): two tokens.
    Scram,
    /// Any other: whose name it proves, and with which token, is not known here.
    Other,
}

impl Mechanism {
    /// By its name in `SaslHandshake`.
    pub(super) fn of(name: &[u8]) -> Mechanism {
        match name {
            b"PLAIN" => Mechanism::Plain,
            b"SCRAM-SHA-256" | b"SCRAM-SHA-512" => Mechanism::Scram,
            _ => Mechanism::Other,
        }
    }

    /// The tokens that a client sends, where that is known.
    pub(super) fn tokens(self) -> Option<usize> {
        match self {
            Mechanism::Plain => Some(1),
            Mechanism::Scram => Some(2),
            Mechanism::Other => None,
        }
    }

    /// The name that the first token claims; `None` where it is not known.
    pub(super) fn name(self, token: &[u8]) -> Option<String> {
        match self {
            Mechanism::Plain => plain(token).map(str::to_owned),
            Mechanism::Scram => scram(token),
            Mechanism::Other => None,
        }
    }
}

/// The name in a token of PLAIN: `authzid NUL authcid NUL password`, where the first is empty or the
/// same as the second (`PlainSaslServer`).
fn plain(token: &[u8]) -> Option<&str> {
    let mut parts = token.split(|byte| *byte == 0);
    let (identity, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && !name.is_empty() && !password.is_empty();
    let own = identity.is_empty() || identity == name;
    if whole && own { std::str::from_utf8(name).ok() } else { None }
}

/// The name in the first message of SCRAM, as `ScramMessages.ClientFirstMessage` reads it:
/// `n,[a=identity],[m=reserved,]n=name,r=nonce[,extension=value]…`. `None` for a token's login too:
/// then the name is the token's id.
fn scram(token: &[u8]) -> Option<String> {
    let mut parts = std::str::from_utf8(token).ok()?.split(',');
    if parts.next()? != "n" {
        return None;
    }
    let identity = match parts.next()? {
        "" => None,
        identity => Some(decode(identity.strip_prefix("a=")?)?),
    };
    let mut part = parts.next()?;
    if part.starts_with("m=") {
        part = parts.next()?;
    }
    let name = decode(part.strip_prefix("n=")?)?;
    parts.next()?.strip_prefix("r=").filter(|nonce| !nonce.is_empty())?;
    for extension in parts {
        let (key, _) = extension.split_once('=')?;
        if key.eq_ignore_ascii_case("tokenauth") {
            return None;
        }
    }
    let own = identity.is_none_or(|identity| identity == name);
    own.then_some(name)
}

/// A `saslname`: a comma is written `=2C`, an equals sign `=3D`; the rest is ASCII.
fn decode(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = part.split_at_checked(2)?;
        decoded.push(match sign {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        decoded.push_str(rest);
    }
    let safe = !name.is_empty() && name.bytes().all(|byte| (1..=0x7f).contains(&byte));
    safe.then_some(decoded)
}

/// The mechanism that a `SaslHandshake` names; `body` is what stands behind its header.
pub(super) fn mechanism(mut body: &[u8]) -> Option<Mechanism> {
    let length = usize::try_from(body.try_get_i16().ok()?).ok()?;
    body.get(..length).map(Mechanism::of)
}

/// The token in a `SaslAuthenticate`; `body` is what stands behind its header.
pub(super) fn token(version: i16, body: &[u8]) -> Option<&[u8]> {
    let mut rest = body;
    bytes(version, &mut rest)
}

/// What a broker says to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered<'a> {
    /// Its error code.
    pub error: i16,
    /// Its own token.
    pub token: &'a [u8],
    /// How long the login holds, in milliseconds; 0 is for ever, or not known.
    pub lifetime_ms: i64,
}

impl Answered<'_> {
    /// Whether the login is done, where this mechanism's last token was answered.
    pub(super) fn proves(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Plain => self.error == 0,
            Mechanism::Scram => self.error == 0 && self.token.starts_with(b"v="),
            Mechanism::Other => false,
        }
    }
}

/// The error code of an answer, which is the first field behind the header of version 0.
pub(super) fn error(answer: &[u8]) -> Option<i16> {
    answer.get(4..)?.try_get_i16().ok()
}

/// An answer to `SaslAuthenticate`, from its correlation id on.
pub(super) fn answered(version: i16, answer: &[u8]) -> Option<Answered<'_>> {
    let mut rest = answer.get(4..)?;
    if version >= 2 {
        rest.advance(guard::skip_tagged_fields(rest).ok()?);
    }
    let error = rest.try_get_i16().ok()?;
    if version >= 2 {
        bytes(version, &mut rest);
    } else if let Ok(length) = usize::try_from(rest.try_get_i16().ok()?) {
        rest = rest.get(length..)?;
    }
    let token = bytes(version, &mut rest)?;
    let lifetime_ms = if version >= 1 { rest.try_get_i64().ok()? } else { 0 };
    Some(Answered { error, token, lifetime_ms })
}

/// A field of bytes, with its length as the version has it; null is `None`.
fn bytes<'a>(version: i16, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = if version >= 2 {
        let mut value = 0_usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = rest.try_get_u8().ok()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value.checked_sub(1)?
    } else {
        usize::try_from(rest.try_get_i32().ok()?).ok()?
    };
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
#[path = "sasl/tests.rs"]
mod tests;
