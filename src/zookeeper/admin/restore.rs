//! `restore`: replaces the whole database by a snapshot that comes as the request's body
//! (`RestoreCommand`).

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::{Admin, json};
use crate::zookeeper::pipeline::control::Control;
use crate::zookeeper::stats::microseconds;
use crate::zookeeper::storage::{Loaded, read_snapshot};

const COMMAND: &str = "restore";

/// Pieces of the body that wait to be read.
const PIECES_WAITING: usize = 8;

pub(super) async fn answer(admin: &Admin, body: Body) -> Response {
    let metrics = &admin.state.stats.server;
    let plain = |status| json(status, COMMAND, Ok(Map::new()));
    let refused = &metrics.restore_rate_limited_count;
    let enabled = admin.config.restore_enabled;
    if let Err(status) = admin.may_run(COMMAND, enabled, &admin.restores, refused) {
        return plain(status);
    }
    let begun = Instant::now();
    match restore(admin, body).await {
        Ok(zxid) => {
            metrics.restore_time.record(microseconds(begun.elapsed()), 1);
            let told = Map::from_iter([("last_zxid".to_owned(), Value::from(zxid))]);
            json(StatusCode::OK, COMMAND, Ok(told))
        }
        Err(error) => {
            tracing::warn!(error, "nothing was restored");
            metrics.restore_error_count.fetch_add(1, Ordering::Relaxed);
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Reads the whole snapshot before anything is changed. Returns the zxid that the server goes on from.
async fn restore(admin: &Admin, body: Body) -> Result<i64, String> {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    let digest_enabled = admin.state.config.digest_enabled;
    let reading = tokio::task::spawn_blocking(move || {
        let source = Pieces { receiver, piece: Bytes::new() };
        read_snapshot(source, 0, digest_enabled)
    });
    feed(body, sender).await?;
    let loaded = reading.await.map_err(|error| error.to_string())?;
    let Loaded { mut database, last_zxid, .. } = loaded.map_err(|error| error.to_string())?;
    let zxid = last_zxid.ok_or("the snapshot doesn't say its zxid: it is older than 3.9's")?;
    database.tree.advance(zxid);
    let (sender, done) = oneshot::channel();
    admin.state.queue.control(Control::Restore(Box::new(database), sender));
    done.await.map_err(|_| "the coordinator stops".to_owned())?
}

/// Hands the body to the reader, piece by piece; an end of the reader is no error here.
async fn feed(mut body: Body, sender: mpsc::Sender<Bytes>) -> Result<(), String> {
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = next else { return Ok(()) };
        if let Ok(piece) = frame.map_err(|error| error.to_string())?.into_data()
            && sender.send(piece).await.is_err()
        {
            return Ok(());
        }
    }
}

/// The body, as a blocking reader sees it.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let taken = self.piece.split_to(self.piece.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}
