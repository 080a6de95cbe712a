//! Asking a child over the network whether it is ready.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long after a try the next one is.
const EVERY: Duration = Duration::from_millis(200);

/// How long one try may take.
const TRY: Duration = Duration::from_secs(1);

/// The longest head of an answer that is read.
const HEAD_BYTES: usize = 16 << 10;

/// How many header fields an answer may have.
const FIELDS: usize = 100;

/// Waits until something listens at `HOST:PORT`.
pub(super) async fn tcp(address: &str) {
    while !matches!(timeout(TRY, connect(address)).await, Ok(Ok(_))) {
        sleep(EVERY).await;
    }
}

/// Waits until a `GET` is answered with a status from 200 to 399.
pub(super) async fn http(address: &str, path: &str) {
    while !matches!(timeout(TRY, status(address, path)).await, Ok(Ok(200..=399))) {
        sleep(EVERY).await;
    }
}

/// Connects to somebody else. A port of the range that outgoing connections take theirs from can be given
/// to the very socket that tries it, which then talks to itself.
async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

async fn status(address: &str, path: &str) -> io::Result<u16> {
    let mut stream = connect(address).await?;
    // Neither can end the line it stands in.
    let clean = |text: &str| text.replace(|c: char| c.is_control() || c == ' ', "");
    let (path, host) = (clean(path), clean(address));
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        head.extend_from_slice(&buffer[..read]);
        if let Some(code) = code_of(&head)? {
            return Ok(code);
        }
        if read == 0 || head.len() > HEAD_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The status of an answer, as soon as its whole head is there.
fn code_of(head: &[u8]) -> io::Result<Option<u16>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => Ok(response.code),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        #[track_caller]
        fn check(head: &str, want: Option<Option<u16>>) {
            assert_eq!(code_of(head.as_bytes()).ok(), want, "{head:?}");
        }
        check("", Some(None));
        check("HTTP/1.1 200 OK\r\n", Some(None));
        check("HTTP/1.1 200 OK\r\n\r\nbody", Some(Some(200)));
        check("HTTP/1.0 503 Busy\r\nA: b\r\n\r\n", Some(Some(503)));
        check("SSH-2.0-OpenSSH_9.2\r\n", None);
        check(
            &format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS + 1)),
            None,
        );
    }
}
