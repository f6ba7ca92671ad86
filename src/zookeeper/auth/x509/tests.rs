//! Against what OpenJDK 17 prints and takes.

use crate::net::tls::distinguished_name::{attribute, is_distinguished_name};

#[test]
fn values_are_written_as_java_writes_them() {
    let cn = "2.5.4.3";
    for (oid, tag, value, expected) in [
        (cn, 12, &b"joe"[..], "CN=joe"),
        (cn, 12, b"a,b+c\"d\\e<f>g;h=i#j", r#"CN=a\,b\+c\"d\\e\<f\>g\;h\=i\#j"#),
        (cn, 12, b" lead trail ", "CN=\\ lead trail\\ "),
        (cn, 12, "äö😀".as_bytes(), "CN=äö😀"),
        (cn, 19, b"", "CN="),
        (cn, 12, b"a\0b", "CN=a\\00b"),
        (cn, 12, b"a\nb", "CN=a\nb"),
        (cn, 12, b"a  b", "CN=a  b"),
        (cn, 12, b" \rab", "CN=\\ \\\rab"),
        (cn, 12, b"  \r\r", "CN=\\ \\ \\\r\\\r"),
        (cn, 30, b"\0a\0b", "CN=\\00a\\00b"),
        (cn, 20, b"\xe4AB", "CN=\u{fffd}AB"),
        (cn, 4, b"ABC", "CN=#0403414243"),
        (cn, 2, b"ABC", "CN=#0203414243"),
        ("2.5.4.8", 19, b"State", "ST=State"),
        ("2.5.4.9", 19, b"Main 1", "STREET=Main 1"),
        ("0.9.2342.19200300.100.1.25", 22, b"example", "DC=example"),
        ("0.9.2342.19200300.100.1.1", 19, b"7", "UID=7"),
        ("2.5.4.12", 19, b"Boss", "2.5.4.12=#1304426f7373"),
        ("2.5.4.5", 19, b"9", "2.5.4.5=#130139"),
        ("1.2.840.113549.1.9.1", 22, b"joe@x.org", "1.2.840.113549.1.9.1=#16096a6f6540782e6f7267"),
    ] {
        assert_eq!(attribute(oid, tag, false, value), expected);
    }
    let long = attribute("1.2.3", 12, false, &[b'a'; 200]);
    assert!(long.starts_with("1.2.3=#0c81c861"), "{long}");
}

#[test]
fn an_acl_may_hold_what_java_reads() {
    for id in [
        "",
        "CN=joe, OU=Ops+O=Acme, C=DE",
        r#"CN=a\,b\+c\"d\\e\<f\>g\;h\=i\#j"#,
        "CN=\\ lead trail\\ ",
        "EMAILADDRESS=joe@x.org, CN=joe",
        "DC=org,DC=example,UID=7,STREET=Main 1,L=Town,ST=State,T=Boss,SERIALNUMBER=9",
        "CN=äö😀",
        "CN=\"quo,ted\"",
        "CN=\"a\" ",
        "CN=",
        "CN= ",
        "O=x,CN=",
        "CN=a\\00b",
        "CN=a\\41b",
        "2.5.4.3=x,1.2.3.4=#0c0161",
        "CN=a;O=b",
        "cn=a,o=b",
        "OID.2.5.4.3=a",
        "CN=a=b",
        "CN = joe , O = x",
        "S=x",
        "1.2=x",
        "CN=a  b",
        "CN=a\nb",
        "CN=a#b",
        "CN=*.x.org",
        "CN=a/b",
        "GIVENNAME=a,SURNAME=b,INITIALS=c,GENERATION=d,DNQ=e,DNQUALIFIER=f,IP=1.2.3.4,EMAIL=a@b",
    ] {
        assert!(is_distinguished_name(id), "{id}");
    }
}

#[test]
fn an_acl_may_not_hold_what_java_refuses() {
    for id in [
        "anyone",
        "joe",
        "CN",
        "=x",
        "CN=a,",
        ",CN=a",
        "CN=a,,O=b",
        "XX=a",
        "CN=#lead",
        "CN=a<b",
        "CN=a>b",
        "CN=#zz",
        "CN=\"a",
        "CN=a\"b",
        "1.99.3=x",
        "9.1=x",
        "CN=a\\zb",
        "CN=a+",
        "+CN=a",
        "CN=a\\",
        "CN=x,OID.=y",
        "X=",
        "1..2=a",
        "1.2.=a",
        ".1=a",
        "1.2.x=a",
        "CN=\"a\"b",
        "CN=#",
        "CN=#0",
        "CN=#0c",
        "CN=#0c0161 ",
    ] {
        assert!(!is_distinguished_name(id), "{id}");
    }
}

#[test]
fn any_text_is_read_or_refused() {
    let good = "CN=\"a\\\"b\", 1.2.3=#0c0161+O=x\\,y; OU=\\41";
    for cut in 0..good.len() {
        is_distinguished_name(&good[..cut]);
        for replacement in ["\\", "\"", "#", "=", ",", "é"] {
            is_distinguished_name(&format!("{}{replacement}{}", &good[..cut], &good[cut + 1..]));
        }
    }
}
