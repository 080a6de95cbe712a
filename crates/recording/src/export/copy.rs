//! Puts the packets that are wanted into the file.

use std::{collections::BTreeMap, ops::ControlFlow};

use longtake_matroska::{Block, Muxer};

use super::{
    ExportError, ExportPhase, ExportProgress,
    interleave::{Interleave, Taken},
    output::Output,
    plan::Plan,
    selection::Selection,
};
use crate::{content::Extent, pts::Pts};

/// How much is read between two calls of the callback.
const PROGRESS_BYTES: u64 = 1 << 20;

/// How an export goes on, told to a callback that may end it.
pub(super) struct Progress<F> {
    callback: F,
    now: ExportProgress,
    told_bytes: u64,
}

/// What was put into the file.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// How many packets each track has, by number.
    pub packets: BTreeMap<u64, u64>,
    pub extent: Option<Extent>,
}

/// Copies all that `plan` wants of `chunks`.
pub(super) fn copy<F: FnMut(ExportProgress) -> ControlFlow<()>>(
    plan: &Plan,
    chunks: &mut Interleave<'_>,
    muxer: &mut Muxer,
    output: &mut Output<'_>,
    progress: &mut Progress<F>,
) -> Result<Copied, ExportError> {
    let mut selections = plan.selections();
    let mut copied = Copied::default();
    let mut wanted = Vec::new();
    while let Some(taken) = chunks.next()? {
        let is_verbatim = select(&taken, &mut selections, &mut wanted);
        copied.count(&wanted);
        let read_bytes = taken.cluster.len();
        if is_verbatim && !wanted.is_empty() && taken.cluster.can_be_copied() {
            if let Some(before) = muxer.flush() {
                output.append_cluster(&before)?;
            }
            let cluster = muxer.copy(&taken.cluster);
            output.append_cluster(&cluster.map_err(|error| output.cannot_hold(error))?)?;
            wanted.clear();
        }
        for block in wanted.drain(..) {
            let complete = muxer.push(block);
            if let Some(cluster) = complete.map_err(|error| output.cannot_hold(error))? {
                output.append_cluster(&cluster)?;
            }
        }
        progress.advance(read_bytes)?;
        if !selections.is_empty() && selections.iter().all(Selection::is_over) {
            break;
        }
    }
    Ok(copied)
}

/// Gathers in `wanted` the packets to be written now, numbered as in the file. Says whether they are
/// the cluster as it is.
fn select(taken: &Taken<'_>, selections: &mut [Selection], wanted: &mut Vec<Block>) -> bool {
    let Taken {
        source, cluster, ..
    } = taken;
    let mut numbers = taken.before.clone();
    let mut is_verbatim = true;
    for block in cluster.blocks() {
        let Some(stream) = source.stream_of(block.track) else {
            is_verbatim = false;
            continue;
        };
        let number = numbers[stream];
        numbers[stream] += 1;
        let Some(track) = source.numbers.get(&block.track) else {
            is_verbatim = false;
            continue;
        };
        is_verbatim &= *track == block.track;
        let already = wanted.len();
        let block = Block {
            track: *track,
            ..block
        };
        selections[stream].offer(source.place, number, block, wanted);
        is_verbatim &= wanted.len() == already + 1;
    }
    is_verbatim
}

impl Copied {
    fn count(&mut self, blocks: &[Block]) {
        for block in blocks {
            *self.packets.entry(block.track).or_insert(0) += 1;
            self.extent = Some(Extent::with(self.extent, Pts(block.pts_us)));
        }
    }
}

impl<F: FnMut(ExportProgress) -> ControlFlow<()>> Progress<F> {
    pub(super) fn new(callback: F) -> Self {
        Self {
            callback,
            now: ExportProgress {
                phase: ExportPhase::Copying,
                done_bytes: 0,
                total_bytes: 0,
            },
            told_bytes: 0,
        }
    }

    /// Begins a phase in which `total_bytes` are read.
    pub(super) fn begin(
        &mut self,
        phase: ExportPhase,
        total_bytes: u64,
    ) -> Result<(), ExportError> {
        self.now = ExportProgress {
            phase,
            done_bytes: 0,
            total_bytes,
        };
        self.tell()
    }

    pub(super) fn advance(&mut self, bytes: u64) -> Result<(), ExportError> {
        self.now.done_bytes += bytes;
        if self.now.done_bytes < self.told_bytes + PROGRESS_BYTES {
            return Ok(());
        }
        self.tell()
    }

    fn tell(&mut self) -> Result<(), ExportError> {
        self.told_bytes = self.now.done_bytes;
        match (self.callback)(self.now) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ExportError::Cancelled),
        }
    }
}
