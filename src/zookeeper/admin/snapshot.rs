//! `snapshot`: writes one into the data directory and streams it out (`SnapshotCommand`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Map;
use tokio::fs::File;
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

use super::{Admin, json};
use crate::zookeeper::pipeline::control::{Control, SnapshotTaken};

const COMMAND: &str = "snapshot";

/// How often it is asked again while another snapshot is being written.
const BUSY_RETRY: Duration = Duration::from_millis(100);

pub(super) async fn answer(admin: &Admin, query: &BTreeMap<String, String>) -> Response {
    let metrics = &admin.state.stats.server;
    let plain = |status| json(status, COMMAND, Ok(Map::new()));
    let refused = &metrics.snapshot_rate_limited_count;
    let enabled = admin.config.snapshot_enabled;
    if let Err(status) = admin.may_run(COMMAND, enabled, &admin.snapshots, refused) {
        return plain(status);
    }
    let streaming = query.get("streaming").is_none_or(|text| text.eq_ignore_ascii_case("true"));
    match respond(admin, streaming).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(error, "no snapshot");
            metrics.snapshot_error_count.fetch_add(1, Ordering::Relaxed);
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

async fn respond(admin: &Admin, streaming: bool) -> Result<Response, String> {
    let taken = take(admin).await?;
    let file = File::open(&taken.path).await.map_err(|error| error.to_string())?;
    let size = file.metadata().await.map_err(|error| error.to_string())?.len();
    let mut response = if streaming {
        let body = Body::from_stream(ReaderStream::new(file));
        ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
    } else {
        json(StatusCode::OK, COMMAND, Ok(Map::new()))
    };
    for (name, value) in
        [("last_zxid", format!("{:#x}", taken.zxid)), ("snapshot_size", size.to_string())]
    {
        let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(response)
}

/// Lets the writer begin a snapshot of this moment, and waits until it is on disk.
async fn take(admin: &Admin) -> Result<SnapshotTaken, String> {
    loop {
        let (sender, done) = oneshot::channel();
        admin.state.queue.control(Control::Snapshot(sender));
        match done.await {
            Ok(Some(taken)) => return taken,
            // Another one is being written: it may have begun before what the caller wants in it.
            Ok(None) => tokio::time::sleep(BUSY_RETRY).await,
            Err(_) => return Err("the coordinator stops".to_owned()),
        }
    }
}
