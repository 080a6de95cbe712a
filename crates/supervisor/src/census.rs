//! Looking through all processes of the system, for all children at once and on a thread of its own.
//!
//! One look takes a millisecond, with a thousand processes thirty. When a thousand children die together,
//! those who ask while a look is under way are all served by the next one.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::thread;

use longtake_process::{Census, Kin};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::reply::Reply;

/// What a look that somebody asked for gives.
pub(crate) type Answer = io::Result<Arc<Census>>;

struct Request {
    kin: Kin,
    reply: Reply<Answer>,
}

/// The way to the thread that looks, once somebody has asked.
static LOOKER: Mutex<Option<Sender<Request>>> = Mutex::new(None);

/// Asks for a look that begins after this call. There is no answer if the thread that looks dies of it.
pub(crate) fn look(kin: Kin) -> oneshot::Receiver<Answer> {
    let (reply, answer) = Reply::new();
    ask(Request { kin, reply });
    answer
}

/// Hands the request to the thread that looks, and starts one if there is none, or none any more.
fn ask(request: Request) {
    let mut looker = LOOKER.lock();
    let refused = match &*looker {
        Some(requests) => match requests.send(request) {
            Ok(()) => return,
            Err(SendError(request)) => request,
        },
        None => request,
    };
    let (requests, receiver) = mpsc::channel();
    match start(receiver) {
        Ok(()) => {
            // Should it be dead already, the request is dropped, and has no answer.
            drop(requests.send(refused));
            *looker = Some(requests);
        }
        Err(error) => refused.reply.give(Err(error)),
    }
}

/// Starts a thread that looks. It runs as long as the process, asleep while nobody asks.
fn start(receiver: Receiver<Request>) -> io::Result<()> {
    let looker = thread::Builder::new().name("longtake-census".to_owned());
    looker.spawn(move || {
        while let Ok(first) = receiver.recv() {
            let requests: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
            answer(requests);
        }
    })?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use longtake_process::Command;

    use super::*;

    #[test]
    fn a_thread_that_died_is_replaced() {
        let child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        for _death in 0..2 {
            let (requests, of_the_dead) = mpsc::channel();
            drop(of_the_dead);
            *LOOKER.lock() = Some(requests);
            for _look in 0..2 {
                let census = look(child.kin()).blocking_recv().unwrap().unwrap();
                assert_eq!(census.usage(&child.kin()).processes, 1);
            }
        }
    }
}
