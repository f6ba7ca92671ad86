//! Logins from their first message to their last, in and out of order.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::SaslAuthenticateResponse;
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::*;

/// What happens on a connection.
#[derive(Debug, Clone)]
enum Event {
    Handshake(i16, Mechanism),
    HandshakeAnswer(i16),
    Token(&'static [u8]),
    TokenAnswer(i16, &'static [u8], i64),
    BareAnswer(&'static [u8]),
}

use Event::{BareAnswer, Handshake, HandshakeAnswer, Token, TokenAnswer};

const ALICE: &[u8] = b"\0alice\0secret";
const BOB: &[u8] = b"\0bob\0secret";
const SCRAM_ALICE: &[u8] = b"n,,n=alice,r=nonce";
const PROOF: &[u8] = b"c=biws,r=nonce,p=proof";

fn play(login: &mut Login, now: Instant, event: &Event) -> Result<(), Unfollowed> {
    match *event {
        Handshake(version, mechanism) => login.handshake(version, Some(mechanism)),
        Token(token) => login.token(Some(token)),
        HandshakeAnswer(error) => {
            let mut answer = vec![0, 0, 0, 1];
            answer.extend(error.to_be_bytes());
            return login.answer(Part::Handshake, &answer, now);
        }
        TokenAnswer(error, token, lifetime) => {
            let mut answer = BytesMut::new();
            answer.put_i32(1);
            let message = (error != 0).then(|| StrBytes::from_static_str("no"));
            SaslAuthenticateResponse::default()
                .with_error_code(error)
                .with_error_message(message)
                .with_auth_bytes(token.into())
                .with_session_lifetime_ms(lifetime)
                .encode(&mut answer, 1)
                .unwrap();
            return login.answer(Part::Token { version: 1 }, &answer, now);
        }
        BareAnswer(token) => return login.answer(Part::BareToken, token, now),
    }
    Ok(())
}

fn played(events: &[Event]) -> Login {
    let mut login = Login::default();
    for event in events {
        play(&mut login, Instant::now(), event).unwrap();
    }
    login
}

fn name(login: &Login) -> Option<&str> {
    login.principal().map(|principal| &*principal.name)
}

const PLAIN: [Event; 4] =
    [Handshake(1, Mechanism::Plain), HandshakeAnswer(0), Token(ALICE), TokenAnswer(0, b"", 0)];

const SCRAM: [Event; 6] = [
    Handshake(1, Mechanism::Scram),
    HandshakeAnswer(0),
    Token(SCRAM_ALICE),
    TokenAnswer(0, b"r=nonce,s=salt,i=4096", 0),
    Token(PROOF),
    TokenAnswer(0, b"v=signature", 0),
];

#[test]
fn a_name_is_known_with_the_last_answer_and_not_before() {
    for whole in [&PLAIN[..], &SCRAM] {
        for end in 0..whole.len() {
            assert_eq!(name(&played(&whole[..end])), None, "{end}");
        }
        assert_eq!(name(&played(whole)), Some("alice"));
    }
    // Pipelined, in any order that a connection allows.
    let pipelined = [0, 2, 1, 3].map(|at: usize| PLAIN[at].clone());
    assert_eq!(name(&played(&pipelined)), Some("alice"));
}

#[test]
fn a_login_that_the_broker_refuses_names_nobody() {
    for (at, refusal) in [(1, HandshakeAnswer(33)), (3, TokenAnswer(58, b"", 0))] {
        let mut events = PLAIN.to_vec();
        events[at] = refusal;
        assert_eq!(name(&played(&events[..=at])), None);
    }
    let mut events = SCRAM.to_vec();
    events[5] = TokenAnswer(0, b"e=other-error", 0);
    assert_eq!(name(&played(&events)), None);
}

#[test]
fn other_mechanisms_name_nobody() {
    let mut login = played(&[
        Handshake(1, Mechanism::Other),
        HandshakeAnswer(0),
        Token(ALICE),
        TokenAnswer(0, b"", 5_000),
    ]);
    assert_eq!(name(&login), None);
    assert!(
        login.is_over(Instant::now() + Duration::from_secs(6)),
        "its time is kept all the same"
    );
    for event in &PLAIN {
        play(&mut login, Instant::now(), event).unwrap();
    }
    assert_eq!(name(&login), None, "for good");
}

#[test]
fn a_login_is_renewed_by_the_same_user_alone() {
    let mut login = played(&PLAIN);
    for (at, event) in SCRAM.iter().enumerate() {
        play(&mut login, Instant::now(), event).unwrap();
        let done = at + 1 == SCRAM.len();
        assert_eq!(name(&login), done.then_some("alice"), "meanwhile the broker decides");
    }
    // A broker that takes no other login goes on with the one that it has.
    for event in [Handshake(1, Mechanism::Plain), HandshakeAnswer(34)] {
        play(&mut login, Instant::now(), &event).unwrap();
    }
    assert_eq!(name(&login), Some("alice"));
    let mut events = PLAIN.to_vec();
    events.extend(PLAIN);
    events[6] = Token(BOB);
    assert_eq!(name(&played(&events)), None, "no broker does this");
}

#[test]
fn what_does_not_fit_leaves_the_name_unknown() {
    for events in [
        // Two at once.
        vec![
            Handshake(1, Mechanism::Plain),
            Handshake(1, Mechanism::Plain),
            HandshakeAnswer(0),
            Token(ALICE),
            TokenAnswer(0, b"", 0),
        ],
        // More tokens than the mechanism has.
        vec![
            Handshake(1, Mechanism::Plain),
            HandshakeAnswer(0),
            Token(ALICE),
            Token(BOB),
            TokenAnswer(0, b"", 0),
        ],
        // Without a handshake that was taken.
        vec![Handshake(1, Mechanism::Plain), Token(ALICE), TokenAnswer(0, b"", 0)],
        vec![Token(ALICE), TokenAnswer(0, b"", 0)],
    ] {
        let mut login = played(&events);
        assert_eq!(name(&login), None, "{events:?}");
        for event in &PLAIN {
            let _ = play(&mut login, Instant::now(), event);
        }
        assert_eq!(name(&login), None, "{events:?}");
    }
}

#[test]
fn the_time_of_a_login_is_the_last_ones() {
    let now = Instant::now();
    let later = |ms| now + Duration::from_millis(ms);
    let mut login = Login::default();
    let mut renew = |lifetime, now| {
        for event in &PLAIN[..3] {
            play(&mut login, now, event).unwrap();
        }
        play(&mut login, now, &TokenAnswer(0, b"", lifetime)).unwrap();
        [999, 1_000, 1_001, 5_000].map(|ms| login.is_over(later(ms)))
    };
    assert_eq!(renew(1_000, now), [false, false, true, true]);
    assert_eq!(renew(3_000, later(1_000)), [false, false, false, true]);
    assert_eq!(renew(0, later(1_000)), [false; 4], "it holds for ever");
    assert_eq!(renew(-5, later(1_000)), [false; 4]);
    assert_eq!(renew(i64::MAX, later(1_000)), [false; 4]);
}

#[test]
fn tokens_without_a_header_are_counted() {
    let mut login = Login::default();
    let frames: Vec<Frame> = [
        Handshake(0, Mechanism::Scram),
        HandshakeAnswer(0),
        Token(SCRAM_ALICE),
        BareAnswer(b"r=nonce,s=salt,i=4096"),
        Token(PROOF),
        BareAnswer(b"v=signature"),
    ]
    .iter()
    .map(|event| {
        play(&mut login, Instant::now(), event).unwrap();
        login.next_frame()
    })
    .collect();
    let (unknown, bare, request) = (Frame::Unknown, Frame::BareToken, Frame::Request);
    assert_eq!(frames, [unknown, bare, bare, bare, request, request]);
    assert_eq!(name(&login), Some("alice"));

    let mut login = played(&[Handshake(0, Mechanism::Plain), HandshakeAnswer(0), Token(ALICE)]);
    assert_eq!((login.next_frame(), name(&login)), (request, None));
    play(&mut login, Instant::now(), &BareAnswer(b"")).unwrap();
    assert_eq!(name(&login), Some("alice"));

    let refused = played(&[Handshake(0, Mechanism::Other), HandshakeAnswer(33)]);
    assert_eq!(refused.next_frame(), request);
    let mut unfollowed = played(&[Handshake(0, Mechanism::Other)]);
    play(&mut unfollowed, Instant::now(), &HandshakeAnswer(0)).unwrap_err();
}

fn any_event() -> impl Strategy<Value = Event> {
    let mechanism =
        prop_oneof![Just(Mechanism::Plain), Just(Mechanism::Scram), Just(Mechanism::Other)];
    let error = prop_oneof![4 => Just(0_i16), 1 => Just(58)];
    let token = prop_oneof![Just(ALICE), Just(BOB), Just(SCRAM_ALICE), Just(PROOF), Just(&b""[..])];
    let answer = prop_oneof![Just(&b""[..]), Just(&b"v=x"[..]), Just(&b"r=x"[..])];
    prop_oneof![
        (0_i16..2, mechanism).prop_map(|(version, mechanism)| Handshake(version, mechanism)),
        error.clone().prop_map(HandshakeAnswer),
        token.prop_map(Token),
        (error, answer.clone(), 0_i64..2).prop_map(|(e, a, l)| TokenAnswer(e, a, l)),
        answer.prop_map(BareAnswer),
    ]
}

proptest! {
    /// Whatever comes, a name is one that a token claimed, right before a good answer.
    #[test]
    fn nobody_is_named_without_a_token_and_a_good_answer(
        events in prop::collection::vec(any_event(), 0..24),
    ) {
        let mut login = Login::default();
        let mut claimed = Vec::new();
        let mut good_answers = 0;
        for event in &events {
            let before = name(&login).map(str::to_owned);
            let _ = play(&mut login, Instant::now(), event);
            match event {
                Token(token) if *token == ALICE || *token == SCRAM_ALICE => claimed.push("alice"),
                Token(token) if *token == BOB => claimed.push("bob"),
                TokenAnswer(0, ..) | BareAnswer(_) => good_answers += 1,
                _ => {}
            }
            if let Some(now) = name(&login) {
                prop_assert!(claimed.contains(&now));
                prop_assert!(good_answers > 0);
                let changed = before.is_some_and(|before| before != now);
                prop_assert!(!changed, "nobody becomes another");
            }
        }
    }
}
