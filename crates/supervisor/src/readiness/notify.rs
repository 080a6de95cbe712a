//! The protocol of `sd_notify(3)`: a child tells its state in datagrams.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use longtake_process::Command;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::Interest;

use crate::watched::Watched;

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Longer datagrams are ignored; real ones have less than 100 bytes.
const DATAGRAM_BYTES: usize = 4 << 10;

/// How much of a status text is kept.
const STATUS_CHARS: usize = 200;

/// Something that a child says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    Ready,
    /// It is alive.
    Watchdog,
    /// What it is doing, for people.
    Status(String),
}

/// Where the datagrams of one run arrive.
///
/// Its address is abstract, so that it leaves no file behind and a child in another mount namespace finds it.
/// Such addresses have no permissions: anybody on the machine can send, so the kernel is asked who did.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: Watched<UnixDatagram>,
    /// Whose datagrams count.
    users: Vec<u32>,
    /// What came together with the last notification that was given.
    next: VecDeque<Notification>,
}

impl NotifySocket {
    /// Must be called within a runtime.
    pub(super) fn open(command: &mut Command) -> io::Result<Self> {
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let name = format!("longtake-notify-{}", random.trim_end());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        set_socket_passcred(&socket, true)?;
        command.env(NOTIFY_SOCKET, format!("@{name}"));
        let ours = rustix::process::geteuid().as_raw();
        let users = [Some(ours), Some(0), command.user()];
        Ok(Self {
            socket: Watched::new(socket, Interest::READABLE)?,
            users: users.into_iter().flatten().collect(),
            next: VecDeque::new(),
        })
    }

    /// Waits for the next notification.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Notification {
        loop {
            if let Some(next) = self.next.pop_front() {
                return next;
            }
            let Ok(mut guard) = self.socket.ready(Interest::READABLE).await else {
                return std::future::pending().await;
            };
            let users = &self.users;
            match guard.try_io(|socket| receive(socket.get_ref(), users)) {
                Ok(Ok(notifications)) => self.next.extend(notifications),
                Ok(Err(error)) => tracing::debug!(%error, "notification not received"),
                Err(_would_block) => {}
            }
        }
    }
}

/// Takes one datagram. Nothing comes of it if a stranger sent it, or it is too long. Files that came along
/// (`BARRIER=1`) are closed, which is the answer to that.
fn receive(socket: &UnixDatagram, users: &[u32]) -> io::Result<Vec<Notification>> {
    let mut bytes = vec![0; DATAGRAM_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sender = None;
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => {
                sender = Some(credentials.uid.as_raw());
            }
            RecvAncillaryMessage::ScmRights(files) => files.for_each(drop),
            _ => {}
        }
    }
    if !sender.is_some_and(|sender| users.contains(&sender)) {
        tracing::warn!(?sender, "notification of a stranger ignored");
        return Ok(Vec::new());
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        tracing::warn!("notification ignored: it is too long");
        return Ok(Vec::new());
    }
    Ok(parse(bytes.get(..message.bytes).unwrap_or_default()))
}

/// The assignments of a datagram, one a line, that mean something here.
fn parse(datagram: &[u8]) -> Vec<Notification> {
    let lines = datagram.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| match line {
            b"READY=1" => Some(Notification::Ready),
            b"WATCHDOG=1" => Some(Notification::Watchdog),
            line => {
                let text = line.strip_prefix(b"STATUS=")?;
                Some(Notification::Status(displayable(text)))
            }
        })
        .collect()
}

fn displayable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(STATUS_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn datagrams() {
        #[track_caller]
        fn check(datagram: &str, want: &[Notification]) {
            assert_eq!(parse(datagram.as_bytes()), want, "{datagram:?}");
        }
        let status = |text: &str| Notification::Status(text.to_owned());
        check("", &[]);
        check("READY=1", &[Notification::Ready]);
        check("READY=1\n", &[Notification::Ready]);
        check("READY=0\nREADY=11\nready=1", &[]);
        check(
            "MAINPID=4\nSTATUS=warming up\nREADY=1\nWATCHDOG=1",
            &[
                status("warming up"),
                Notification::Ready,
                Notification::Watchdog,
            ],
        );
        check("STATUS=a\x1b[31mb", &[status("a [31mb")]);
        check("STATUS=", &[status("")]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_short_texts(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for prefix in [&b""[..], b"STATUS="] {
                for notification in parse(&[prefix, &bytes].concat()) {
                    if let Notification::Status(text) = notification {
                        prop_assert!(text.chars().count() <= STATUS_CHARS);
                        prop_assert!(!text.contains(char::is_control));
                    }
                }
            }
        }
    }
}
