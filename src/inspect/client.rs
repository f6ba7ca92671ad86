//! One connection to a Kafka server, one request at a time; every length in an answer is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::InspectError;
use crate::kafka::wire::{answer_schema, frame, guard};
use crate::limits;

/// A connection, and what its server offers. After an error it is of no use any more.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    patience: Duration,
    correlation_id: i32,
    /// The lowest and the highest version of each API.
    versions: BTreeMap<i16, (i16, i16)>,
    input: BytesMut,
}

impl Connection {
    /// Connects to `host:port` and asks what is offered there. Each step, and each request after it,
    /// takes at most `patience`.
    ///
    /// # Errors
    /// Nobody is there, or nobody who speaks Kafka's protocol.
    pub async fn open(address: &str, patience: Duration) -> Result<Self, InspectError> {
        let failed = |reason: String| InspectError::unreadable(address, reason);
        let stream = timeout(patience, TcpStream::connect(address))
            .await
            .map_err(|_| failed(format!("no connection within {} ms", patience.as_millis())))?
            .map_err(|error| failed(format!("no connection: {error}")))?;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            address: address.to_owned(),
            stream,
            patience,
            correlation_id: 0,
            versions: BTreeMap::new(),
            input: BytesMut::new(),
        };
        // Version 0 is answered by every server, without a second try.
        let offered = connection.ask(0, &ApiVersionsRequest::default()).await?;
        connection.check("ApiVersions", offered.error_code)?;
        connection.versions = offered
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(connection)
    }

    /// `host:port`, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The highest version of an API that both sides know, at most `max`.
    ///
    /// # Errors
    /// There is none.
    pub fn version_of<R: Request>(&self, max: i16) -> Result<i16, InspectError> {
        let name =
            ApiKey::try_from(R::KEY).map_or_else(|()| R::KEY.to_string(), |key| format!("{key:?}"));
        let Some((lowest, highest)) = self.versions.get(&R::KEY) else {
            return Err(self.failed(format!("{name} is not offered")));
        };
        let version = max.min(R::VERSIONS.max).min(*highest);
        if version < *lowest || version < R::VERSIONS.min {
            return Err(
                self.failed(format!("{name} is offered from version {lowest} to {highest}"))
            );
        }
        Ok(version)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The connection ends, nothing comes in time, or what comes is no answer to this request.
    pub async fn ask<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, InspectError> {
        let patience = self.patience;
        match timeout(patience, self.exchange(version, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.failed(format!("no answer within {} ms", patience.as_millis()))),
        }
    }

    async fn exchange<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, InspectError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("doorkeeper")));
        let mut output = BytesMut::zeroed(frame::LENGTH_BYTES);
        header
            .encode(&mut output, R::header_version(version))
            .and_then(|()| request.encode(&mut output, version))
            .map_err(|error| self.failed(format!("the request can't be written: {error}")))?;
        let length = u32::try_from(output.len() - frame::LENGTH_BYTES)
            .map_err(|_| self.failed("the request is too long"))?;
        output[..frame::LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        let sent = self.stream.write_all(&output).await;
        sent.map_err(|error| self.failed(error))?;
        let answer = self.receive().await?;
        self.decode::<R>(version, answer)
    }

    /// The next frame. What it says of its length reserves nothing.
    async fn receive(&mut self) -> Result<Bytes, InspectError> {
        loop {
            match frame::take(&mut self.input, limits::KAFKA_ANSWER_BYTES_MAX) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(self.failed(format!("no Kafka answer: {error}"))),
            }
            self.input.reserve(limits::KAFKA_READ_AHEAD_BYTES);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(self.failed("the connection was closed")),
                Ok(_) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn decode<R: Request>(
        &self,
        version: i16,
        mut answer: Bytes,
    ) -> Result<R::Response, InspectError> {
        let no_answer =
            |why: &dyn std::fmt::Display| self.failed(format!("no Kafka answer: {why}"));
        let correlation_id = answer.try_get_i32().map_err(|_| no_answer(&"it is too short"))?;
        if correlation_id != self.correlation_id {
            return Err(no_answer(&"it belongs to another request"));
        }
        if R::Response::header_version(version) > 0 {
            let skipped = guard::skip_tagged_fields(&answer).map_err(|error| no_answer(&error))?;
            answer.advance(skipped);
        }
        let schema = ApiKey::try_from(R::KEY).ok().and_then(answer_schema::of);
        let schema = schema.ok_or_else(|| no_answer(&"its form is not known here"))?;
        guard::check_answer(schema, version, &answer).map_err(|error| no_answer(&error))?;
        R::Response::decode(&mut answer, version).map_err(|error| no_answer(&error))
    }

    /// Makes an error of an answer's error code.
    ///
    /// # Errors
    /// Every code but 0.
    pub fn check(&self, api: &str, code: i16) -> Result<(), InspectError> {
        match error_name(code) {
            None => Ok(()),
            Some(name) => Err(self.failed(format!("{api} is answered with {name}"))),
        }
    }

    fn failed(&self, reason: impl std::fmt::Display) -> InspectError {
        InspectError::unreadable(&self.address, reason)
    }
}

/// Kafka's name of an error code, as `LEADER_NOT_AVAILABLE`; `None` for 0.
pub fn error_name(code: i16) -> Option<String> {
    if code == 0 {
        return None;
    }
    let Some(error) = ResponseError::try_from_code(code) else {
        return Some(format!("error {code}"));
    };
    let mut name = String::new();
    for letter in format!("{error:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    // An unknown code has a number behind its name in this library.
    Some(name.split('(').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What a client says of a server that answers its first request with these bytes.
    async fn complaint(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // All of it: what is left unread makes a reset of the close.
            let mut request = [0; 24];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        });
        let opened = Connection::open(&address, Duration::from_secs(30)).await;
        server.await.unwrap();
        let said = opened.unwrap_err().to_string();
        said.strip_prefix(&format!("{address}: ")).unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error_and_nothing_worse() {
        let cases: [(&[u8], &str); 7] = [
            (b"", "the connection was closed"),
            (b"HTTP/1.1 400 Bad Request\r\n", "no Kafka answer: a frame of 1213486160 bytes"),
            (&[0, 0, 0, 2, 0, 0], "no Kafka answer: it is too short"),
            (&[0, 0, 0, 4, 0, 0, 0, 9], "no Kafka answer: it belongs to another request"),
            // A count of 2,147,483,647 of six bytes each.
            (
                &[0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff],
                "no Kafka answer: a length is negative or above",
            ),
            (
                &[0, 0, 0, 10, 0, 0, 0, 1, 0, 35, 0, 0, 0, 0],
                "ApiVersions is answered with UNSUPPORTED_VERSION",
            ),
            (&[0, 0, 0, 10, 0, 0, 0, 1, 0], "the connection was closed"),
        ];
        for (answer, expected) in cases {
            let said = complaint(answer.to_vec()).await;
            assert!(said.starts_with(expected), "{answer:?}: {said}");
        }
    }

    #[test]
    fn error_codes_have_kafkas_names() {
        assert_eq!(error_name(0), None);
        assert_eq!(error_name(5).unwrap(), "LEADER_NOT_AVAILABLE");
        assert_eq!(error_name(3).unwrap(), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(error_name(100).unwrap(), "UNKNOWN_TOPIC_ID");
    }
}
