//! The credential of a connection: registered, signed in, or welcome.

use std::{sync::Arc, time::Duration};

use magpie_protocol::{
    limits::{
        CLIENT_FRAME_SIZE_MAX, HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL_MIN, IDLE_TIMEOUT,
        SERVER_FRAME_SIZE_MAX, TEXT_SIZE_MAX, WINDOW_COUNT, WINDOW_SIZE,
    },
    moment::Moment,
    session::Input,
    wire::v1,
};

use super::{Connection, Signed};
use crate::{handler::Greeted, hub::Ending, store::User};

impl<S> Connection<S> {
    pub(super) async fn handle_credential(&mut self, credential: Input) {
        let parts = Arc::clone(&self.parts);
        if let Some(goodbye) = parts.dispatch.stopped(&parts.hellos.feed.chronicle) {
            let now = parts.clock.now();
            self.session.goodbye(&goodbye, now, &mut self.outbound);
            return;
        }
        let result = match credential {
            Input::Register(it) => parts.accounts.register(it, self.address).await,
            Input::SignIn(it) => parts.accounts.sign_in(it, self.address).await,
            Input::Hello(hello) => {
                let greeted = parts.hellos.greet(hello).await;
                let now = parts.clock.now();
                let result = if greeted.is_ok() {
                    "welcome"
                } else {
                    "refused"
                };
                metrics::counter!(crate::metrics::HELLOS, "result" => result).increment(1);
                match greeted {
                    Ok(greeted) => self.welcome(greeted, now),
                    Err(error) => {
                        let goodbye = parts.dispatch.hello_refused(&error);
                        self.session.goodbye(&goodbye, now, &mut self.outbound);
                    }
                }
                return;
            }
            Input::InvalidAuthenticate(_)
            | Input::Request { .. }
            | Input::InvalidRequest { .. }
            | Input::Unsupported { .. }
            | Input::Ping { .. }
            | Input::Typing { .. }
            | Input::Goodbye
            | Input::Nothing => return,
        };
        let outcome = if result.is_ok() {
            "accepted"
        } else {
            "refused"
        };
        metrics::counter!(crate::metrics::SIGN_INS, "result" => outcome).increment(1);
        match result {
            Ok(credential) => {
                let signed_in = v1::SignedIn {
                    user: Some(wire_user(&credential.user)),
                    device_id: credential.device.to_wire(),
                    device_token: credential.token.to_vec().into(),
                };
                self.session.signed_in(&signed_in, &mut self.outbound);
            }
            Err(error) => {
                let refused = parts.dispatch.sign_in_refused(&error);
                self.session.refuse(&refused, &mut self.outbound);
            }
        }
    }

    fn welcome(&mut self, greeted: Greeted, now: Moment) {
        let history = greeted.history;
        let welcome = v1::Welcome {
            protocol_version: greeted.protocol_version,
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: history.epoch,
            base: history.base.given_out(),
            starts_anew: greeted.starts_anew,
            limits: Some(limits(self.parts.dispatch.limiter.limits.group_members_max)),
            server_time_ms: self.parts.clock.wall_ms(),
            user: Some(wire_user(&greeted.user)),
        };
        self.session.welcome(&welcome, now, &mut self.outbound);
        // A drain that began meanwhile may have missed the mailbox.
        self.drained = None;
        let ending = self.drain.is_cancelled().then_some(Ending::Draining);
        let hub = Arc::clone(&self.parts.hellos.hub);
        let Greeted {
            mailbox, delivery, ..
        } = greeted;
        let device = tracing::field::display(mailbox.device);
        tracing::Span::current().record("device", device);
        let limiter = Arc::clone(&self.parts.dispatch.limiter);
        let signed = Signed::new(hub, limiter, mailbox, delivery, ending);
        self.signed = Some(Box::new(signed));
    }
}

fn wire_user(user: &User) -> v1::User {
    v1::User {
        user_id: user.id.to_wire(),
        name: user.name.to_string(),
    }
}

fn limits(group_members_max: u32) -> v1::Limits {
    let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    v1::Limits {
        client_frame_size_max: small(CLIENT_FRAME_SIZE_MAX),
        server_frame_size_max: small(SERVER_FRAME_SIZE_MAX),
        window_count: small(WINDOW_COUNT),
        window_size: small(WINDOW_SIZE),
        heartbeat_interval_max_ms: ms(HEARTBEAT_INTERVAL),
        heartbeat_interval_min_ms: ms(HEARTBEAT_INTERVAL_MIN),
        idle_timeout_ms: ms(IDLE_TIMEOUT),
        text_size_max: small(TEXT_SIZE_MAX),
        group_members_max,
    }
}
