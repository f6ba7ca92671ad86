//! Who is who, and what lists let whom do.

use rstest::rstest;

use super::*;
use crate::config::{DigestAlgorithm, SaslUser, Secret};
use crate::zookeeper::acl::{ADMIN, ALL, READ, WRITE, open_acl_unsafe};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const SUPER: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

fn auth(change: impl FnOnce(&mut AuthConfig)) -> Auth {
    let mut config = AuthConfig::default();
    change(&mut config);
    Auth::new(config)
}

/// Everything that can be served.
fn full() -> Auth {
    auth(|config| {
        config.sasl_provider = true;
        config.x509_provider = true;
        config.ensemble_provider = true;
        config.super_digest = Some(Secret::new(SUPER));
    })
}

fn peer() -> Identities {
    identities_of_peer(PEER)
}

fn digest(auth: &Auth, credentials: &str) -> Identities {
    auth.authenticate("digest", Some(credentials.as_bytes()), PEER, &peer()).unwrap()
}

fn sasl(auth: &Auth, user: &str) -> Identities {
    auth.with_sasl_user(&peer(), user).unwrap()
}

#[test]
fn lists_are_checked_entry_by_entry() {
    let auth = full();
    let joe = digest(&auth, "joe:secret");
    let acl = [
        Acl::new(READ, "world", "anyone"),
        Acl::new(ALL, "digest", &joe[1].id),
        Acl::new(ADMIN, "ip", "127.0.0.0/8"),
    ];
    assert!(auth.allows(&acl, READ, &peer()));
    assert!(!auth.allows(&acl, WRITE, &peer()));
    assert!(auth.allows(&acl, ADMIN, &peer()));
    assert!(auth.allows(&acl, WRITE, &joe));
    assert!(!auth.allows(&acl, WRITE, &digest(&auth, "joe:guess")));
    assert!(auth.allows(&[], WRITE, &peer()));
    assert!(auth.allows(&open_acl_unsafe(), ALL, &peer()));
    let open = self::auth(|config| config.skip_acl = true);
    assert!(open.allows(&acl, WRITE, &peer()));
}

#[test]
fn super_may_do_everything() {
    let auth = full();
    let nobody = [Acl::new(0, "digest", "a:b")];
    assert!(auth.allows(&nobody, WRITE, &digest(&auth, "super:test")));
    assert!(!auth.allows(&nobody, WRITE, &digest(&auth, "super:tess")));
    assert!(!auth.allows(&nobody, WRITE, &digest(&self::auth(|_| ()), "super:test")));
}

#[test]
fn sasl_super_users_are_named_one_by_one() {
    let auth = auth(|config| {
        config.sasl_provider = true;
        config.sasl_super_users = vec!["kafka".to_owned(), "root".to_owned()];
    });
    let nobody = [Acl::new(0, "sasl", "nobody")];
    for (user, allowed) in [("kafka", true), ("root", true), ("bob", false), ("", false)] {
        assert_eq!(auth.allows(&nobody, WRITE, &sasl(&auth, user)), allowed, "{user}");
    }
}

#[test]
fn sasl_identities_match_their_own_names() {
    let auth = auth(|config| {
        config.sasl_provider = true;
        config.any_sasl_user = Some("everybody".to_owned());
    });
    let bobs = [Acl::new(READ, "sasl", "bob")];
    assert!(auth.allows(&bobs, READ, &sasl(&auth, "bob")));
    assert!(!auth.allows(&bobs, READ, &sasl(&auth, "eve")));
    // As ZooKeeper has it: the user `super` is named by every entry, and has its permissions.
    assert!(auth.allows(&bobs, READ, &sasl(&auth, "super")));
    assert!(!auth.allows(&bobs, WRITE, &sasl(&auth, "super")));
    let anybody = [Acl::new(READ, "sasl", "everybody")];
    assert!(auth.allows(&anybody, READ, &sasl(&auth, "eve")));
    assert!(!auth.allows(&anybody, READ, &digest(&auth, "eve:x")));
    // Without the provider, entries of the scheme mean nobody.
    let without = self::auth(|_| ());
    assert!(!without.allows(&bobs, READ, &sasl(&without, "bob")));
}

