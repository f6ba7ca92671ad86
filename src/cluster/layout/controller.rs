//! `/controller` and `/controller_epoch`.

use serde::{Deserialize, Serialize};

use super::{LayoutError, decode, encode};

/// Who is the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerNode {
    /// The controller's broker id.
    pub broker_id: i32,
    /// When it was elected, in milliseconds since 1970.
    pub timestamp: i64,
    /// The version of the doorkeeper that was elected; `None` for an Apache broker.
    pub doorkeeper: Option<String>,
    /// The epoch of the KRaft controller that owns the cluster during a migration (KIP-866), −1 while
    /// a broker does.
    pub kraft_epoch: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    version: i32,
    brokerid: i32,
    timestamp: String,
    kraft_controller_epoch: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    doorkeeper: Option<&'a str>,
}

#[derive(Deserialize)]
struct Read {
    brokerid: i32,
    #[serde(default)]
    timestamp: serde_json::Value,
    #[serde(default)]
    doorkeeper: Option<String>,
    #[serde(default = "nobody", rename = "kraftControllerEpoch")]
    kraft_epoch: i32,
}

fn nobody() -> i32 {
    -1
}

impl ControllerNode {
    /// The znode in version 2.
    pub fn encode(&self) -> Vec<u8> {
        encode(&Written {
            version: 2,
            brokerid: self.broker_id,
            timestamp: self.timestamp.to_string(),
            kraft_controller_epoch: self.kraft_epoch,
            doorkeeper: self.doorkeeper.as_deref(),
        })
    }

    /// Reads the znode; only `brokerid` must be there.
    ///
    /// # Errors
    /// No JSON, or no broker id.
    pub fn decode(data: &[u8]) -> Result<ControllerNode, LayoutError> {
        let read: Read = decode(data)?;
        let timestamp = read.timestamp.as_str().and_then(|text| text.parse().ok());
        Ok(ControllerNode {
            broker_id: read.brokerid,
            timestamp: timestamp.unwrap_or_default(),
            doorkeeper: read.doorkeeper,
            kraft_epoch: read.kraft_epoch,
        })
    }
}

/// Reads the number in `/controller_epoch`.
///
/// # Errors
/// Text that is no number.
pub fn decode_epoch(data: &[u8]) -> Result<i32, LayoutError> {
    let text = String::from_utf8_lossy(data);
    text.trim().parse().map_err(|_| LayoutError(format!("controller epoch {text} is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        let v2 =
            br#"{"version":2,"brokerid":1,"timestamp":"1700000000000","kraftControllerEpoch":-1}"#;
        let node = ControllerNode::decode(v2).unwrap();
        assert_eq!((node.broker_id, node.timestamp), (1, 1_700_000_000_000));
        assert_eq!(node.encode(), v2);
        assert_eq!(node.kraft_epoch, -1);
        let migrating =
            br#"{"version":2,"brokerid":3000,"timestamp":"1","kraftControllerEpoch":7}"#;
        let migrating_node = ControllerNode::decode(migrating).unwrap();
        assert_eq!((migrating_node.broker_id, migrating_node.kraft_epoch), (3000, 7));
        assert_eq!(migrating_node.encode(), migrating);
        let v1 = br#"{"version":1,"brokerid":3,"timestamp":"7"}"#;
        let old = ControllerNode::decode(v1).unwrap();
        assert_eq!((old.broker_id, old.kraft_epoch), (3, -1));
        let ours = ControllerNode { doorkeeper: Some("0.1.0".to_owned()), ..node };
        assert_eq!(ControllerNode::decode(&ours.encode()).unwrap(), ours);
        assert!(ControllerNode::decode(b"{}").is_err());
    }

    #[test]
    fn epochs() {
        assert_eq!(decode_epoch(b"42"), Ok(42));
        assert!(decode_epoch(b"").is_err());
        assert!(decode_epoch(b"x").is_err());
    }
}
