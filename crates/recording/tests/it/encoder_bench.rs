//! An encoder on the bench: frames with times that no coarser tick can hold go in, and everything that
//! comes out is kept.

use std::{
    fs,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use bytes::Bytes;
use longtake_recording::{
    DropReason, Encoder, EncoderFault, EncoderGone, EncoderOutput, EncoderSettings, EncoderSummary,
    FrameRate, Gap, Packet, Pts, RawFormat, RawFrame, StreamIndex,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longer than anything takes here, however busy the machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const STREAM: StreamIndex = StreamIndex(3);

/// Frames of 96 by 64 pixels at about 30 a second.
pub(crate) fn format(pixel_format: &str) -> RawFormat {
    RawFormat {
        width: 96,
        height: 64,
        pixel_format: pixel_format.to_owned(),
        fps: FrameRate::new(30, 1),
    }
}

/// The time of a frame in a stream that begins at `first`.
pub(crate) fn odd_pts(first: i64, number: i64) -> Pts {
    Pts(first + number * 33_333 + number * 7919 % 997)
}

/// A picture with something that moves.
pub(crate) fn picture(format: &RawFormat, number: i64) -> Bytes {
    let bytes = usize::try_from(format.frame_bytes().unwrap()).unwrap();
    let shift = usize::try_from(number).unwrap() * 3;
    (0..bytes)
        .map(|at| ((at + shift) / 7 % 200 + 20).to_le_bytes()[0])
        .collect()
}

/// An encoder and what came out of it.
pub(crate) struct Bench {
    pub encoder: Encoder,
    pub format: RawFormat,
    outputs: Receiver<EncoderOutput>,
    pub got: Got,
}

/// What came out, sorted by kind.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub packets: Vec<Packet>,
    pub dropped: Vec<(DropReason, u64, Pts, Pts)>,
    pub gaps: Vec<Gap>,
    pub faults: Vec<EncoderFault>,
    pub bad_end: Option<EncoderFault>,
    pub gone: Vec<EncoderGone>,
}

impl Bench {
    pub(crate) fn new(
        ffmpeg: impl Into<PathBuf>,
        settings: EncoderSettings,
        format: RawFormat,
    ) -> Self {
        let (sender, outputs) = channel();
        let encoder = Encoder::new(ffmpeg, settings, &format, STREAM, move |output| {
            // At the end of a test nobody listens any more.
            drop(sender.send(output));
        });
        Self {
            encoder: encoder.unwrap(),
            format,
            outputs,
            got: Got::default(),
        }
    }

    /// Feeds the frame of this number of a stream that begins at `first`.
    pub(crate) fn feed(&mut self, first: i64, number: i64) {
        let data = picture(&self.format, number);
        let pts = odd_pts(first, number);
        self.encoder.feed(RawFrame { pts, data });
    }

    /// Takes outputs until what came satisfies `enough`.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut enough: impl FnMut(&Got) -> bool) {
        let deadline = Instant::now() + LONG;
        while !enough(&self.got) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.outputs.recv_timeout(left) {
                Ok(output) => self.got.take(output),
                Err(error) => panic!("{error} waiting for {what}, with {:?}", self.got.told()),
            }
        }
    }

    /// Takes outputs that are there.
    pub(crate) fn look(&mut self) {
        for output in self.outputs.try_iter() {
            self.got.take(output);
        }
    }

    /// Finishes, checks that every frame has one fate, and gives all that came out.
    #[track_caller]
    pub(crate) fn finish(self) -> (EncoderSummary, Got) {
        let Self {
            encoder,
            outputs,
            mut got,
            ..
        } = self;
        let summary = encoder.finish();
        loop {
            match outputs.recv_timeout(LONG) {
                Ok(output) => got.take(output),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("somebody still holds the output"),
            }
        }
        let dropped: u64 = summary.dropped.values().sum();
        assert_eq!(summary.received, summary.encoded + dropped, "{summary:?}");
        assert_eq!(summary.encoded, got.packets.len() as u64);
        assert_eq!(
            dropped,
            got.dropped.iter().map(|(_, count, ..)| count).sum::<u64>()
        );
        assert_eq!(
            summary.interruptions,
            (got.faults.len() + got.gone.len() + usize::from(got.bad_end.is_some())) as u64
        );
        (summary, got)
    }
}

impl Got {
    /// The times of the packets, sorted.
    pub(crate) fn times(&self) -> Vec<Pts> {
        let mut times: Vec<_> = self.packets.iter().map(|packet| packet.pts).collect();
        times.sort_unstable();
        times
    }

    /// The times of the keyframes.
    pub(crate) fn keyframes(&self) -> Vec<Pts> {
        let keyframes = self.packets.iter().filter(|packet| packet.keyframe);
        keyframes.map(|packet| packet.pts).collect()
    }

    fn take(&mut self, output: EncoderOutput) {
        match output {
            EncoderOutput::Packet(packet) => {
                assert_eq!(packet.stream, STREAM);
                self.packets.push(packet);
            }
            EncoderOutput::Dropped {
                reason,
                count,
                from,
                to,
            } => {
                self.dropped.push((reason, count, from, to));
            }
            EncoderOutput::Gap(gap) => self.gaps.push(gap),
            EncoderOutput::Interrupted(fault) => self.faults.push(fault),
            EncoderOutput::EndedBadly(fault) => self.bad_end = Some(fault),
            EncoderOutput::Gone(gone) => self.gone.push(gone),
            other => panic!("{other:?}"),
        }
    }

    /// All but the packets themselves.
    fn told(&self) -> impl std::fmt::Debug {
        (
            self.packets.len(),
            &self.dropped,
            &self.gaps,
            &self.faults,
            &self.gone,
        )
    }
}

/// The ffmpeg among our children that has `argument`; each test has one of its own.
#[track_caller]
pub(crate) fn child_with(argument: &str) -> Pid {
    let parent = format!("PPid:\t{}\n", std::process::id());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|entry| {
        let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let command = read("cmdline");
        status.contains(&parent)
            && command
                .split(|&byte| byte == 0)
                .any(|arg| arg == argument.as_bytes())
    });
    let pids: Vec<i32> = ours
        .map(|entry| entry.file_name().to_str().unwrap().parse().unwrap())
        .collect();
    let [pid] = pids[..] else {
        panic!("{argument} is an argument of {pids:?}");
    };
    Pid::from_raw(pid)
}

pub(crate) fn signal(child: Pid, signal: Signal) {
    kill(child, signal).unwrap();
}