#[test]
fn certificates_are_named_by_their_subject() {
    let auth = auth(|config| {
        config.x509_provider = true;
        config.x509_super_user = Some("CN=root".to_owned());
    });
    let bob = auth.with_certificate_id(&peer(), "CN=bob").unwrap();
    let acl = [Acl::new(READ, "x509", "CN=bob")];
    assert!(auth.allows(&acl, READ, &bob));
    assert!(!auth.allows(&acl, READ, &auth.with_certificate_id(&peer(), "CN=eve").unwrap()));
    assert!(auth.allows(&acl, WRITE, &auth.with_certificate_id(&peer(), "CN=root").unwrap()));
    assert_eq!(auth.authenticate("x509", None, PEER, &bob), Ok(bob.clone()));
    assert_eq!(auth.authenticate("x509", None, PEER, &peer()), Err(Refusal::Failed));
}

#[rstest]
#[case("sasl", Some(&b"x"[..]))]
#[case("world", None)]
#[case("super", Some(&b""[..]))]
#[case("digest", None)]
#[case("kerberos", None)]
#[case("", None)]
fn unknown_schemes_and_missing_credentials_fail(
    #[case] scheme: &str,
    #[case] credentials: Option<&[u8]>,
) {
    let result = full().authenticate(scheme, credentials, PEER, &peer());
    assert_eq!(result, Err(Refusal::Failed));
}

#[test]
fn who_asks_for_its_address_has_it_already() {
    assert_eq!(full().authenticate("ip", None, PEER, &peer()).unwrap(), peer(), "no duplicates");
}

#[test]
fn digest_can_be_turned_off() {
    let auth = auth(|config| config.digest_enabled = false);
    let result = auth.authenticate("digest", Some(b"a:b"), PEER, &peer());
    assert_eq!(result, Err(Refusal::Failed));
    let entry = [Acl::new(ALL, "digest", "a:b")];
    assert_eq!(auth.fixup(&entry, &peer()), Err(ErrorCode::InvalidAcl));
    let known = with(&peer(), [AuthId::new("digest", "a:b")]).unwrap();
    assert!(!auth.allows(&entry, READ, &known));
}

#[test]
fn digests_are_made_by_the_algorithm_of_the_configuration() {
    let auth = auth(|config| config.digest_algorithm = DigestAlgorithm::Sha256);
    let id = "joe:NZS46jfOYGT+zto6YyNSTvBW3wwLRg1mAsWvHo0QTFg=";
    assert_eq!(&*digest(&auth, "joe:secret")[1].id, id);
}

#[test]
fn clients_of_another_ensemble_are_sent_away() {
    let named = auth(|config| {
        config.ensemble_provider = true;
        config.ensemble_names = Some(vec!["east".to_owned(), "test".to_owned()]);
    });
    let any = auth(|config| config.ensemble_provider = true);
    let ask = |auth: &Auth, name: Option<&[u8]>| auth.authenticate("ensemble", name, PEER, &peer());
    assert_eq!(ask(&named, Some(b"test")), Ok(peer()), "nothing is proved by it");
    assert_eq!(ask(&named, Some(b"west")), Err(Refusal::OtherEnsemble));
    assert_eq!(ask(&named, None), Ok(peer()));
    assert_eq!(ask(&any, Some(b"west")), Ok(peer()));
    assert_eq!(ask(&auth(|_| ()), Some(b"test")), Err(Refusal::Failed));
    let entry = [Acl::new(ALL, "ensemble", "test")];
    assert_eq!(named.fixup(&entry, &peer()), Err(ErrorCode::InvalidAcl));
}

#[test]
fn identities_are_bounded() {
    let auth = full();
    let mut identities = peer();
    let failed = (0..=limits::IDENTITIES_MAX).any(|i| {
        let credentials = format!("u{i}:p");
        match auth.authenticate("digest", Some(credentials.as_bytes()), PEER, &identities) {
            Ok(more) => {
                identities = more;
                false
            }
            Err(_) => true,
        }
    });
    assert!(failed);
    assert_eq!(identities.len(), limits::IDENTITIES_MAX);
}

#[test]
fn lists_are_stored_without_duplicates_and_with_auth_expanded() {
    let auth = full();
    let joe = digest(&auth, "joe:secret");
    let world = Acl::new(READ, "world", "anyone");
    let own = Acl::new(ALL, "auth", "");
    let stored = auth.fixup(&[world.clone(), own.clone(), world.clone()], &joe).unwrap();
    assert_eq!(*stored, [world, Acl::new(ALL, "digest", &joe[1].id)]);
    let own = [own];
    assert_eq!(auth.fixup(&own, &peer()), Err(ErrorCode::InvalidAcl), "an address isn't proved");
    assert_eq!(*auth.fixup(&own, &sasl(&auth, "bob")).unwrap(), [Acl::new(ALL, "sasl", "bob")]);
    let bob = auth.with_certificate_id(&peer(), "CN=bob").unwrap();
    assert_eq!(*auth.fixup(&own, &bob).unwrap(), [Acl::new(ALL, "x509", "CN=bob")]);
    let root = digest(&auth, "super:test");
    assert_eq!(*auth.fixup(&own, &root).unwrap(), [Acl::new(ALL, "digest", SUPER)], "not super");
    let without = self::auth(|_| ());
    assert_eq!(without.fixup(&own, &sasl(&without, "bob")), Err(ErrorCode::InvalidAcl));
    assert_eq!(auth.fixup(&[], &joe), Err(ErrorCode::InvalidAcl));
}

