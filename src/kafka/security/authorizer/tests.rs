//! Tests of what callers may do, against a naive reading of the rules too.

use proptest::prelude::*;

use super::*;
use crate::cluster::layout::acl::AclEntry;

/// Type, pattern, name, principal, host, permission, operation.
type Row<'a> = (ResourceType, PatternType, &'a str, &'a str, &'a str, Permission, Operation);

use Operation::{All, Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, Read, Write};
use PatternType::{Literal, Prefixed};
use Permission::{Allow, Deny};
use ResourceType::{Cluster, Group, Topic};

fn acls(rows: &[Row<'_>]) -> Acls {
    let mut acls = Acls::default();
    for (kind, pattern, name, principal, host, permission, operation) in rows {
        let entry = AclEntry {
            principal: (*principal).to_owned(),
            host: (*host).to_owned(),
            operation: Some(*operation),
            permission: Some(*permission),
        };
        let resources = Arc::make_mut(&mut acls.directory_mut(*pattern, *kind).resources);
        let known = resources
            .entry(Arc::from(*name))
            .or_insert_with(|| Arc::new(ResourceAcls::Known(Vec::new())));
        match Arc::make_mut(known) {
            ResourceAcls::Known(entries) => entries.push(entry),
            ResourceAcls::Unknown => {}
        }
    }
    acls
}

fn caller(name: &str, host: &str) -> Caller {
    Caller { principal: Principal::user(name), host: host.parse().unwrap() }
}

fn may(rows: &[Row<'_>], name: &str, operation: Operation, kind: ResourceType, of: &str) -> bool {
    let acls = acls(rows);
    let authority = Authority::new(&acls, &AclRules::default(), &caller(name, "10.0.0.1"));
    authority.allows(operation, kind, of)
}

#[test]
fn what_nobody_wrote_about_is_denied_unless_that_is_turned_round() {
    let rows = [(Topic, Literal, "t", "User:a", "*", Allow, Read)];
    assert!(!may(&[], "a", Read, Topic, "t"));
    assert!(may(&rows, "a", Read, Topic, "t"));
    assert!(!may(&rows, "a", Read, Topic, "u") && !may(&rows, "a", Read, Group, "t"));
    let acls = acls(&rows);
    let rules = AclRules { allow_without_acls: true, ..AclRules::default() };
    let authority = Authority::new(&acls, &rules, &caller("b", "10.0.0.1"));
    assert!(authority.allows(Write, Topic, "u") && authority.allows_on_cluster(Alter));
    assert!(!authority.allows(Write, Topic, "t"), "somebody wrote about it");
}

#[test]
fn deny_wins() {
    for (pattern, name) in [(Literal, "t"), (Literal, "*"), (Prefixed, "t")] {
        let rows = [
            (Topic, Literal, "t", "User:a", "*", Allow, All),
            (Topic, pattern, name, "User:a", "*", Deny, Write),
        ];
        assert!(!may(&rows, "a", Write, Topic, "t"));
        assert!(may(&rows, "a", Read, Topic, "t"));
        assert!(may(&rows, "a", Describe, Topic, "t"), "denying implies nothing");
        let rows = [rows[0], (Topic, pattern, name, "User:*", "*", Deny, All)];
        assert!(!may(&rows, "a", Read, Topic, "t"));
    }
}

#[test]
fn some_operations_imply_others() {
    for operation in Operation::ALL {
        let rows = [(Topic, Literal, "t", "User:a", "*", Allow, operation)];
        for asked in Operation::ALL {
            let implied = match asked {
                Describe => matches!(operation, Read | Write | Delete | Alter),
                DescribeConfigs => operation == AlterConfigs,
                _ => false,
            };
            let expected = operation == asked || operation == All || implied;
            assert_eq!(may(&rows, "a", asked, Topic, "t"), expected, "{operation:?} {asked:?}");
        }
    }
}

#[test]
fn patterns_fit_names() {
    let fits = |pattern, name, of| {
        may(&[(Topic, pattern, name, "User:a", "*", Allow, Read)], "a", Read, Topic, of)
    };
    assert!(fits(Literal, "*", "anything") && fits(Literal, "*", ""));
    assert!(fits(Prefixed, "ab", "abc") && fits(Prefixed, "ab", "ab"));
    assert!(!fits(Prefixed, "ab", "a") && !fits(Prefixed, "ab", "b-ab"));
    assert!(!fits(Prefixed, "*", "anything"), "it is a character here");
    assert!(fits(Prefixed, "*", "*x"));
    assert!(fits(Prefixed, "ä", "äb") && !fits(Prefixed, "ä", "öb"));
    assert!(!fits(Literal, "ab", "abc"));
}

#[test]
fn principals_and_hosts_are_compared_as_text() {
    let fits = |principal: &str, host: &str, who: &Caller| {
        let acls = acls(&[(Topic, Literal, "t", principal, host, Allow, Read)]);
        Authority::new(&acls, &AclRules::default(), who).allows(Read, Topic, "t")
    };
    let alice = caller("alice", "10.0.0.1");
    assert!(fits("User:alice", "10.0.0.1", &alice) && fits("User:*", "*", &alice));
    for (principal, host) in [
        ("User:Alice", "*"),
        ("Group:alice", "*"),
        ("User:alice", "10.0.0.2"),
        ("User:alice", "10.0.0.0/8"),
        ("*", "*"),
    ] {
        assert!(!fits(principal, host, &alice), "{principal} {host}");
    }
    let other = Principal { kind: "Group".into(), name: "x".into() };
    let other = Caller { principal: other, host: "::1".parse().unwrap() };
    assert!(fits("User:*", "0:0:0:0:0:0:0:1", &other), "everybody, of any kind");
    assert!(!fits("Group:x", "::1", &other), "Java leaves no zeros out");
    assert!(fits(
        "Group:x",
        "2001:db8:0:0:0:0:0:a",
        &Caller { host: "2001:db8::a".parse().unwrap(), ..other.clone() }
    ));
    assert!(fits("User:alice", "10.0.0.1", &caller("alice", "::ffff:10.0.0.1")));
    let dn = "CN=a:b,OU=c";
    assert!(fits(&format!("User:{dn}"), "*", &caller(dn, "::1")));
}

#[test]
fn super_users_may_do_everything() {
    let users = AclRules::super_users(" User:root; User:CN=a,O=b:c ;").unwrap();
    assert_eq!(users, [Principal::user("root"), Principal::user("CN=a,O=b:c")].into());
    assert_eq!(AclRules::super_users(""), Ok(BTreeSet::new()));
    assert_eq!(AclRules::super_users("User:a;root"), Err("root".to_owned()));
    assert_eq!(AclRules::super_users("User:a;;User:b"), Err(String::new()));
    let rules = AclRules { super_users: users, ..AclRules::default() };
    let mut acls = acls(&[(Topic, Literal, "*", "User:*", "*", Deny, All)]);
    acls.directory_mut(Literal, Topic).unlisted = true;
    let root = Authority::new(&acls, &rules, &caller("root", "10.0.0.1"));
    assert!(root.is_super_user() && root.allows(Delete, Topic, "t"));
    assert_eq!(root.rights(Topic, "t").of(0xff << 3), 0xff << 3);
    assert_eq!(root.in_order(Topic).rights("t"), root.rights(Topic, "t"));
    let other = Authority::new(&acls, &rules, &caller("Root", "10.0.0.1"));
    assert!(!other.is_super_user() && !other.allows(Delete, Topic, "t"));
}

#[test]
fn what_could_not_be_read_denies() {
    let all = (Topic, Literal, "*", "User:*", "*", Allow, All);
    let allowed = |acls: &Acls, name: &str| {
        let rules = AclRules { allow_without_acls: true, ..AclRules::default() };
        let authority = Authority::new(acls, &rules, &caller("a", "10.0.0.1"));
        let rights = authority.rights(Topic, name);
        assert_eq!(authority.in_order(Topic).rights(name), rights);
        assert_eq!(rights.of(Describe.bit()) != 0, rights.allow(Describe));
        rights.allow(Describe)
    };
    let with = |pattern, name: &str| {
        let mut acls = acls(&[all]);
        let resources = Arc::make_mut(&mut acls.directory_mut(pattern, Topic).resources);
        resources.insert(name.into(), Arc::new(ResourceAcls::Unknown));
        acls
    };
    assert!(allowed(&acls(&[all]), "t") && allowed(&acls(&[]), "t"));
    assert!(!allowed(&with(Literal, "t"), "t") && allowed(&with(Literal, "t"), "u"));
    assert!(!allowed(&with(Prefixed, "t"), "tt") && allowed(&with(Prefixed, "t"), "u"));
    assert!(!allowed(&with(Literal, "*"), "t"));
    for pattern in PatternType::ALL {
        let mut acls = acls(&[all]);
        acls.directory_mut(pattern, Topic).unlisted = true;
        assert!(!allowed(&acls, "t"));
    }
}

#[test]
fn rights_are_told_as_bits() {
    let acls = acls(&[
        (Topic, Literal, "t", "User:a", "*", Allow, Read),
        (Topic, Prefixed, "t", "User:a", "*", Allow, AlterConfigs),
        (Topic, Literal, "*", "User:*", "*", Deny, AlterConfigs),
        (Cluster, Literal, CLUSTER_NAME, "User:a", "*", Allow, Create),
    ]);
    let authority = Authority::new(&acls, &AclRules::default(), &caller("a", "10.0.0.1"));
    let bits = authority.rights(Topic, "t").of(!0);
    assert_eq!(bits, Read.bit() | Describe.bit() | DescribeConfigs.bit());
    assert!(authority.allows_on_cluster(Create) && !authority.allows_on_cluster(Describe));
}

const NAMES: [&str; 9] = ["*", "a", "aa", "ab", "ab!", "abc", "b", "ä", "äb"];
const OPERATIONS: [Operation; 5] = [All, Read, Describe, Alter, DescribeConfigs];

/// By the words of the rules, one entry after the other.
fn naive(rows: &[Row<'_>], without: bool, who: &Caller, asked: Operation, name: &str) -> bool {
    let fitting: Vec<&Row<'_>> = rows
        .iter()
        .filter(|(kind, pattern, resource, ..)| {
            let fits = match pattern {
                Literal => *resource == "*" || *resource == name,
                Prefixed => name.starts_with(resource),
            };
            *kind == Topic && fits
        })
        .collect();
    if fitting.is_empty() {
        return without;
    }
    let about = |row: &Row<'_>, permission, operation| {
        let (_, _, _, principal, host, is, of) = row;
        (*principal == "User:*" || *principal == who.principal.to_string())
            && (*host == "*" || *host == who.host.to_string())
            && *is == permission
            && (*of == All || *of == operation)
    };
    let implying: &[Operation] = match asked {
        Describe => &[Describe, Read, Write, Delete, Alter],
        DescribeConfigs => &[DescribeConfigs, AlterConfigs],
        _ => &[asked],
    };
    let denied = fitting.iter().any(|row| about(row, Deny, asked));
    let allowed = implying.iter().any(|by| fitting.iter().any(|row| about(row, Allow, *by)));
    !denied && allowed
}

fn rows() -> impl Strategy<Value = Vec<Row<'static>>> {
    let row = (
        prop_oneof![9 => Just(Topic), 1 => Just(Group)],
        prop_oneof![Just(Literal), Just(Prefixed)],
        proptest::sample::select(&NAMES[..]),
        prop_oneof![Just("User:a"), Just("User:b"), Just("User:*")],
        prop_oneof![Just("*"), Just("10.0.0.1"), Just("10.0.0.2")],
        prop_oneof![2 => Just(Allow), 1 => Just(Deny)],
        proptest::sample::select(&OPERATIONS[..]),
    );
    proptest::collection::vec(row, 0..12)
}

proptest! {
    #[test]
    fn decisions_are_those_of_a_naive_reading(rows in rows(), without: bool) {
        let acls = acls(&rows);
        let rules = AclRules { allow_without_acls: without, ..AclRules::default() };
        for who in [caller("a", "10.0.0.1"), caller("c", "10.0.0.2")] {
            let authority = Authority::new(&acls, &rules, &who);
            let mut in_order = authority.in_order(Topic);
            let mut names = [&NAMES[..], &["", "a!", "abcd", "ac", "z", "äa"]].concat();
            names.sort_unstable();
            for name in names {
                let rights = authority.rights(Topic, name);
                prop_assert_eq!(in_order.rights(name), rights, "{}", name);
                for asked in OPERATIONS {
                    let expected = naive(&rows, without, &who, asked, name);
                    prop_assert_eq!(rights.allow(asked), expected, "{:?} {}", asked, name);
                }
            }
        }
    }
}
