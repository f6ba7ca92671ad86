//! What ZooKeeper tells about a znode beside its data: `Stat` on the wire, `StatPersisted` on disk.

use super::jute::{JuteError, Reader, Writer};

/// The owner that marks a container node (`EphemeralType.CONTAINER_EPHEMERAL_OWNER`).
pub const CONTAINER_OWNER: i64 = i64::MIN;

const TTL_MASK: i64 = 0xffff_ff00_0000_0000_u64.cast_signed();
const TTL_MARK: i64 = 0xff00_0000_0000_0000_u64.cast_signed();

/// The longest time to live of a node, in milliseconds.
pub const TTL_MAX: i64 = !TTL_MASK;

/// What the field `ephemeral_owner` makes of a node (`EphemeralType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Nobody owns it: a persistent node.
    Persistent,
    /// Deleted with this session.
    Session(i64),
    /// Deleted some time after its last child.
    Container,
    /// Deleted when it has no children and has not been changed for this many milliseconds.
    Ttl(i64),
}

impl Ownership {
    /// What `ephemeral_owner` stands for.
    pub fn of(ephemeral_owner: i64) -> Self {
        match ephemeral_owner {
            0 => Ownership::Persistent,
            CONTAINER_OWNER => Ownership::Container,
            owner if owner & TTL_MASK == TTL_MARK => Ownership::Ttl(owner & TTL_MAX),
            owner => Ownership::Session(owner),
        }
    }

    /// The field's value for a time to live, in milliseconds (at most [`TTL_MAX`]).
    pub fn ttl_owner(ttl: i64) -> i64 {
        TTL_MARK | (ttl & TTL_MAX)
    }
}

/// What a client sees of a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// The zxid that created the node.
    pub czxid: i64,
    /// The zxid that last set its data.
    pub mzxid: i64,
    /// When it was created, in milliseconds since the epoch.
    pub ctime: i64,
    /// When its data was last set, in milliseconds since the epoch.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How often its children changed.
    pub cversion: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// The session that owns it, or 0.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// Number of children.
    pub num_children: i32,
    /// The zxid that last created or deleted a child.
    pub pzxid: i64,
}

impl Stat {
    /// Bytes on the wire.
    pub const ENCODED: usize = 68;

    /// Reads it.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(Stat {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            data_length: reader.int()?,
            num_children: reader.int()?,
            pzxid: reader.long()?,
        })
    }

    /// Writes it.
    pub fn write(&self, out: &mut impl Writer) {
        out.write_long(self.czxid);
        out.write_long(self.mzxid);
        out.write_long(self.ctime);
        out.write_long(self.mtime);
        out.write_int(self.version);
        out.write_int(self.cversion);
        out.write_int(self.aversion);
        out.write_long(self.ephemeral_owner);
        out.write_int(self.data_length);
        out.write_int(self.num_children);
        out.write_long(self.pzxid);
    }
}

/// What is kept of a znode's [`Stat`]. `cversion` counts the children ever created, which is not the
/// number that a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatPersisted {
    /// The zxid that created the node.
    pub czxid: i64,
    /// The zxid that last set its data.
    pub mzxid: i64,
    /// When it was created, in milliseconds since the epoch.
    pub ctime: i64,
    /// When its data was last set, in milliseconds since the epoch.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How many children were ever created.
    pub cversion: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// See [`Ownership`].
    pub ephemeral_owner: i64,
    /// The zxid that last created or deleted a child.
    pub pzxid: i64,
}

impl StatPersisted {
    /// Bytes on disk.
    pub const ENCODED: usize = 60;

    /// The stat of a node that `zxid` creates at `time`.
    pub fn created(zxid: i64, time: i64, ephemeral_owner: i64) -> Self {
        StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner,
            pzxid: zxid,
        }
    }

    /// What a client sees of a node with this stat, `data_length` bytes and `num_children` children.
    pub fn to_stat(&self, data_length: usize, num_children: u32) -> Stat {
        let num_children = num_children.cast_signed();
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            // Each create that is no child any more had its delete, which counts as a change too.
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: match Ownership::of(self.ephemeral_owner) {
                Ownership::Session(session) => session,
                _ => 0,
            },
            data_length: i32::try_from(data_length).unwrap_or(i32::MAX),
            num_children,
            pzxid: self.pzxid,
        }
    }

    /// Reads it.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(StatPersisted {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            pzxid: reader.long()?,
        })
    }

    /// Writes it.
    pub fn write(&self, out: &mut impl Writer) {
        out.write_long(self.czxid);
        out.write_long(self.mzxid);
        out.write_long(self.ctime);
        out.write_long(self.mtime);
        out.write_int(self.version);
        out.write_int(self.cversion);
        out.write_int(self.aversion);
        out.write_long(self.ephemeral_owner);
        out.write_long(self.pzxid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        assert_eq!(Ownership::of(0), Ownership::Persistent);
        assert_eq!(Ownership::of(i64::MIN), Ownership::Container);
        assert_eq!(Ownership::of(Ownership::ttl_owner(1)), Ownership::Ttl(1));
        assert_eq!(Ownership::of(Ownership::ttl_owner(TTL_MAX)), Ownership::Ttl((1 << 40) - 1));
        assert_eq!(Ownership::of(0x0100_0001_0000_0000), Ownership::Session(0x0100_0001_0000_0000));
    }

    #[test]
    fn a_fresh_root_shows_minus_one() {
        let stat = StatPersisted::default().to_stat(0, 1);
        assert_eq!(stat.cversion, -1);
        let stat = StatPersisted { cversion: 3, ephemeral_owner: i64::MIN, ..Default::default() };
        assert_eq!(stat.to_stat(0, 1).cversion, 5);
        assert_eq!(stat.to_stat(0, 1).ephemeral_owner, 0);
    }
}
