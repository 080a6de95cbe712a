//! Records a test picture and a made-up sensor for three seconds, as a program that embeds the
//! recorder would: open devices, start a session, listen, stop.
//!
//! Needs ffmpeg, and neither a camera nor a network.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, time::Duration};

use longtake_ffmpeg::Ffmpeg;
use longtake_recording::{
    Camera, Capture, ChunkOptions, DEFAULT_READY_TIMEOUT, Delivery, Device, FakeImu, NextEvent,
    Session, SessionOptions, StreamSpec, What,
};

fn main() -> Result<(), Box<dyn Error>> {
    let output = tempfile::tempdir()?;
    let ffmpeg = Ffmpeg::find()?;
    let devices: Vec<Box<dyn Device>> = vec![
        Box::new(Camera::new(
            StreamSpec::video("front"),
            "testsrc:320x240@25".parse()?,
            Delivery::Decoded {
                pixel_format: "yuv420p".into(),
            },
            ffmpeg,
        )),
        Box::new(FakeImu::new(StreamSpec::data("imu"), 100.0)),
    ];

    // Devices deliver from here on, recorded or not.
    let capture = Capture::open(devices, DEFAULT_READY_TIMEOUT)?;
    let length = Duration::from_secs(3);
    let options = SessionOptions::default()
        .chunks(ChunkOptions::default().length(Duration::from_secs(1)))
        .max_duration(length);
    let (session, events) = Session::start(&capture, output.path(), options)?;
    println!("recording into {} for now", session.folder().display());

    while session.elapsed() < length {
        if let NextEvent::Event(event) = events.next(Duration::from_millis(100)) {
            tell(&event.what);
        }
    }

    let summary = session.stop();
    // What happened until then waits to be heard.
    while let NextEvent::Event(event) = events.next(Duration::ZERO) {
        tell(&event.what);
    }
    for (stream, counts) in &summary.counts {
        println!(
            "{stream}: {} of {} are in chunks",
            counts.written, counts.received
        );
    }
    Ok(())
}

fn tell(what: &What) {
    if let What::ChunkFinished {
        file,
        bytes,
        packets,
        ..
    } = what
    {
        println!("{file} is safe on the disk: {bytes} bytes, {packets:?}");
    }
}
