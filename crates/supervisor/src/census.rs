//! Looking through all processes of the system, for all children at once and on a thread of its own.
//!
//! One look takes a millisecond, with a thousand processes thirty. When a thousand children die together,
//! those who ask while a look is under way are all served by the next one.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use longtake_process::{Census, Kin};
use tokio::sync::oneshot;

use crate::reply::Reply;

/// What a look that somebody asked for gives.
pub(crate) type Answer = io::Result<Arc<Census>>;

struct Request {
    kin: Kin,
    reply: Reply<Answer>,
}

/// Asks for a look that begins after this call.
pub(crate) fn look(kin: Kin) -> oneshot::Receiver<Answer> {
    let (reply, answer) = Reply::new();
    let request = Request { kin, reply };
    if let Err(refused) = looker().map(|looker| looker.send(request)) {
        let (reply, answer) = Reply::new();
        reply.give(Err(refused));
        return answer;
    }
    answer
}

/// The thread that looks, started by the first who asks. It runs as long as the process, asleep while
/// nobody asks.
fn looker() -> io::Result<&'static Sender<Request>> {
    static LOOKER: OnceLock<Sender<Request>> = OnceLock::new();
    if let Some(looker) = LOOKER.get() {
        return Ok(looker);
    }
    let (requests, receiver) = mpsc::channel::<Request>();
    thread::Builder::new()
        .name("longtake-census".to_owned())
        .spawn(move || {
            while let Ok(first) = receiver.recv() {
                let requests: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
                answer(requests);
            }
        })?;
    // Whoever comes second leaves its thread to end at once: its sender is dropped here.
    Ok(LOOKER.get_or_init(|| requests))
}

fn answer(requests: Vec<Request>) {
    match Census::take(requests.iter().map(|request| &request.kin)) {
        Ok(census) => {
            let census = Arc::new(census);
            for request in requests {
                request.reply.give(Ok(Arc::clone(&census)));
            }
        }
        Err(error) => {
            for request in requests {
                let error = io::Error::new(error.kind(), error.to_string());
                request.reply.give(Err(error));
            }
        }
    }
}
