//! `/brokers/ids/<id>`: a broker's registration, read in versions 1 to 5 and written in version 5.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LayoutError, decode, encode};
use crate::cluster::image::Endpoint;

/// A registration as its JSON has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Where the broker listens.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// When it registered, in milliseconds since 1970.
    pub timestamp: i64,
    /// The version of the doorkeeper that registered; `None` for an Apache broker.
    pub doorkeeper: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    #[serde(default)]
    features: BTreeMap<String, BTreeMap<String, i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_security_protocol_map: Option<BTreeMap<String, String>>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rack: Option<String>,
    #[serde(default = "minus_one")]
    jmx_port: i64,
    port: i32,
    host: Option<String>,
    version: i32,
    #[serde(default)]
    timestamp: Timestamp,
    /// The mark of our own registrations; Apache's brokers and tools pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doorkeeper: Option<String>,
}

/// Written as a string; some old tools wrote a number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Timestamp {
    Text(String),
    Number(i64),
}

impl Default for Timestamp {
    fn default() -> Self {
        Timestamp::Number(0)
    }
}

fn minus_one() -> i64 {
    -1
}

impl Registration {
    /// The registration in version 5.
    pub fn encode(&self) -> Vec<u8> {
        let plain = self.endpoints.iter().find(|endpoint| endpoint.protocol == "PLAINTEXT");
        encode(&Json {
            features: BTreeMap::new(),
            listener_security_protocol_map: Some(
                self.endpoints
                    .iter()
                    .map(|endpoint| (endpoint.listener.clone(), endpoint.protocol.clone()))
                    .collect(),
            ),
            endpoints: self.endpoints.iter().map(endpoint_text).collect(),
            rack: self.rack.clone(),
            jmx_port: -1,
            host: plain.map(|endpoint| endpoint.host.clone()),
            port: plain.map_or(-1, |endpoint| endpoint.port),
            version: 5,
            timestamp: Timestamp::Text(self.timestamp.to_string()),
            doorkeeper: self.doorkeeper.clone(),
        })
    }

    /// Reads a registration of any version.
    ///
    /// # Errors
    /// No JSON, a version below 1, or an endpoint that makes no sense.
    pub fn decode(data: &[u8]) -> Result<Registration, LayoutError> {
        let json: Json = decode(data)?;
        if json.version < 1 {
            return Err(LayoutError(format!("unsupported version {}", json.version)));
        }
        let endpoints = if json.version == 1 {
            let host = json.host.ok_or_else(|| LayoutError("no host".to_owned()))?;
            let plaintext = || "PLAINTEXT".to_owned();
            vec![Endpoint { listener: plaintext(), protocol: plaintext(), host, port: json.port }]
        } else {
            let map = json.listener_security_protocol_map.as_ref();
            json.endpoints.iter().map(|text| endpoint(text, map)).collect::<Result<_, _>>()?
        };
        let timestamp = match json.timestamp {
            Timestamp::Text(text) => text.parse().unwrap_or_default(),
            Timestamp::Number(number) => number,
        };
        Ok(Registration { endpoints, rack: json.rack, timestamp, doorkeeper: json.doorkeeper })
    }
}

fn endpoint_text(endpoint: &Endpoint) -> String {
    let Endpoint { listener, host, port, .. } = endpoint;
    if host.contains(':') {
        format!("{listener}://[{host}]:{port}")
    } else {
        format!("{listener}://{host}:{port}")
    }
}

fn endpoint(
    text: &str,
    protocols: Option<&BTreeMap<String, String>>,
) -> Result<Endpoint, LayoutError> {
    let wrong = || LayoutError(format!("endpoint {text} is not LISTENER://host:port"));
    let (listener, address) = text.split_once("://").ok_or_else(wrong)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().map_err(|_| wrong())?;
    let listener = listener.to_uppercase();
    let protocol = match protocols {
        None => listener.clone(),
        Some(map) => map
            .get(&listener)
            .cloned()
            .ok_or_else(|| LayoutError(format!("no security protocol for listener {listener}")))?,
    };
    if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
        return Err(LayoutError(format!("unknown security protocol {protocol}")));
    }
    Ok(Endpoint { listener, protocol, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(listener: &str, protocol: &str, host: &str, port: i32) -> Endpoint {
        Endpoint {
            listener: listener.to_owned(),
            protocol: protocol.to_owned(),
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn version_5_with_everything() {
        let data = br#"{"version":5,"host":"localhost","port":9092,"jmx_port":-1,
            "timestamp":"2233345666","endpoints":["CLIENT://host1:9092","REPL://[::1]:9093"],
            "listener_security_protocol_map":{"CLIENT":"SSL","REPL":"PLAINTEXT"},
            "rack":"dc1","features":{"f":{"min_version":1,"max_version":3}},"tags":{"a":1}}"#;
        let registration = Registration::decode(data).unwrap();
        let expected = [at("CLIENT", "SSL", "host1", 9092), at("REPL", "PLAINTEXT", "::1", 9093)];
        assert_eq!(registration.endpoints, expected);
        assert_eq!(registration.rack.as_deref(), Some("dc1"));
        assert_eq!(registration.timestamp, 2_233_345_666);
        assert_eq!(registration.doorkeeper, None);
    }

    #[test]
    fn what_kafka_3_9_1_wrote() {
        let data = br#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://localhost:9092"],"jmx_port":-1,"port":9092,"host":"localhost","version":5,"timestamp":"1700000000000"}"#;
        let mut registration = Registration::decode(data).unwrap();
        assert_eq!(registration.encode(), data);
        registration.doorkeeper = Some("0.1.0".to_owned());
        let marked = registration.encode();
        assert!(marked.ends_with(br#","doorkeeper":"0.1.0"}"#));
        assert_eq!(Registration::decode(&marked).unwrap(), registration);
    }

    #[test]
    fn older_versions() {
        let v1 = br#"{"version":1,"host":"h","port":9092,"jmx_port":9999,"timestamp":"1"}"#;
        let endpoints = |data: &[u8]| Registration::decode(data).unwrap().endpoints;
        assert_eq!(endpoints(v1), [at("PLAINTEXT", "PLAINTEXT", "h", 9092)]);
        let v2 = br#"{"version":2,"host":null,"port":-1,"jmx_port":1,"timestamp":5,
            "endpoints":["SSL://h:1"]}"#;
        assert_eq!(endpoints(v2), [at("SSL", "SSL", "h", 1)]);
    }

    #[test]
    fn nonsense_is_refused() {
        for data in [
            "",
            "[]",
            r#"{"version":0,"host":"h","port":1}"#,
            r#"{"version":1,"host":null,"port":1}"#,
            r#"{"version":5,"host":"h","port":1,"endpoints":["h:1"]}"#,
            r#"{"version":5,"host":"h","port":1,"endpoints":["A://h:1"]}"#,
            r#"{"version":5,"host":"h","port":1,"endpoints":["A://h:x"],
               "listener_security_protocol_map":{"A":"SSL"}}"#,
            r#"{"version":5,"host":"h","port":1,"endpoints":["A://h:1"],
               "listener_security_protocol_map":{"B":"SSL"}}"#,
        ] {
            assert!(Registration::decode(data.as_bytes()).is_err(), "{data}");
        }
    }
}