#[rstest]
#[case("ip", "10.0.0.0/8", true, true)]
#[case("digest", "a:b", true, true)]
#[case("sasl", "bob", false, true)]
#[case("sasl", "a/b/c@R", false, false)]
#[case("x509", "CN=bob", false, true)]
#[case("x509", "bob", false, false)]
#[case("world", "somebody", false, false)]
#[case("super", "", false, false)]
#[case("ensemble", "x", false, false)]
#[case("digest", "joe", false, false)]
#[case("ip", "joe", false, false)]
#[case("", "", false, false)]
fn entries_are_valid_by_what_is_served(
    #[case] scheme: &str,
    #[case] id: &str,
    #[case] by_default: bool,
    #[case] with_providers: bool,
) {
    let entry = [Acl::new(ALL, scheme, id)];
    assert_eq!(auth(|_| ()).fixup(&entry, &peer()).is_ok(), by_default);
    assert_eq!(full().fixup(&entry, &peer()).is_ok(), with_providers);
}

#[test]
fn cve_2019_0201_hashes_are_masked() {
    let acl = [Acl::new(ALL, "digest", "joe:hash:x"), Acl::new(READ, "ip", "::1")];
    assert_eq!(masked(&acl), [Acl::new(ALL, "digest", "joe:x"), Acl::new(READ, "ip", "::1")]);
}

#[test]
fn users_are_named_without_their_hashes() {
    let auth = full();
    let root = digest(&auth, "super:test");
    let names: Vec<_> = root.iter().map(|identity| auth.user_name(identity)).collect();
    assert_eq!(names, ["127.0.0.1", "", "super"], "the scheme super has no provider");
    assert_eq!(auth.user_name(&sasl(&auth, "bob")[1]), "bob");
    let without = self::auth(|_| ());
    assert_eq!(without.user_name(&sasl(&without, "bob")[1]), "");
}

#[test]
fn cve_2023_44981_enforced_authentication_fails_closed() {
    let enforcing = |schemes: &[&str]| {
        auth(|config| {
            config.sasl_provider = true;
            config.enforced_schemes = schemes.iter().map(|&scheme| scheme.to_owned()).collect();
        })
    };
    let auth = enforcing(&[]);
    assert!(auth.admits(&peer()) && auth.admits(&[]));
    let auth = enforcing(&["sasl"]);
    assert!(!auth.admits(&peer()));
    assert!(!auth.admits(&[]));
    assert!(!auth.admits(&digest(&auth, "sasl:bob")));
    assert!(auth.admits(&sasl(&auth, "bob")));
    assert!(auth.admits(&sasl(&auth, "bob@")), "a name without an instance is a name");
    let auth = enforcing(&["digest", "sasl"]);
    assert!(auth.admits(&digest(&auth, "a:b")));
    assert!(auth.admits(&sasl(&auth, "bob")));
}

#[test]
fn what_becomes_of_a_client_that_fails_sasl() {
    let after = |keep: bool, schemes: &[&str]| {
        auth(|config| {
            config.keep_sasl_failed_clients = keep;
            config.enforced_schemes = schemes.iter().map(|&scheme| scheme.to_owned()).collect();
        })
        .after_failed_sasl()
    };
    let required = Some(ErrorCode::SessionClosedRequireSaslAuth);
    assert_eq!(after(false, &[]), Some(ErrorCode::AuthFailed));
    assert_eq!(after(true, &[]), None);
    assert_eq!(after(false, &["sasl"]), required);
    assert_eq!(after(true, &["sasl"]), required);
    assert_eq!(after(true, &["digest"]), None);
}

#[test]
fn cve_2026_24308_no_password_is_printed() {
    let auth = auth(|config| {
        config.super_digest = Some(Secret::new("super:hunter2"));
        config.sasl_users =
            Some(vec![SaslUser { name: "bob".to_owned(), password: Secret::new("hunter2") }]);
    });
    let shown = format!("{auth:?} {:?}", auth.begin_sasl([0; NONCE_BYTES]));
    assert!(shown.contains("bob") && !shown.contains("hunter2"), "{shown}");
}
