//! Asks open devices whether they still work, and ends the streams of one that does not.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{error, warn};

use crate::{capture::OpenDevice, device::Outlet, fault_text::with_sources};

/// How often each device is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// A thread that asks until it is dropped.
#[derive(Debug)]
pub(crate) struct HealthWatch {
    /// `None` only while it is dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HealthWatch {
    pub(crate) fn start(devices: Vec<Arc<OpenDevice>>) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = thread::Builder::new()
            .name("health".into())
            .spawn(move || watch(&devices, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for HealthWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            error!("a device panicked when it was asked for its health");
        }
    }
}

fn watch(devices: &[Arc<OpenDevice>], stopped: &Receiver<()>) {
    while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        for open in devices {
            // A device whose streams came to their end has done its work.
            if open.outlets.iter().all(Outlet::ended) {
                continue;
            }
            let Err(fault) = open.device.lock().healthy() else {
                continue;
            };
            warn!(
                error = &*fault as &dyn std::error::Error,
                device = open.label,
                "device no longer works"
            );
            let why = with_sources(&*fault);
            open.outlets
                .iter()
                .filter(|outlet| !outlet.ended())
                .for_each(|outlet| outlet.fail(&why));
        }
    }
}
