//! Devices that are open, whether or not something is being recorded.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::{
    device::{Device, DeviceFault, Outlet},
    health::HealthWatch,
    stream::StreamSpec,
    tap::Tap,
};

/// How often a device that is not yet ready is asked again.
const READY_POLL: Duration = Duration::from_millis(5);

/// How long all devices together may take to get ready, by default.
pub const DEFAULT_READY_TIMEOUT: Duration = Duration::from_millis(7500);

/// Open devices and their streams. Recordings come and go on top of it.
///
/// Each device is asked once a second whether it still works. The streams of one that does not end
/// with its reason, as if it had called [`Outlet::fail`] itself.
///
/// Dropping it closes the devices.
#[derive(Debug)]
pub struct Capture {
    devices: Vec<Arc<OpenDevice>>,
    health: Option<HealthWatch>,
}

/// A device that was opened, and what was learnt of it then.
#[derive(Debug)]
pub(crate) struct OpenDevice {
    pub(crate) device: Mutex<Box<dyn Device>>,
    pub(crate) label: String,
    pub(crate) outlets: Vec<Outlet>,
    device_type: String,
}

/// What a recording remembers of a device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceSummary {
    /// What the user calls it.
    pub label: String,
    /// What kind of device it is.
    #[serde(rename = "type")]
    pub device_type: String,
}

/// Why devices could not be opened. All that were opened already are closed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing to record was named.
    #[error("no device was given")]
    NoDevice,
    /// Two streams have one name.
    #[error("two streams are called {name:?}: give each its own name")]
    DuplicateStream {
        /// The name.
        name: String,
    },
    /// A stream's name is empty, too long, or holds control characters.
    #[error("{name:?} cannot be a stream's name: use 1 to 64 printable characters")]
    StreamName {
        /// The name.
        name: String,
    },
    /// A device cannot be opened.
    #[error("cannot open {label}")]
    Open {
        /// The device.
        label: String,
        /// What it said.
        source: DeviceFault,
    },
    /// A device was opened but failed before it delivered.
    #[error("{label} failed before its first frame")]
    Failed {
        /// The device.
        label: String,
        /// What it said.
        source: DeviceFault,
    },
    /// A device was opened and never delivered.
    #[error("{label} gave nothing within {waited:?}")]
    NotReady {
        /// The device.
        label: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The caller no longer wants them.
    #[error("told to stop before all devices were ready")]
    Stopped,
    /// The system gives no more threads.
    #[error("cannot start the thread that watches the devices")]
    Thread(#[source] io::Error),
}

impl Capture {
    /// Opens all `devices` and waits until each delivers, `patience` at most for all together.
    ///
    /// # Errors
    ///
    /// One of them does not open or does not get ready, or their streams' names clash. Those that
    /// were opened already are closed.
    pub fn open(devices: Vec<Box<dyn Device>>, patience: Duration) -> Result<Self, OpenError> {
        Self::open_unless(devices, patience, || false)
    }

    /// As [`open`](Self::open), but gives up as soon as `stopped` says yes. It is asked before each
    /// device is opened, and every few milliseconds while they get ready.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`OpenError::Stopped`].
    pub fn open_unless(
        devices: Vec<Box<dyn Device>>,
        patience: Duration,
        stopped: impl Fn() -> bool,
    ) -> Result<Self, OpenError> {
        check_names(&devices)?;
        let mut capture = Self {
            devices: Vec::with_capacity(devices.len()),
            health: None,
        };
        for mut device in devices {
            if stopped() {
                return Err(OpenError::Stopped);
            }
            let outlets: Vec<_> = device.streams().into_iter().map(Outlet::new).collect();
            let label = device.label();
            if let Err(source) = device.open(outlets.clone()) {
                return Err(OpenError::Open { label, source });
            }
            info!(device = label, "device opened");
            capture.devices.push(Arc::new(OpenDevice {
                label,
                outlets,
                device_type: device.device_type(),
                device: Mutex::new(device),
            }));
        }
        capture.wait_until_ready(patience, stopped)?;
        let watch = HealthWatch::start(capture.devices.clone()).map_err(OpenError::Thread)?;
        capture.health = Some(watch);
        Ok(capture)
    }

    /// All streams, in the order of the devices.
    pub fn streams(&self) -> Vec<StreamSpec> {
        self.outlets().map(|outlet| outlet.spec().clone()).collect()
    }

    /// What a recording remembers of the devices.
    pub fn devices(&self) -> Vec<DeviceSummary> {
        self.devices
            .iter()
            .map(|open| DeviceSummary {
                label: open.label.clone(),
                device_type: open.device_type.clone(),
            })
            .collect()
    }

    /// A view of the newest picture of the stream called `name`; `None` when there is none of that
    /// name.
    pub fn tap(&self, name: &str) -> Option<Tap> {
        self.outlets()
            .find(|outlet| outlet.spec().name == name)
            .map(Outlet::tap)
    }

    /// Whether every stream has said that nothing will come any more.
    pub fn ended(&self) -> bool {
        self.outlets().all(Outlet::ended)
    }

    pub(crate) fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        self.devices.iter().flat_map(|open| &open.outlets)
    }

    fn wait_until_ready(
        &self,
        patience: Duration,
        stopped: impl Fn() -> bool,
    ) -> Result<(), OpenError> {
        let deadline = Instant::now() + patience;
        for open in &self.devices {
            let device = open.device.lock();
            while !device.ready() {
                let label = open.label.clone();
                if let Err(source) = device.healthy() {
                    return Err(OpenError::Failed { label, source });
                }
                if stopped() {
                    return Err(OpenError::Stopped);
                }
                if Instant::now() >= deadline {
                    return Err(OpenError::NotReady {
                        label,
                        waited: patience,
                    });
                }
                thread::sleep(READY_POLL);
            }
        }
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.health.take());
        for open in &self.devices {
            // A source that waits for room in a recording's queue must be able to go.
            open.outlets.iter().for_each(Outlet::end);
            open.device.lock().close();
            if let Some(outlet) = open.outlets.iter().find(|outlet| outlet.delivered() == 0) {
                warn!(
                    stream = outlet.spec().name,
                    "stream closed without ever delivering"
                );
            }
        }
    }
}

fn check_names(devices: &[Box<dyn Device>]) -> Result<(), OpenError> {
    let mut names = Vec::new();
    for spec in devices.iter().flat_map(|device| device.streams()) {
        let name = spec.name;
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(OpenError::StreamName { name });
        }
        if names.contains(&name) {
            return Err(OpenError::DuplicateStream { name });
        }
        names.push(name);
    }
    if names.is_empty() {
        Err(OpenError::NoDevice)
    } else {
        Ok(())
    }
}
