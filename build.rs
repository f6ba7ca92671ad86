//! Puts the commit into release builds. A debug build says that it is one instead: asking git each
//! time would compile the whole crate again after every commit.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DOORKEEPER_COMMIT");
    let commit = match std::env::var("DOORKEEPER_COMMIT") {
        // A build outside git, such as a package's, can say what it builds.
        Ok(commit) if !commit.is_empty() => commit,
        _ if std::env::var("PROFILE").as_deref() != Ok("release") => "debug build".to_owned(),
        _ => {
            // HEAD names the branch, logs/HEAD grows with every commit, checkout and reset.
            for file in ["HEAD", "logs/HEAD"] {
                if let Some(path) = git(&["rev-parse", "--git-path", file]) {
                    println!("cargo::rerun-if-changed={path}");
                }
            }
            git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
        }
    };
    println!("cargo::rustc-env=DOORKEEPER_COMMIT={commit}");
}
