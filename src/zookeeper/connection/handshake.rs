//! The start of a connection: a handshake that opens a session or takes one up again, or a
//! four-letter word.

use std::sync::Arc;

use super::input::Front;
use super::{Connection, Phase, Step, clamp_timeout};
use crate::limits;
use crate::zookeeper::command;
use crate::zookeeper::pipeline::queue::{Job, Task};
use crate::zookeeper::proto::handshake::{ConnectRequest, ConnectResponse};
use crate::zookeeper::session;

impl Connection {
    pub(super) fn open(&mut self) -> Step {
        if let Some((word, rest)) = self.input.pending().split_first_chunk::<4>()
            && command::is_known(*word)
        {
            let Some(answer) = command::answer(*word, rest, &self.state) else {
                return Step::NeedInput;
            };
            self.state.stats.packets_received.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.handle.count_received(1);
            self.handle.send(|out| out.extend_from_slice(answer.as_bytes()));
            return self.finish();
        }
        let longest = self.state.config.jute_max_buffer.min(limits::HANDSHAKE_BYTES_MAX);
        let frame = match self.input.front(longest) {
            Front::Frame(frame) => frame,
            Front::Incomplete => return Step::NeedInput,
            Front::BadLength(length) => {
                tracing::debug!(length, "not a handshake");
                return self.finish();
            }
        };
        let request = match ConnectRequest::decode(self.input.slice(frame.clone())) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(%error, "malformed handshake");
                return self.finish();
            }
        };
        self.state.stats.packets_received.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.handle.count_received(1);
        if !self.state.admits_session(request.session_id != 0) {
            tracing::debug!("closed: too many clients open sessions at once");
            return self.finish();
        }
        let last_zxid = self.state.database.read().tree.last_zxid();
        if request.last_zxid_seen > last_zxid {
            tracing::info!(
                client = format_args!("{:#x}", request.last_zxid_seen),
                server = format_args!("{last_zxid:#x}"),
                peer = %self.handle.peer(),
                "a client has seen a later zxid than this server: it must try another one"
            );
            return self.finish();
        }
        let config = &self.state.config;
        let timeout_ms = clamp_timeout(
            request.timeout_ms,
            config.min_session_timeout,
            config.max_session_timeout,
        );
        let with_read_only = request.read_only.is_some();
        let step = if request.session_id == 0 {
            self.create_session(timeout_ms, with_read_only)
        } else {
            let authentic = request.password == Some(&session::password(request.session_id)[..]);
            self.reattach(request.session_id, authentic, timeout_ms, with_read_only)
        };
        self.input.take_to(frame.end);
        step
    }

    fn create_session(&mut self, timeout_ms: u32, with_read_only: bool) -> Step {
        let session = self.state.sessions.lock().create(timeout_ms, self.state.now_ms());
        self.handle.attach(Arc::clone(&session));
        self.state.attach(session.id(), &self.handle);
        self.handle.add_pending(1);
        self.state.queue.submit(&mut vec![Job {
            connection: Some(Arc::clone(&self.handle)),
            identities: self.handle.identities(),
            ..Job::of_server(Task::CreateSession { with_read_only }, Arc::clone(&session))
        }]);
        self.phase = Phase::Opening(session);
        Step::Wait
    }

    fn reattach(
        &mut self,
        id: i64,
        authentic: bool,
        timeout_ms: u32,
        with_read_only: bool,
    ) -> Step {
        let session = if authentic {
            self.state.sessions.lock().reattach(id, timeout_ms, self.state.now_ms())
        } else {
            None
        };
        if let Some(session) = session {
            self.handle.attach(Arc::clone(&session));
            self.state.attach(id, &self.handle);
            // Looked at once more: had it ended before it was attached, nobody would close us.
            if !session.is_closing() {
                let response =
                    ConnectResponse { timeout_ms, session_id: id, password: session::password(id) };
                self.handle.send(|out| response.write(with_read_only, out));
                self.phase = Phase::Serving(session);
                self.deadline = None;
                return Step::Flush;
            }
        }
        tracing::debug!(
            session = format_args!("{id:#x}"),
            authentic,
            "session can't be taken up: expired, unknown, or a wrong password"
        );
        self.handle.send(|out| ConnectResponse::EXPIRED.write(with_read_only, out));
        self.finish()
    }
}
