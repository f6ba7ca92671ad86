//! A client's tokens in an exchange of SASL DIGEST-MD5: the parser of directives must not panic, only who
//! knows a password is let in, and never twice.

use doorkeeper::config::{SaslUser, Secret};
use doorkeeper::zookeeper::auth::{Answer, Exchange, NONCE_BYTES, SaslError};

/// One input: the response to the challenge. The first byte says what was sent before it.
pub(crate) fn run(data: &[u8]) {
    let user = |name: &str, password: &str| SaslUser {
        name: name.to_owned(),
        password: Secret::new(password),
    };
    let users = [user("bob", "bobsecret"), user("j\u{f6}rg", "gr\u{fc}n")];
    let (initial, response) = match data {
        [b'!', rest @ ..] => (rest, rest),
        rest => (&b""[..], rest),
    };
    let mut exchange = Exchange::new([7; NONCE_BYTES]);
    let ends = match exchange.evaluate(initial, &users) {
        Ok(Answer::Challenge(challenge)) => {
            assert!(challenge.starts_with(b"realm="));
            let answer = exchange.evaluate(response, &users);
            if let Ok(answer) = &answer {
                let Answer::Proved { token, user } = answer else { panic!("a second challenge") };
                assert!(
                    token.starts_with(b"rspauth=") && users.iter().any(|known| known.name == *user)
                );
            }
            answer.map(|_| ())
        }
        Ok(Answer::Proved { .. }) => panic!("nobody was asked"),
        Err(error) => Err(error),
    };
    if let Err(error) = ends {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("bobsecret") || contains(data, b"bobsecret"));
    }
    assert_eq!(exchange.evaluate(response, &users), Err(SaslError::Ended), "it is spent");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
