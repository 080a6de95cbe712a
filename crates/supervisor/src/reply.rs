//! Answers to those who wait, if they still do.

use tokio::sync::oneshot;

/// The end at which an answer is given.
#[derive(Debug)]
pub(crate) struct Reply<T>(oneshot::Sender<T>);

impl<T> Reply<T> {
    /// The end for the answer, and the one that waits for it.
    pub(crate) fn new() -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Gives the answer. Whoever asked may have gone meanwhile, which is no fault.
    pub(crate) fn give(self, answer: T) {
        match self.0.send(answer) {
            Ok(()) | Err(_) => {}
        }
    }
}
