//! What DIGEST-MD5 accepts, and everything else that it refuses.

use proptest::prelude::*;

use super::*;
use crate::config::Secret as Password;

const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
const NONCE_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

fn users() -> Vec<SaslUser> {
    [("bob", "bobsecret"), ("super", "adminsecret"), ("jörg", "gr\u{fc}n"), ("empty", "")]
        .map(|(name, password)| SaslUser {
            name: name.to_owned(),
            password: Password::new(password),
        })
        .to_vec()
}

/// An exchange that waits for the client's response.
fn challenged() -> Exchange {
    let mut exchange = Exchange::new(NONCE);
    let Ok(Answer::Challenge(challenge)) = exchange.evaluate(b"", &users()) else {
        panic!("no challenge")
    };
    assert_eq!(
        String::from_utf8(challenge).unwrap(),
        format!("realm=\"zk-sasl-md5\",nonce=\"{NONCE_TEXT}\",charset=utf-8,algorithm=md5-sess")
    );
    exchange
}

/// What a client sends: the directives of its response, each of which a test may change.
fn response(user: &str, password: &str, authzid: Option<&str>) -> Vec<(&'static str, String)> {
    let proof = Proof {
        user: latin_1_where_it_fits(user),
        password: latin_1_where_it_fits(password),
        nonce: NONCE_TEXT.as_bytes(),
        cnonce: b"cn",
        authzid: authzid.map(str::as_bytes),
    };
    let mut directives = vec![
        ("charset", "utf-8".to_owned()),
        ("username", format!("\"{user}\"")),
        ("realm", "\"zk-sasl-md5\"".to_owned()),
        ("nonce", format!("\"{NONCE_TEXT}\"")),
        ("nc", "00000001".to_owned()),
        ("cnonce", "\"cn\"".to_owned()),
        ("digest-uri", "\"zookeeper/zk-sasl-md5\"".to_owned()),
        ("maxbuf", "65536".to_owned()),
        ("response", proof.response("AUTHENTICATE", DIGEST_URI)),
        ("qop", "auth".to_owned()),
    ];
    if let Some(authzid) = authzid {
        directives.push(("authzid", format!("\"{authzid}\"")));
    }
    directives
}

fn token(directives: &[(&str, String)]) -> Vec<u8> {
    let directives: Vec<_> =
        directives.iter().map(|(name, value)| format!("{name}={value}")).collect();
    directives.join(",").into_bytes()
}

fn outcome(directives: &[(&str, String)]) -> Result<String, SaslError> {
    match challenged().evaluate(&token(directives), &users())? {
        Answer::Proved { user, token } => {
            assert!(token.starts_with(b"rspauth="));
            Ok(user)
        }
        Answer::Challenge(_) => panic!("a second challenge"),
    }
}

#[test]
fn the_response_is_the_one_of_rfc_2831() {
    // Computed with another implementation of the RFC's formulas.
    let proof = Proof {
        user: b"bob".to_vec(),
        password: b"bobsecret".to_vec(),
        nonce: b"nonce",
        cnonce: b"cnonce",
        authzid: None,
    };
    assert_eq!(proof.response("AUTHENTICATE", DIGEST_URI), "ea3b9cc4e0459373730fe07b2a4381b9");
    assert_eq!(proof.response("", DIGEST_URI), "68a2586e6b38219f79b77665e511f61f");
    let proof = Proof { authzid: Some(b"bob"), ..proof };
    assert_eq!(proof.response("AUTHENTICATE", DIGEST_URI), "2fe76ce16d83e969e0ec451d5783f56c");
}

#[test]
fn a_user_proves_its_password() {
    for (user, password) in [("bob", "bobsecret"), ("super", "adminsecret"), ("jörg", "grün")] {
        assert_eq!(outcome(&response(user, password, None)), Ok(user.to_owned()));
    }
    let mut utf_8 = response("jörg", "grün", None);
    let proof = Proof {
        user: "jörg".into(),
        password: "grün".into(),
        nonce: NONCE_TEXT.as_bytes(),
        cnonce: b"cn",
        authzid: None,
    };
    utf_8[8].1 = proof.response("AUTHENTICATE", DIGEST_URI);
    assert_eq!(outcome(&utf_8), Ok("jörg".to_owned()), "as a client that hashes UTF-8");
}

#[test]
fn wrong_passwords_and_unknown_users_are_refused_alike() {
    for (user, password) in [
        ("bob", "bobsecre"),
        ("bob", ""),
        ("eve", ""),
        ("eve", "bobsecret"),
        ("", ""),
        ("BOB", "bobsecret"),
    ] {
        let error = SaslError::WrongPassword(user.to_owned());
        assert_eq!(outcome(&response(user, password, None)), Err(error), "{user} {password}");
    }
}

