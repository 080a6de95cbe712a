//! Sends each of its arguments as one datagram to the socket in `NOTIFY_SOCKET`, as `sd_notify(3)` does.
//! `BARRIER=1` goes together with a file, as it should.

use std::env;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

fn main() -> io::Result<()> {
    let socket = env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let name = socket.strip_prefix('@').unwrap_or(&socket);
    let sender = UnixDatagram::unbound()?;
    sender.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    for text in env::args().skip(1) {
        if text == "BARRIER=1" {
            with_file(&sender, &text)?;
        } else {
            sender.send(text.as_bytes())?;
        }
    }
    Ok(())
}

fn with_file(sender: &UnixDatagram, text: &str) -> io::Result<()> {
    let files = [io::stdin().as_fd().try_clone_to_owned()?];
    let files = [files[0].as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg(sender, &text, &mut control, SendFlags::empty())?;
    Ok(())
}
