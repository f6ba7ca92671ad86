//! The election: `/controller` is made and `/controller_epoch` raised in one transaction.

use zookeeper_client::{Client, Error};

use crate::broker::registration::MARK;
use crate::cluster::layout::controller::{ControllerNode, decode_epoch};
use crate::cluster::layout::paths::{CONTROLLER, CONTROLLER_EPOCH};
use crate::cluster::reader;
use crate::cluster::znode_acls::ZnodeAcls;

/// A time as controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reign {
    /// The number in `/controller_epoch`.
    pub(super) epoch: i32,
    /// Its znode version, which every write checks.
    pub(super) epoch_version: i32,
    /// The session that owns `/controller`.
    pub(super) session: i64,
}

/// Tries to become controller; `None` if another broker is. `now` is in milliseconds since 1970.
///
/// After a lost answer the next call finds out by itself: who owns `/controller` has won.
pub(super) async fn elect(
    client: &Client,
    acls: ZnodeAcls,
    broker: i32,
    now: i64,
) -> Result<Option<Reign>, Error> {
    let epoch_options = acls.persistent(CONTROLLER_EPOCH);
    let session = client.session_id().0;
    loop {
        let (controller, epoch) = tokio::try_join!(
            reader::read(client, CONTROLLER),
            reader::read(client, CONTROLLER_EPOCH)
        )?;
        let wrong = |e| Error::UnexpectedError(format!("{CONTROLLER_EPOCH}: {e}"));
        let epoch = match epoch {
            Some(znode) => Some((decode_epoch(&znode.data).map_err(wrong)?, znode.version)),
            None => None,
        };
        match (controller, epoch) {
            (Some(found), Some((epoch, epoch_version))) if found.owner == session => {
                return Ok(Some(Reign { epoch, epoch_version, session }));
            }
            (Some(_), _) => return Ok(None),
            (None, None) => match client.create(CONTROLLER_EPOCH, b"0", &epoch_options).await {
                Ok(_) | Err(Error::NodeExists) => {}
                Err(error) => return Err(error),
            },
            (None, Some((epoch, version))) => {
                let epoch = epoch.wrapping_add(1);
                let node = ControllerNode {
                    kraft_epoch: -1,
                    broker_id: broker,
                    timestamp: now,
                    doorkeeper: Some(MARK.to_owned()),
                };
                let mut writer = client.new_multi_writer();
                writer.add_create(CONTROLLER, &node.encode(), &acls.ephemeral(CONTROLLER))?;
                writer.add_set_data(
                    CONTROLLER_EPOCH,
                    epoch.to_string().as_bytes(),
                    Some(version),
                )?;
                match writer.commit().await.map_err(Error::from) {
                    Ok(_) => {
                        return Ok(Some(Reign { epoch, epoch_version: version + 1, session }));
                    }
                    Err(Error::NodeExists | Error::BadVersion) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
