//! Opens the broker's listeners, and says how clients are told to reach them.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::StartError;
use crate::cluster::Endpoint;
use crate::config::broker::ListenerConfig;
use crate::net;

/// A listener that is bound and not served yet.
#[derive(Debug)]
pub(super) struct BoundListener {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) endpoint: Endpoint,
}

/// Binds every listener.
pub(super) fn bind(listeners: &[ListenerConfig]) -> Result<Vec<BoundListener>, StartError> {
    listeners.iter().map(bind_one).collect()
}

fn bind_one(listener: &ListenerConfig) -> Result<BoundListener, StartError> {
    let socket = net::bind(&listener.bind).map_err(|error| StartError(error.to_string()))?;
    let address = socket
        .local_addr()
        .map_err(|error| StartError(format!("listener {}: {error}", listener.name)))?;
    let endpoint = Endpoint {
        listener: listener.name.clone(),
        protocol: listener.protocol.clone(),
        host: advertised_host(listener),
        port: i32::from(advertised_port(listener, address)),
    };
    Ok(BoundListener { socket, address, endpoint })
}

fn advertised_host(listener: &ListenerConfig) -> String {
    match &listener.advertised {
        Some(advertised) => advertised.host.clone(),
        None if net::is_wildcard(&listener.bind.host) => net::machine_name(),
        None => listener.bind.host.clone(),
    }
}

fn advertised_port(listener: &ListenerConfig, bound: SocketAddr) -> u16 {
    match &listener.advertised {
        Some(advertised) if advertised.port != 0 => advertised.port,
        _ => bound.port(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;

    fn listener(host: &str, advertised: Option<(&str, u16)>) -> ListenerConfig {
        ListenerConfig {
            name: "INSIDE".to_owned(),
            protocol: "PLAINTEXT".to_owned(),
            bind: ListenAddress { host: host.to_owned(), port: 0 },
            advertised: advertised
                .map(|(host, port)| ListenAddress { host: host.to_owned(), port }),
        }
    }

    #[tokio::test]
    async fn clients_are_told_what_is_advertised_else_what_is_bound() {
        let told = |config| {
            let bound = bind_one(&config).unwrap();
            (bound.endpoint.host, bound.endpoint.port, i32::from(bound.address.port()))
        };
        let (host, port, bound) = told(listener("127.0.0.1", None));
        assert_eq!((host.as_str(), port), ("127.0.0.1", bound));
        let (host, port, _) = told(listener("127.0.0.1", Some(("example.org", 9_000))));
        assert_eq!((host.as_str(), port), ("example.org", 9_000));
        let (host, port, bound) = told(listener("127.0.0.1", Some(("example.org", 0))));
        assert_eq!((host.as_str(), port), ("example.org", bound));
        for wildcard in ["", "0.0.0.0"] {
            assert_eq!(told(listener(wildcard, None)).0, net::machine_name());
        }
    }
}
