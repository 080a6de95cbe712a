//! The thread of one stream: from its queue, through an encoder if need be, to the mux.

use std::{
    error::Error,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use tracing::{error, warn};

use super::{StreamState, keeper::Note, mux::ToMux};
use crate::{
    counts::{DropReason, Gap, GapReason},
    encoder::{Encoder, EncoderError, EncoderOutput, EncoderSettings},
    fault_text::with_sources,
    frame::{RawFormat, RawFrame},
    intake::{Arrival, Captured},
    packet::Packet,
    pts::Pts,
    queue::{QueueReceiver, QueueSender, Taken},
    stream::{CodecParameters, StreamIndex},
};

/// What the thread owns.
pub(super) struct Worker {
    pub(super) ffmpeg: PathBuf,
    pub(super) settings: EncoderSettings,
    pub(super) way: Way,
    /// How many streams of the recording have not ended.
    pub(super) unfinished: Arc<AtomicUsize>,
}

/// The way of a stream's packets onwards, shared with the threads of its encoder.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) stream: StreamIndex,
    pub(super) state: Arc<StreamState>,
    /// Why the stream ended, if not in order.
    pub(super) failure: Arc<Mutex<Option<String>>>,
    pub(super) to_mux: QueueSender<ToMux>,
    pub(super) notes: Sender<Note>,
    /// No encoder is started any more.
    pub(super) encoder_gone: Arc<AtomicBool>,
    /// The recording was told to stop, so that it is no news that a stream ends.
    pub(super) stopping: Arc<AtomicBool>,
}

/// An encoder, and what it takes.
struct Encoding {
    format: Arc<RawFormat>,
    encoder: Encoder,
}

impl Worker {
    /// Passes on what comes until the queue is closed or the encoder is gone for good, and then
    /// tells that the stream has ended.
    pub(super) fn run(self, arrivals: &QueueReceiver<Arrival>) {
        let _end = EndOfStream {
            way: self.way.clone(),
            unfinished: Arc::clone(&self.unfinished),
        };
        let json = Arc::new(CodecParameters::json());
        let mut encoding = None;
        let mut last = None;
        while let Taken::Item(arrival) = arrivals.take() {
            let pts = arrival.pts;
            if arrival.after_clock_jump
                && let Some(from) = last
            {
                self.way.tell_clock_gap(from, pts);
            }
            last = last.max(Some(pts));
            match arrival.captured {
                Captured::Frame { format, data } => self.encode(&mut encoding, &format, pts, data),
                Captured::Packet(packet) => self.way.pass_on(Packet {
                    stream: self.way.stream,
                    pts,
                    duration: packet.duration,
                    keyframe: packet.keyframe,
                    data: packet.data,
                    parameters: packet.parameters,
                }),
                Captured::Sample(object) => self.way.pass_on(Packet {
                    stream: self.way.stream,
                    pts,
                    duration: None,
                    keyframe: true,
                    data: object,
                    parameters: Arc::clone(&json),
                }),
            }
            if self.way.encoder_gone.load(Ordering::Acquire) {
                let left = arrivals.close_and_drain().len();
                self.way.state.lose(DropReason::EncoderFailed, left as u64);
            }
        }
        if let Some(Encoding { encoder, .. }) = encoding {
            encoder.finish();
        }
    }

    /// Puts a frame into the encoder, which is made anew when the format of the frames changes.
    fn encode(
        &self,
        encoding: &mut Option<Encoding>,
        format: &Arc<RawFormat>,
        pts: Pts,
        data: Bytes,
    ) {
        if let Some(other) = encoding.take_if(|encoding| encoding.format != *format) {
            other.encoder.finish();
        }
        let encoding = match encoding {
            Some(encoding) => encoding,
            None => match self.start_encoder(format) {
                Ok(encoder) => encoding.insert(Encoding {
                    format: Arc::clone(format),
                    encoder,
                }),
                Err(error) => {
                    self.way.state.lose(DropReason::EncoderFailed, 1);
                    return self.way.give_up(&error);
                }
            },
        };
        encoding.encoder.feed(RawFrame { pts, data });
    }

    fn start_encoder(&self, format: &RawFormat) -> Result<Encoder, EncoderError> {
        let way = self.way.clone();
        let settings = self.settings.clone();
        let (ffmpeg, stream) = (&self.ffmpeg, self.way.stream);
        Encoder::new(ffmpeg, settings, format, stream, move |output| {
            way.take(output);
        })
    }
}

impl Way {
    /// Takes what comes out of an encoder.
    fn take(&self, output: EncoderOutput) {
        match output {
            EncoderOutput::Packet(packet) => self.pass_on(packet),
            EncoderOutput::Dropped { reason, count, .. } => self.state.lose(reason, count),
            EncoderOutput::Gap(gap) => self.note(Note::Gap {
                stream: self.stream,
                gap,
            }),
            EncoderOutput::Interrupted(fault) => {
                warn!(
                    error = &fault as &dyn Error,
                    stream = self.state.spec.name,
                    "encoder is restarted"
                );
                let error = with_sources(&fault);
                self.note(Note::EncoderRestarted {
                    stream: self.stream,
                    error,
                });
            }
            // The stream ends with this, now or when its pictures end that have another format.
            EncoderOutput::EndedBadly(fault) => {
                error!(
                    error = &fault as &dyn Error,
                    stream = self.state.spec.name,
                    "encoder did not let out what it held"
                );
                let why = || with_sources(&fault);
                self.failure.lock().get_or_insert_with(why);
            }
            EncoderOutput::Gone(gone) => self.give_up(&gone),
        }
    }

    fn pass_on(&self, packet: Packet) {
        self.state.upstream.lock().encoded += 1;
        if self.to_mux.offer(ToMux::Packet(packet)).is_err() {
            self.state.lose(DropReason::WriteFailed, 1);
        }
    }

    /// Ends the stream, because no encoder takes its frames.
    fn give_up(&self, why: &(dyn Error + 'static)) {
        error!(
            error = why,
            stream = self.state.spec.name,
            "stream lost its encoder"
        );
        self.failure.lock().get_or_insert_with(|| with_sources(why));
        self.encoder_gone.store(true, Ordering::Release);
    }

    fn tell_clock_gap(&self, from: Pts, to: Pts) {
        if from >= to {
            return;
        }
        let gap = Gap {
            from_pts_us: from,
            to_pts_us: to,
            reason: GapReason::Clock,
        };
        self.note(Note::Gap {
            stream: self.stream,
            gap,
        });
    }

    fn end(&self) {
        let error = self.failure.lock().clone();
        if error.is_some() || !self.stopping.load(Ordering::Acquire) {
            self.note(Note::StreamEnded {
                stream: self.stream,
                error,
            });
        }
        // Should the mux be gone, nothing waits for this stream any more.
        drop(self.to_mux.offer(ToMux::Ended(self.stream)));
    }

    fn note(&self, note: Note) {
        if self.notes.send(note).is_err() {
            error!("the keeper of the recording is gone");
        }
    }
}

/// Tells that the stream has ended, also when its thread panicked: the others go on, and the
/// recording does not wait for it.
struct EndOfStream {
    way: Way,
    unfinished: Arc<AtomicUsize>,
}

impl Drop for EndOfStream {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = || "the thread of the stream panicked".to_owned();
            self.way.failure.lock().get_or_insert_with(why);
        }
        self.way.end();
        self.unfinished.fetch_sub(1, Ordering::Release);
    }
}
