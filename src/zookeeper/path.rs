//! Which paths a client may write, by ZooKeeper's rules (`PathUtils.validatePath`).

use std::collections::BTreeMap;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(&'static str);

/// Checks a path as `PathUtils.validatePath` does: absolute, no empty, `.` or `..` component, no
/// trailing slash, no control character, nothing outside the Basic Multilingual Plane (Java sees
/// two surrogates there and refuses both), no private use or `U+FFF0..=U+FFFF`.
///
/// # Errors
/// Names the first rule that the path breaks.
pub fn validate(path: &str) -> Result<(), PathError> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(PathError(if path.is_empty() {
            "path is empty"
        } else {
            "path doesn't start with /"
        }));
    };
    if rest.is_empty() {
        return Ok(());
    }
    for component in rest.split('/') {
        match component {
            "" => return Err(PathError("empty node name, or a trailing slash")),
            "." | ".." => return Err(PathError("relative paths are not allowed")),
            _ => {}
        }
    }
    if path.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Ok(());
    }
    if path.chars().any(is_refused) {
        return Err(PathError("invalid character"));
    }
    Ok(())
}

fn is_refused(c: char) -> bool {
    matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

/// The parent of `path`: everything before its last slash, `/` for the nodes below the root.
/// `None` where there is no slash.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

/// How many components `path` has; 0 for the root.
pub fn depth(path: &str) -> usize {
    path.bytes().filter(|b| *b == b'/').count() - usize::from(path == "/")
}

/// The nodes that no client deletes (`ZKDatabase.isSpecialPath`).
pub fn is_special(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}

/// `path` and then every ancestor of it, up to and with `/` (`PathParentIterator`).
pub fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match *path {
        "/" | "" => None,
        path => parent(path),
    })
}

/// The lengths of a set of paths. They say which ancestors of a path can be in the set, so that not
/// each has to be looked up: a path may have half as many ancestors as it has bytes.
#[derive(Debug, Default)]
pub struct Lengths {
    /// How many paths of the set have this length.
    counts: BTreeMap<usize, usize>,
}

impl Lengths {
    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// `path` comes into the set.
    pub fn add(&mut self, path: &str) {
        *self.counts.entry(path.len()).or_default() += 1;
    }

    /// `path`, which is in the set, leaves it.
    pub fn remove(&mut self, path: &str) {
        if let Some(count) = self.counts.get_mut(&path.len()) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&path.len());
            }
        }
    }

    /// `path` and its ancestors up to `/`, the nearest first, but only those that are as long as one
    /// of the set.
    pub fn candidates<'a>(&self, path: &'a str) -> impl Iterator<Item = &'a str> {
        self.counts.range(..=path.len()).rev().filter_map(move |(&length, _)| {
            let (ancestor, rest) = path.split_at_checked(length)?;
            let is_one = rest.is_empty() || ancestor == "/" || rest.starts_with('/');
            (is_one && !ancestor.is_empty()).then_some(ancestor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_path_utils_accepts() {
        for path in ["/", "/a", "/a/b", "/.a", "/a.", "/a..b", "/...", "/a b", "/\u{a0}", "/ä/日本"]
        {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn refuses_what_path_utils_refuses() {
        for path in [
            "",
            "a",
            "a/b",
            "//",
            "/a/",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/.",
            "/a/..",
            "/a/./b",
            "/a/../b",
            "/a\0",
            "/a\u{1}",
            "/a\u{1f}",
            "/a\u{7f}",
            "/a\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{ffff}",
            "/\u{1f600}",
        ] {
            assert!(validate(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn candidates_are_the_ancestors_as_long_as_one_of_the_set() {
        let mut lengths = Lengths::default();
        assert!(lengths.is_empty());
        for path in ["/", "/a", "/b", "/xyz", "/a/b", "/ä/b/c/d"] {
            lengths.add(path);
        }
        let found =
            |lengths: &Lengths, path| lengths.candidates(path).collect::<Vec<_>>().join(" ");
        assert_eq!(found(&lengths, "/a/b/c"), "/a/b /a /");
        assert_eq!(found(&lengths, "/a/b"), "/a/b /a /");
        assert_eq!(found(&lengths, "/"), "/");
        assert_eq!(found(&lengths, "/a/bc"), "/a /", "no part of a name");
        assert_eq!(found(&lengths, "/äöü/xy"), "/", "no part of a character");
        assert_eq!(found(&lengths, ""), "");
        lengths.remove("/a");
        assert_eq!(found(&lengths, "/b/c"), "/b/c /b /", "another one is as long");
        lengths.remove("/b");
        assert_eq!(found(&lengths, "/b/c"), "/b/c /");
    }

    #[test]
    fn parents_and_depth() {
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("a"), None);
        assert_eq!(parent("a/b"), Some("a"));
        assert_eq!((depth("/"), depth("/a"), depth("/a/b")), (0, 1, 2));
        assert_eq!(with_ancestors("/a/b").collect::<Vec<_>>(), ["/a/b", "/a", "/"]);
        assert_eq!(with_ancestors("/").collect::<Vec<_>>(), ["/"]);
    }
}
