//! A made-up accelerometer and gyroscope.

use std::{
    f64::consts::TAU,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use tracing::error;

use crate::{
    clock::Monotonic,
    device::{Device, DeviceFault, Outlet},
    stream::StreamSpec,
};

/// A sensor that swings slowly, so that a recording can be tried without hardware.
#[derive(Debug)]
pub struct FakeImu {
    spec: StreamSpec,
    hz: f64,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    outlet: Outlet,
    /// Dropped to stop the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl FakeImu {
    /// A sensor with one stream of data that gives `hz` samples a second.
    pub const fn new(spec: StreamSpec, hz: f64) -> Self {
        Self {
            spec,
            hz,
            running: None,
        }
    }
}

impl Device for FakeImu {
    fn label(&self) -> String {
        self.spec.name.clone()
    }

    fn device_type(&self) -> String {
        "fake-imu".into()
    }

    fn streams(&self) -> Vec<StreamSpec> {
        vec![self.spec.clone()]
    }

    fn open(&mut self, mut outlets: Vec<Outlet>) -> Result<(), DeviceFault> {
        let outlet = outlets.pop().ok_or("a fake IMU needs one outlet")?;
        let (stop, stopped) = bounded::<()>(0);
        let to_thread = outlet.clone();
        let hz = self.hz;
        let thread = thread::Builder::new()
            .name("fake-imu".into())
            .spawn(move || {
                let began = Instant::now();
                let mut number = 0_u64;
                loop {
                    let at = began + tick(number, hz);
                    match stopped.recv_deadline(at) {
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                    to_thread.sample(Monotonic::now(), sample(number, hz));
                    // What could not be given in time is left out, as by a real sensor.
                    number = ticks_until(began.elapsed(), hz).max(number) + 1;
                }
            })?;
        self.running = Some(Running {
            outlet,
            stop,
            thread,
        });
        Ok(())
    }

    fn ready(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.outlet.delivered() > 0)
    }

    fn healthy(&self) -> Result<(), DeviceFault> {
        match &self.running {
            Some(running) if !running.thread.is_finished() => Ok(()),
            _ => Err("its thread has ended".into()),
        }
    }

    fn close(&mut self) {
        if let Some(running) = self.running.take() {
            drop(running.stop);
            if running.thread.join().is_err() {
                error!(stream = self.spec.name, "the thread of a fake IMU panicked");
            }
        }
    }
}

/// When the `number`-th sample is due, counted from the first, without adding up rounding errors.
fn tick(number: u64, hz: f64) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53 samples: 28,000 years at 10 kHz"
    )]
    Duration::from_secs_f64(number as f64 / hz)
}

/// The number of the last sample that is due after `elapsed`.
fn ticks_until(elapsed: Duration, hz: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both factors are finite and not negative"
    )]
    let ticks = (elapsed.as_secs_f64() * hz) as u64;
    ticks
}

/// The `number`-th sample: one turn in ten seconds around the vertical axis, gravity below.
fn sample(number: u64, hz: f64) -> Bytes {
    let angle = TAU * tick(number, hz).as_secs_f64() / 10.0;
    Bytes::from(format!(
        r#"{{"n":{number},"accel_mps2":[{:.4},{:.4},9.8066],"gyro_radps":[0,0,{:.4}]}}"#,
        angle.sin(),
        angle.cos(),
        TAU / 10.0
    ))
}
