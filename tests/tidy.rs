//! The form of the repository, checked as code is: first lines, lengths, and what never goes in.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

/// A longer file has two reasons to exist.
const LINES_MAX: usize = 900;

/// Files of the repository below `dir` with one of the extensions; build output and hidden folders
/// are left out.
fn files(dir: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let built = ["target", "doorkeeper-data", "node_modules", "corpus", "artifacts"];
            if !name.starts_with('.') && !built.contains(&name.as_str()) {
                files(&path, extensions, found);
            }
        } else if path.extension().is_some_and(|e| extensions.contains(&e.to_str().unwrap())) {
            found.push(path);
        }
    }
}

/// The repository's files with one of the extensions, by their path from its root.
fn repository(extensions: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(root, extensions, &mut found);
    assert!(found.len() > 5, "the repository's files are not where this test looks");
    found
        .into_iter()
        .map(|path| {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            (path.strip_prefix(root).unwrap().display().to_string(), text)
        })
        .collect()
}

/// Fails with every complaint, not only the first.
fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let complaints: Vec<String> = repository(&["rs"])
        .into_iter()
        .filter(|(_, text)| {
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("//! ").is_none_or(|said| said.len() < 10)
        })
        .map(|(path, _)| format!("{path}: the first line must be //! and say what the file is for"))
        .collect();
    report(&complaints);
}

#[test]
fn no_rust_file_is_too_long() {
    let complaints: Vec<String> = repository(&["rs"])
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines, more than {LINES_MAX}"))
        .collect();
    report(&complaints);
}

#[test]
fn no_test_is_switched_off() {
    // Written in two parts, so that this file does not complain of itself.
    let attributes = [concat!("#[", "ignore"), concat!("#[should", "_panic")];
    let mut complaints = Vec::new();
    for (path, text) in repository(&["rs"]) {
        for (index, line) in text.lines().enumerate() {
            if attributes.iter().any(|attribute| line.trim_start().starts_with(attribute)) {
                complaints.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    report(&complaints);
}

#[test]
fn nothing_names_one_machine() {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/home", "/"),
        concat!("/Us", "ers/"),
        concat!("index.", "crates.io"),
        concat!("repo1.", "maven.org"),
        concat!("proxy.", "golang.org"),
        concat!("registry.", "npmjs.org"),
    ];
    let mut complaints = Vec::new();
    for (path, text) in repository(&["rs", "md", "toml", "sh", "py", "yml", "json", "go", "xml"]) {
        for (index, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                complaints.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    report(&complaints);
}
