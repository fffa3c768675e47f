//! Calls from one service to another: of two spans, of one that names the other side, or of neither.

use super::graph::{Connection, Request};
use super::histogram::Origin;
use super::pending::Half;
use super::roles::Found;
use super::state::{SpanInput, State, otlp};
use std::borrow::Cow;
use std::sync::Arc;

impl State {
    /// Counts the call that a span is a side of, or has it wait for the other side.
    pub fn count_edge<A>(
        &mut self,
        span: &SpanInput<'_, A>,
        found: &Found<'_>,
        nanos: u64,
        times: (i64, i64),
        deadline_ms: i64,
    ) {
        let is_client = matches!(span.kind, otlp::CLIENT | otlp::PRODUCER);
        let is_message = matches!(span.kind, otlp::PRODUCER | otlp::CONSUMER);
        let failed = span.status == otlp::ERROR;
        if span.kind == otlp::CLIENT
            && let Some(database) = found.database()
        {
            // It makes no spans of its own.
            let request = Request {
                failed,
                client_nanos: Some(nanos),
                server_nanos: Some(nanos),
                queued_nanos: None,
                origin: Origin { trace_id: span.trace_id, span_id: span.span_id },
            };
            let edge = (&*span.resource.service, &*database, Connection::Database);
            self.graph.count(edge, &request, times, &mut self.limit);
            return;
        }
        let queue = if is_message { found.queue() } else { None };
        let named = |name: Cow<'_, str>, connection| (Box::from(name.as_ref()), connection);
        let peer = match (queue, is_client) {
            (Some(queue), _) => Some(named(queue, Connection::Messaging)),
            (None, true) => found.peer().map(|peer| named(peer, Connection::Virtual)),
            (None, false) => found.caller().map(|caller| named(caller, Connection::Virtual)),
        };
        let names_itself = is_client || found.is_shared();
        let half = Half {
            call: (span.trace_id, if names_itself { span.span_id } else { span.parent_id }),
            span_id: span.span_id,
            is_client,
            is_message,
            is_root: span.parent_id == [0; 8],
            failed,
            is_paired: false,
            time_ns: if is_client { span.end_ns } else { span.start_ns },
            nanos,
            service: Arc::clone(&span.resource.service),
            peer,
            deadline_ms,
        };
        let (graph, limit) = (&mut self.graph, &mut self.limit);
        self.pending.add(half, |client, server| {
            let is_message = client.is_message || server.is_message;
            let connection = if is_message { Connection::Messaging } else { Connection::Direct };
            let queued = server.time_ns.saturating_sub(client.time_ns);
            let request = Request {
                failed: client.failed || server.failed,
                client_nanos: Some(client.nanos),
                server_nanos: Some(server.nanos),
                queued_nanos: u64::try_from(queued).ok().filter(|_| is_message),
                origin: client.origin(),
            };
            graph.count((&client.service, &server.service, connection), &request, times, limit);
        });
    }

    /// Counts the calls whose other side did not come in time.
    pub fn expire(&mut self, now_ms: i64) {
        let times = (now_ms - self.options.interval_ms, now_ms);
        while let Some(half) = self.pending.expired(now_ms) {
            self.has_changed = true;
            if !half.is_paired {
                self.count_unpaired(&half, times);
            }
        }
    }

    fn count_unpaired(&mut self, half: &Half, times: (i64, i64)) {
        let nanos = Some(half.nanos);
        let request = Request {
            failed: half.failed,
            client_nanos: if half.is_client { nanos } else { None },
            // Nobody tells how long the other side took: as long as the caller waited.
            server_nanos: nanos.filter(|_| !half.is_client || !half.is_message),
            queued_nanos: None,
            origin: half.origin(),
        };
        let peer = half.peer.as_ref().map(|(name, connection)| (&**name, *connection));
        let is_queue = matches!(peer, Some((_, Connection::Messaging)));
        let edge = match (half.is_client, peer) {
            (true, Some((peer, connection))) => (&*half.service, peer, connection),
            (false, Some((peer, connection))) if half.is_root || is_queue => {
                (peer, &*half.service, connection)
            }
            (false, None) if half.is_root => ("user", &*half.service, Connection::Virtual),
            _ => {
                self.totals.unpaired += 1;
                return;
            }
        };
        self.graph.count(edge, &request, times, &mut self.limit);
    }
}
