//! Access control lists: who may do what with a znode.

use std::sync::{Arc, LazyLock};

use super::jute::{JuteError, Reader, Writer};

/// Permission to read data and list children.
pub const READ: i32 = 1;
/// Permission to set data.
pub const WRITE: i32 = 2;
/// Permission to create children.
pub const CREATE: i32 = 4;
/// Permission to delete children.
pub const DELETE: i32 = 8;
/// Permission to set the ACL.
pub const ADMIN: i32 = 16;
/// All permissions.
pub const ALL: i32 = 31;

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Acl {
    /// The permissions granted, a sum of [`READ`], [`WRITE`], [`CREATE`], [`DELETE`] and [`ADMIN`].
    pub perms: i32,
    /// How the identity was proved: `world`, `digest`, `ip`, ...
    pub scheme: Box<str>,
    /// The identity, in the form that the scheme gives it.
    pub id: Box<str>,
}

impl Acl {
    /// An entry.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Self {
        Acl { perms, scheme: scheme.into(), id: id.into() }
    }

    /// The fewest bytes that an entry takes.
    pub const ENCODED_MIN: usize = 12;

    /// Reads an entry as Java does: what is not UTF-8 is replaced, null is the empty string.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, JuteError> {
        let perms = reader.int()?;
        let mut text = || -> Result<Box<str>, JuteError> {
            Ok(String::from_utf8_lossy(reader.buffer()?.unwrap_or_default()).into())
        };
        Ok(Acl { perms, scheme: text()?, id: text()? })
    }

    /// Writes the entry.
    pub fn write(&self, out: &mut impl Writer) {
        out.write_int(self.perms);
        out.write_string(&self.scheme);
        out.write_string(&self.id);
    }
}

/// An access control list, shared by all znodes that have it.
pub type AclList = Arc<[Acl]>;

/// Everybody may do everything (`ZooDefs.Ids.OPEN_ACL_UNSAFE`).
pub fn open_acl_unsafe() -> AclList {
    static LIST: LazyLock<AclList> =
        LazyLock::new(|| Arc::from([Acl::new(ALL, "world", "anyone")]));
    LIST.clone()
}

/// Everybody may read (`ZooDefs.Ids.READ_ACL_UNSAFE`).
pub fn read_acl_unsafe() -> AclList {
    static LIST: LazyLock<AclList> =
        LazyLock::new(|| Arc::from([Acl::new(READ, "world", "anyone")]));
    LIST.clone()
}

/// Reads a list, `None` for null.
pub fn read_list(reader: &mut Reader<'_>) -> Result<Option<Vec<Acl>>, JuteError> {
    let Some(count) = reader.vector(Acl::ENCODED_MIN)? else { return Ok(None) };
    (0..count).map(|_| Acl::read(reader)).collect::<Result<_, _>>().map(Some)
}

/// Writes a list.
pub fn write_list(list: &[Acl], out: &mut impl Writer) {
    out.write_count(list.len());
    for acl in list {
        acl.write(out);
    }
}
