//! `/config/<type>/<entity>`, and the notifications below `/config/changes`.

use serde::{Deserialize, Serialize};

use super::{LayoutError, decode, encode};
use crate::cluster::image::ConfigMap;

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    #[serde(default)]
    config: ConfigMap,
}

/// A configuration's JSON.
pub fn encode_config(config: &ConfigMap) -> Vec<u8> {
    encode(&Json { version: 1, config: config.clone() })
}

/// Reads a configuration; no data is an empty one.
///
/// # Errors
/// No JSON of a configuration, or a version that is not 1.
pub fn decode_config(data: &[u8]) -> Result<ConfigMap, LayoutError> {
    if data.is_empty() {
        return Ok(ConfigMap::new());
    }
    let json: Json = decode(data)?;
    if json.version != 1 {
        return Err(LayoutError(format!("unsupported version {}", json.version)));
    }
    Ok(json.config)
}

/// The notification that the configuration at `/config/<entity_path>` changed.
pub fn encode_change(entity_path: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Change<'a> {
        version: i32,
        entity_path: &'a str,
    }
    encode(&Change { version: 2, entity_path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn configurations() {
        let data = br#"{"version":1,"config":{"k":"v"}}"#;
        let config = decode_config(data).unwrap();
        assert_eq!(config, [("k".to_owned(), "v".to_owned())].into());
        assert_eq!(encode_config(&config), data);
        assert_eq!(encode_config(&ConfigMap::new()), br#"{"version":1,"config":{}}"#);
        assert_eq!(decode_config(b""), Ok(ConfigMap::new()));
        assert!(decode_config(br#"{"version":2,"config":{}}"#).is_err());
        assert!(decode_config(br#"{"version":1,"config":{"k":1}}"#).is_err());
    }

    #[test]
    fn changes() {
        assert_eq!(encode_change("topics/T"), br#"{"version":2,"entity_path":"topics/T"}"#);
    }

    proptest! {
        #[test]
        fn any_configuration_comes_back(config: ConfigMap) {
            prop_assert_eq!(decode_config(&encode_config(&config)).unwrap(), config);
        }
    }
}
