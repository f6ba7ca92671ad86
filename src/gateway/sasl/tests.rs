//! Names in real messages, every prefix of them and every change of a byte.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::*;

fn name_of(mechanism: Mechanism, token: &str) -> Option<String> {
    mechanism.name(token.as_bytes())
}

#[test]
fn plain_names_whoever_the_password_is_for() {
    let name = |token| name_of(Mechanism::Plain, token);
    assert_eq!(name("\0alice\0secret").as_deref(), Some("alice"));
    assert_eq!(name("alice\0alice\0secret").as_deref(), Some("alice"));
    assert_eq!(name("\0j\u{f6}rg,=\0s").as_deref(), Some("j\u{f6}rg,="));
    for other in
        ["", "\0", "\0alice", "\0alice\0", "\0\0secret", "bob\0alice\0secret", "\0alice\0secret\0"]
    {
        assert_eq!(name(other), None, "{other:?}");
    }
    assert_eq!(Mechanism::Plain.name(b"\0al\xffice\0secret"), None);
}

#[test]
fn scram_names_whoever_begins() {
    let name = |token| name_of(Mechanism::Scram, token);
    assert_eq!(name("n,,n=alice,r=nonce").as_deref(), Some("alice"));
    assert_eq!(name("n,a=alice,n=alice,r=nonce").as_deref(), Some("alice"));
    assert_eq!(name("n,,m=ext,n=alice,r=nonce,x=y,z==").as_deref(), Some("alice"));
    assert_eq!(name("n,,n=a=2Cb=3Dc=3D2C,r=nonce").as_deref(), Some("a,b=c=2C"));
    assert_eq!(name("n,a=a=2Cb,n=a=2Cb,r=nonce").as_deref(), Some("a,b"));
    for other in [
        "",
        "n",
        "n,,",
        "n,,n=alice",
        "n,,n=alice,r=",
        "n,,n=,r=nonce",
        "y,,n=alice,r=nonce",
        "p=tls,,n=alice,r=nonce",
        "n,a=bob,n=alice,r=nonce",
        "n,bob,n=alice,r=nonce",
        "n,,n=a=2c,r=nonce",
        "n,,n=a=,r=nonce",
        "n,,n=a=4,r=nonce",
        "n,,n=j\u{f6}rg,r=nonce",
        "n,,n=a\0b,r=nonce",
        "n,,n=alice,r=nonce,extension",
        // The name is a token's id, whoever owns it.
        "n,,n=alice,r=nonce,tokenauth=true",
        "n,,n=alice,r=nonce,x=y,TokenAuth=TRUE",
    ] {
        assert_eq!(name(other), None, "{other:?}");
    }
}

#[test]
fn mechanisms_are_told_apart_by_their_exact_names() {
    for (name, expected) in [
        ("PLAIN", Mechanism::Plain),
        ("SCRAM-SHA-256", Mechanism::Scram),
        ("SCRAM-SHA-512", Mechanism::Scram),
        ("GSSAPI", Mechanism::Other),
        ("plain", Mechanism::Other),
        ("", Mechanism::Other),
    ] {
        let mut body = BytesMut::new();
        body.put_i16(i16::try_from(name.len()).unwrap());
        body.put_slice(name.as_bytes());
        assert_eq!(mechanism(&body), Some(expected), "{name}");
        for end in 0..body.len() {
            assert_eq!(mechanism(&body[..end]), None);
        }
    }
    assert_eq!(mechanism(&[0xff, 0xff]), None);
}

fn response(version: i16, error: i16, token: &[u8], lifetime: i64) -> BytesMut {
    let mut answer = BytesMut::new();
    answer.put_i32(7);
    answer.put_slice(if version >= 2 { &[0] } else { &[] });
    let message = (error != 0).then(|| StrBytes::from_static_str("no"));
    SaslAuthenticateResponse::default()
        .with_error_code(error)
        .with_error_message(message)
        .with_auth_bytes(token.to_vec().into())
        .with_session_lifetime_ms(if version >= 1 { lifetime } else { 0 })
        .encode(&mut answer, version)
        .unwrap();
    answer
}

#[test]
fn answers_are_read_at_every_version() {
    for version in 0..=2 {
        for (error, token, lifetime) in [(0, &b"v=x"[..], 3_600_000), (58, b"", 0), (0, b"", 1)] {
            let answer = response(version, error, token, lifetime);
            let lifetime_ms = if version >= 1 { lifetime } else { 0 };
            assert_eq!(answered(version, &answer), Some(Answered { error, token, lifetime_ms }));
            assert_eq!(super::error(&response(0, error, token, 0)), Some(error));
            let fields = answer.len() - usize::from(version >= 2);
            for end in 0..fields {
                assert_eq!(answered(version, &answer[..end]), None, "{version} {end}");
            }
        }
    }
}

#[test]
fn tokens_are_read_at_every_version() {
    for version in 0..=2 {
        let mut body = BytesMut::new();
        let token = vec![7; 300];
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token.clone().into());
        request.encode(&mut body, version).unwrap();
        assert_eq!(super::token(version, &body), Some(&token[..]));
        for end in 0..body.len() - usize::from(version >= 2) {
            assert_eq!(super::token(version, &body[..end]), None);
        }
    }
}

#[test]
fn a_login_is_proved_by_its_last_answer() {
    let answer = |error, token| Answered { error, token, lifetime_ms: 0 };
    assert!(answer(0, b"").proves(Mechanism::Plain));
    assert!(!answer(58, b"").proves(Mechanism::Plain));
    assert!(answer(0, b"v=x").proves(Mechanism::Scram));
    assert!(!answer(0, b"e=invalid-proof").proves(Mechanism::Scram));
    assert!(!answer(58, b"v=x").proves(Mechanism::Scram));
    assert!(!answer(0, b"").proves(Mechanism::Other));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), version in 0_i16..4) {
        let _ = mechanism(&bytes);
        let _ = token(version, &bytes);
        let _ = answered(version, &bytes);
        let _ = error(&bytes);
        for mechanism in [Mechanism::Plain, Mechanism::Scram, Mechanism::Other] {
            let _ = mechanism.name(&bytes);
        }
    }

    #[test]
    fn any_name_comes_through_scram(name in "[\\x01-\\x7f]{1,20}") {
        let written = name.replace('=', "=3D").replace(',', "=2C");
        let token = format!("n,,n={written},r=nonce");
        prop_assert_eq!(name_of(Mechanism::Scram, &token), Some(name));
    }
}
