//! `ApiVersions`: what this broker serves, made from the registrations.
//!
//! Versions: 1 and 2 put the throttle time after the list; 3 is flexible and has the client's
//! name and version in the request (KIP-511) and features in the response; 4 lets a supported
//! feature start at version 0 (KIP-1022). The response's header is version 0 in all of them, so
//! that a client can read an answer to a version that it should not have asked for.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::{ResponseError, protocol::StrBytes};

use super::{ApiRegistration, HandlerResult, REGISTRATIONS, Reply, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::ApiVersions, "ApiVersions", 0, 4);

/// Answers with every API that is served.
///
/// # Errors
/// `INVALID_REQUEST` for a client name or version that KIP-511 does not allow.
pub async fn handle(context: &RequestContext<'_>, request: ApiVersionsRequest) -> HandlerResult {
    if context.version >= 3 {
        let (name, version) = (request.client_software_name, request.client_software_version);
        if !is_software_token(&name) || !is_software_token(&version) {
            let error = context.error(ResponseError::InvalidRequest);
            return context.reply(&ApiVersionsResponse::default().with_error_code(error));
        }
        *context.connection.software.lock() = Some((name, version));
    }
    context.reply(&ApiVersionsResponse::default().with_api_keys(offered()))
}

/// The answer to a version of `ApiVersions` that is not served: in version 0, with the range
/// that is (KIP-511).
pub fn unsupported_version() -> HandlerResult {
    let response = ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(vec![api_version(&API)]);
    Reply::encode(&response, 0)
}

fn offered() -> Vec<ApiVersion> {
    REGISTRATIONS.iter().map(api_version).collect()
}

fn api_version(registration: &ApiRegistration) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(registration.key as i16)
        .with_min_version(registration.advertised_min)
        .with_max_version(registration.served.max)
}

/// Whether `token` is `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (`ApiVersionsRequest.java`).
pub fn is_software_token(token: &StrBytes) -> bool {
    let bytes = token.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.';
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(inner)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_checked_as_kafka_checks_them() {
        for good in ["a", "A9", "apache-kafka-java", "3.9.1", "a..b"] {
            assert!(is_software_token(&StrBytes::from_static_str(good)), "{good}");
        }
        for bad in ["", "-", "a-", ".a", "a b", "a_b", "é", "3.9.1\n"] {
            assert!(!is_software_token(&StrBytes::from_static_str(bad)), "{bad}");
        }
    }
}