#[test]
fn authzid_cve_nobody_acts_as_another() {
    for same in ["", "bob"] {
        assert_eq!(outcome(&response("bob", "bobsecret", Some(same))), Ok("bob".to_owned()));
    }
    for other in ["super", "bob ", "BOB", "bob@EXAMPLE.COM"] {
        assert_eq!(
            outcome(&response("bob", "bobsecret", Some(other))),
            Err(SaslError::OtherIdentity { user: "bob".to_owned(), authzid: other.to_owned() })
        );
    }
}

#[test]
fn every_directive_counts() {
    for (name, value, expected) in [
        ("charset", "iso-8859-1", SaslError::Mismatch("charset")),
        ("realm", "\"elsewhere\"", SaslError::Mismatch("realm")),
        ("nonce", "\"BwcH\"", SaslError::Mismatch("nonce")),
        ("qop", "auth-conf", SaslError::Mismatch("qop")),
        ("qop", "auth-int", SaslError::Mismatch("qop")),
        ("digest-uri", "\"zookeeper/elsewhere\"", SaslError::Mismatch("digest-uri")),
        ("digest-uri", "\"kafka/zk-sasl-md5\"", SaslError::Mismatch("digest-uri")),
        ("cnonce", "\"other\"", SaslError::WrongPassword("bob".to_owned())),
        ("username", "\"super\"", SaslError::WrongPassword("super".to_owned())),
        ("response", "", SaslError::WrongPassword("bob".to_owned())),
    ] {
        let mut changed = response("bob", "bobsecret", None);
        changed.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value.to_owned();
        assert_eq!(outcome(&changed), Err(expected), "{name}={value}");
    }
    for (name, expected) in [
        ("username", Some(SaslError::Missing("username"))),
        ("realm", Some(SaslError::Mismatch("realm"))),
        ("nonce", Some(SaslError::Missing("nonce"))),
        ("cnonce", Some(SaslError::Missing("cnonce"))),
        ("digest-uri", Some(SaslError::Missing("digest-uri"))),
        ("response", Some(SaslError::Missing("response"))),
        ("charset", None),
        ("nc", None),
        ("qop", None),
        ("maxbuf", None),
    ] {
        let mut without = response("bob", "bobsecret", None);
        without.retain(|(known, _)| *known != name);
        assert_eq!(outcome(&without).err(), expected, "without {name}");
        let mut twice = response("bob", "bobsecret", None);
        twice.push(twice.iter().find(|(known, _)| *known == name).unwrap().clone());
        let error = SaslError::Malformed("a directive twice");
        assert_eq!(outcome(&twice), Err(error), "{name} twice");
    }
}

#[test]
fn an_exchange_is_played_once_and_in_order() {
    let good = token(&response("bob", "bobsecret", None));
    let mut exchange = Exchange::new(NONCE);
    let first = exchange.evaluate(&good, &users());
    assert!(matches!(first, Ok(Answer::Challenge(_))), "an initial response proves nothing");
    let mut exchange = challenged();
    assert!(exchange.evaluate(&good, &users()).is_ok());
    assert_eq!(exchange.evaluate(&good, &users()), Err(SaslError::Ended), "a replay");
    let mut exchange = challenged();
    let wrong = token(&response("bob", "guess", None));
    assert!(exchange.evaluate(&wrong, &users()).is_err());
    assert_eq!(exchange.evaluate(&good, &users()), Err(SaslError::Ended), "one guess");
    let mut exchange = challenged();
    let long = vec![b'a'; limits::SASL_TOKEN_BYTES_MAX + 1];
    assert_eq!(exchange.evaluate(&long, &users()), Err(SaslError::TooLong(long.len())));
}

#[test]
fn directives_are_read_as_the_jdk_reads_them() {
    let read = |text: &str| Directives::parse(text.as_bytes()).map(|directives| directives.0);
    let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    assert_eq!(
        read(" a = b , ,C=\"d,\\\"e\\\\\" ,f="),
        Ok(vec![pair("a", "b"), pair("c", "d,\"e\\"), pair("f", "")])
    );
    assert_eq!(read(""), Ok(vec![]));
    for malformed in ["a", "=b", "a=\"b", "a=\"b\\", "a=\"b\"c", "\u{ff}\u{fe}"] {
        assert!(matches!(read(malformed), Err(SaslError::Malformed(_))), "{malformed}");
    }
}

#[test]
fn every_prefix_and_every_changed_byte_is_refused() {
    let good = token(&response("bob", "bobsecret", None));
    for end in 0..good.len() - ",qop=auth".len() {
        let mut exchange = challenged();
        assert!(exchange.evaluate(&good[..end], &users()).is_err(), "{end}");
    }
    for at in 0..good.len() {
        for byte in [0, b'"', b',', b'=', b'\\', 0xff] {
            let mut changed = good.clone();
            changed[at] = byte;
            if let Ok(answer) = challenged().evaluate(&changed, &users()) {
                assert!(matches!(answer, Answer::Proved { user, .. } if user == "bob"));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_token_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(challenged().evaluate(&bytes, &users()).is_err());
    }
}
