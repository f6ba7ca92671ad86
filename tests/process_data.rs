//! `doorkeeper data` as an operator uses it, beside a server and without one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use support::{Server, output};

/// Exit code, standard output and standard error.
fn data(arguments: &[&str], dir: &Path) -> (Option<i32>, String, String) {
    let mut all = vec!["data"];
    all.extend(arguments);
    all.push(dir.to_str().unwrap());
    let output = output(&all);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_directory_is_looked_into_when_no_server_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let zoo_cfg = dir.path().join("zoo.cfg");
    let data_dir = dir.path().join("data");
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=2000\n",
        data_dir.display()
    );
    std::fs::write(&zoo_cfg, text).unwrap();
    let server = Server::start(&[&zoo_cfg]);
    for word in ["inspect", "dump", "verify", "repair"] {
        let (code, stdout, stderr) = data(&[word], &data_dir);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{word}: {stderr}");
        assert!(stderr.contains("another process uses this data directory"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    server.stop();
    let (code, stdout, stderr) = data(&["inspect"], &data_dir);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("written last by: doorkeeper\n"), "{stdout}");
    let (code, stdout, _) = data(&["verify", "--for-zookeeper"], &data_dir);
    assert!(code == Some(0) && stdout.ends_with("ZooKeeper would start on them\n"), "{stdout}");
    std::fs::write(data_dir.join("version-2/snapshot.7"), "ZKSN").unwrap();
    let (code, stdout, _) = data(&["verify"], &data_dir);
    assert!(code == Some(1) && stdout.contains("snapshot.7"), "{stdout}");
    let (code, _, stderr) = data(&["inspect"], &dir.path().join("nowhere"));
    assert!(code == Some(1) && stderr.contains("no such directory"), "{stderr}");
}
