//! What a service manager and the server tell each other: readiness
//! (`sd_notify(3)`) and sockets (`sd_listen_fds(3)`).

use std::{
    ffi::OsString,
    io,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use listenfd::ListenFd;

/// Tells the service manager how the server is doing, if there is one.
#[derive(Clone, Debug)]
pub struct Notifier(Option<OsString>);

impl Notifier {
    /// Notifies through `socket`, as `NOTIFY_SOCKET` names it.
    #[must_use]
    pub const fn new(socket: Option<OsString>) -> Self {
        Self(socket)
    }

    /// Sends assignments, one a line. The server does its work whether they
    /// arrive or not.
    pub fn tell(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = send(socket, state) {
            tracing::warn!(%error, state, "the service manager was not told");
        }
    }
}

fn send(socket: &OsString, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

/// The sockets that the service manager opened, in the order of its unit: where
/// clients connect, then where operators look.
///
/// # Errors
///
/// If one is not a TCP socket that listens.
pub fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let Some(socket) = passed.take_tcp_listener(index)? else {
            break;
        };
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(socket: &UnixDatagram, name: OsString) {
        Notifier::new(Some(name)).tell("READY=1\nSTATUS=hello");
        let mut bytes = [0; 100];
        let size = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..size], b"READY=1\nSTATUS=hello");
    }

    #[test]
    fn the_service_manager_hears_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("notify");
        hears(&UnixDatagram::bind(&path).unwrap(), path.into());

        let name = format!("magpie-test-{}", uuid::Uuid::now_v7());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        hears(&socket, format!("@{name}").into());
    }

    #[test]
    fn without_one_nobody_is_told_and_nothing_fails() {
        Notifier::new(None).tell("READY=1");
        Notifier::new(Some("/nowhere/notify".into())).tell("READY=1");
    }
}
