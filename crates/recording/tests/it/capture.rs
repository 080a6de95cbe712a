//! Devices that are opened, or refuse to be, before anything is recorded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use longtake_recording::{
    Capture, Device, DeviceFault, FakeImu, OpenError, Outlet, StreamSpec, Tapped,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_preview_works_while_nothing_is_recorded() {
    let imu = FakeImu::new(StreamSpec::data("imu"), 100.0);
    let capture = Capture::open(vec![Box::new(imu)], PATIENCE).unwrap();
    let tap = capture.tap("imu").unwrap();
    let (seen, _) = tap.newer_than(0, PATIENCE).unwrap();
    let (newer, tapped) = tap.newer_than(seen, PATIENCE).unwrap();
    assert!(newer > seen && matches!(tapped, Tapped::Sample { .. }));
    assert!(capture.tap("no such stream").is_none());
}

/// A device that only notes whether it is open, or refuses to be.
#[derive(Debug)]
struct Witness {
    name: &'static str,
    opens: bool,
    becomes_ready: bool,
    open: Arc<AtomicBool>,
}

impl Device for Witness {
    fn label(&self) -> String {
        self.name.into()
    }

    fn device_type(&self) -> String {
        "witness".into()
    }

    fn streams(&self) -> Vec<StreamSpec> {
        vec![StreamSpec::data(self.name)]
    }

    fn open(&mut self, _outlets: Vec<Outlet>) -> Result<(), DeviceFault> {
        self.open.store(self.opens, Ordering::SeqCst);
        if self.opens {
            Ok(())
        } else {
            Err("its cable is cut".into())
        }
    }

    fn ready(&self) -> bool {
        self.becomes_ready
    }

    fn healthy(&self) -> Result<(), DeviceFault> {
        Ok(())
    }

    fn close(&mut self) {
        assert!(
            self.open.swap(false, Ordering::SeqCst),
            "{} was not open",
            self.name
        );
    }
}

/// A device that opens and never delivers.
fn deaf(open: &Arc<AtomicBool>) -> Box<dyn Device> {
    Box::new(Witness {
        name: "deaf",
        opens: true,
        becomes_ready: false,
        open: Arc::clone(open),
    })
}

#[test]
fn a_stop_while_devices_get_ready_is_heeded_and_closes_them() {
    let open = Arc::new(AtomicBool::new(false));
    let stopped = || open.load(Ordering::SeqCst);
    let error = Capture::open_unless(vec![deaf(&open)], PATIENCE, stopped).unwrap_err();
    assert!(matches!(error, OpenError::Stopped), "{error}");
    assert!(!open.load(Ordering::SeqCst), "it is closed again");
}

#[test]
fn a_stop_before_a_device_is_opened_opens_none() {
    let open = Arc::new(AtomicBool::new(false));
    let error = Capture::open_unless(vec![deaf(&open)], PATIENCE, || true).unwrap_err();
    assert!(matches!(error, OpenError::Stopped), "{error}");
}

/// Opens a good device, the one given, and another good one, and wants this refusal.
#[track_caller]
fn check_refused(opens: bool, becomes_ready: bool, want: &str) {
    let open: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let witness = |name, index: usize, opens, becomes_ready| -> Box<dyn Device> {
        Box::new(Witness {
            name,
            opens,
            becomes_ready,
            open: Arc::clone(&open[index]),
        })
    };
    let devices = vec![
        witness("first", 0, true, true),
        witness("middle", 1, opens, becomes_ready),
        witness("last", 2, true, true),
    ];
    let error = Capture::open(devices, Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), want);
    assert!(
        open.iter().all(|open| !open.load(Ordering::SeqCst)),
        "one is still open"
    );
}

#[test]
fn a_device_that_fails_the_start_closes_the_others() {
    check_refused(false, true, "cannot open middle");
    check_refused(true, false, "middle gave nothing within 50ms");
}

#[test]
fn streams_need_names_of_their_own() {
    let imu = |name| -> Box<dyn Device> { Box::new(FakeImu::new(StreamSpec::data(name), 100.0)) };
    let refused = |devices| Capture::open(devices, PATIENCE).unwrap_err().to_string();
    assert_eq!(refused(vec![]), "no device was given");
    assert_eq!(
        refused(vec![imu("a"), imu("a")]),
        "two streams are called \"a\": give each its own name"
    );
    assert!(refused(vec![imu("a\nb")]).contains("cannot be a stream's name"));
}
