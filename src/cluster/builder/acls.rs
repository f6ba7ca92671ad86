//! The ACLs of an image in the making.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ImageBuilder, Problem, Read, Znode, put};
use crate::cluster::acls::{Acls, ResourceAcls};
use crate::cluster::layout::acl::{PatternType, ResourcePattern, ResourceType, decode_acls};
use crate::cluster::layout::paths;

impl ImageBuilder {
    /// Whether ACLs are read at all. An image without them is not one that allows everything: it
    /// does not know.
    pub fn follow_acls(&mut self, follow: bool) {
        if self.image.acls.is_some() != follow {
            self.image.acls = follow.then(Arc::default);
            self.changed = true;
        }
    }

    /// The children of `/kafka-acl/<type>` or of `/kafka-acl-extended/prefixed/<type>`; `None` if the
    /// coordinator does not tell them.
    pub fn acl_directory(
        &mut self,
        pattern: PatternType,
        kind: ResourceType,
        names: Option<&BTreeSet<String>>,
    ) {
        if names.is_none() {
            let reason = "not allowed to list it: whatever has this type is denied to everybody \
                          but super users";
            let path = paths::acl_directory(pattern, kind);
            self.problems.push(Problem { path, reason: reason.to_owned() });
        }
        let Some(acls) = &self.image.acls else { return };
        let directory = acls.directory(pattern, kind);
        let known = directory.resources.keys();
        let gone: Vec<Arc<str>> = known
            .filter(|name| !names.is_some_and(|names| names.contains(&***name)))
            .cloned()
            .collect();
        if gone.is_empty() && directory.unlisted == names.is_none() {
            return;
        }
        let directory = self.acls().directory_mut(pattern, kind);
        directory.unlisted = names.is_none();
        let resources = Arc::make_mut(&mut directory.resources);
        for name in &gone {
            resources.remove(name);
        }
        self.changed = true;
    }

    /// The ACLs of the resources of a name.
    pub fn acl(&mut self, resource: &ResourcePattern, read: &Read) {
        let ResourcePattern { pattern, kind, name } = resource;
        let denies = |reason: &str| {
            let path = paths::acl(*pattern, *kind, name);
            let reason = format!("{reason}: what it is about is denied to all but super users");
            Problem { path, reason }
        };
        let znode: Option<&Znode> = match read {
            Read::Found(znode) => Some(znode),
            Read::Absent | Read::Forbidden => None,
        };
        let acls = match (read, znode.map(|znode| decode_acls(&znode.data))) {
            (_, Some(Ok(entries))) => (!entries.is_empty()).then_some(ResourceAcls::Known(entries)),
            (_, Some(Err(error))) => {
                self.problems.push(denies(&error.to_string()));
                Some(ResourceAcls::Unknown)
            }
            (Read::Forbidden, None) => {
                self.problems.push(denies("not allowed to read it"));
                Some(ResourceAcls::Unknown)
            }
            (_, None) => None,
        };
        let Some(known) = &self.image.acls else { return };
        let known = known.directory(*pattern, *kind).resources.get(name.as_str());
        if known.map(|known| &**known) == acls.as_ref() {
            return;
        }
        let resources = &mut self.acls().directory_mut(*pattern, *kind).resources;
        put(resources, Arc::from(name.as_str()), acls.map(Arc::new));
        self.changed_at(znode);
    }

    fn acls(&mut self) -> &mut Acls {
        Arc::make_mut(self.image.acls.get_or_insert_default())
    }
}
