//! The index for seeking: which cues are kept, and how they are written.

use crate::{ebml, ids};

/// The cues of a file: bounded in number however long the file grows.
///
/// A keyframe gets a cue if it lies at least `spacing_us` from the last cue of its track, so that a
/// stream of keyframes only (FFV1, MJPEG) does not get one a picture. When [`MAX_CUES`] are kept, the
/// spacing doubles until half of them suffice.
#[derive(Debug)]
pub(crate) struct CueIndex {
    cues: Vec<CuePoint>,
    spacing_us: u64,
    /// The time of the last cue of each track that has one.
    last: Vec<(u64, i64)>,
}

/// A keyframe that can be sought.
#[derive(Clone, Copy, Debug)]
struct CuePoint {
    pts_us: i64,
    track: u64,
    cluster_offset: u64,
}

/// A cue takes about 25 bytes in the file and 24 in memory: below 1 MB.
pub(crate) const MAX_CUES: usize = 32_768;

impl CueIndex {
    pub(crate) fn new(spacing_us: u64) -> Self {
        Self {
            cues: Vec::new(),
            spacing_us,
            last: Vec::new(),
        }
    }

    /// Takes note of a keyframe of `track` in the cluster at `cluster_offset` of the file.
    pub(crate) fn note(&mut self, track: u64, pts_us: i64, cluster_offset: u64) {
        match self.last.iter_mut().find(|(number, _)| *number == track) {
            Some((_, last)) if last.abs_diff(pts_us) < self.spacing_us => return,
            Some((_, last)) => *last = pts_us,
            None => self.last.push((track, pts_us)),
        }
        if self.cues.len() == MAX_CUES {
            self.thin();
        }
        self.cues.push(CuePoint {
            pts_us,
            track,
            cluster_offset,
        });
    }

    /// The Cues element, with positions that count from `segment_data`; none without a cue.
    pub(crate) fn to_bytes(&self, segment_data: u64) -> Option<Vec<u8>> {
        if self.cues.is_empty() {
            return None;
        }
        let mut cues = self.cues.clone();
        cues.sort_by_key(|cue| (cue.pts_us, cue.track, cue.cluster_offset));
        let mut bytes = Vec::with_capacity(32 * cues.len());
        ebml::put_checked_master(&mut bytes, ids::CUES, |buf| {
            for same_time in cues.chunk_by(|a, b| a.pts_us == b.pts_us) {
                put_cue_point(buf, same_time, segment_data);
            }
        });
        Some(bytes)
    }

    fn thin(&mut self) {
        self.cues.sort_by_key(|cue| (cue.track, cue.pts_us));
        while self.cues.len() > MAX_CUES / 2 {
            self.spacing_us = self.spacing_us.saturating_mul(2);
            let mut kept: Option<CuePoint> = None;
            self.cues.retain(|cue| {
                let keep = kept.is_none_or(|last| {
                    last.track != cue.track || last.pts_us.abs_diff(cue.pts_us) >= self.spacing_us
                });
                if keep {
                    kept = Some(*cue);
                }
                keep
            });
        }
    }
}

fn put_cue_point(buf: &mut Vec<u8>, same_time: &[CuePoint], segment_data: u64) {
    ebml::put_master(buf, ids::CUE_POINT, |buf| {
        ebml::put_uint(buf, ids::CUE_TIME, same_time[0].pts_us.unsigned_abs());
        for cue in same_time {
            ebml::put_master(buf, ids::CUE_TRACK_POSITIONS, |buf| {
                ebml::put_uint(buf, ids::CUE_TRACK, cue.track);
                let position = cue.cluster_offset - segment_data;
                ebml::put_uint(buf, ids::CUE_CLUSTER_POSITION, position);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(index: &CueIndex, track: u64) -> Vec<i64> {
        let mut times: Vec<i64> = index
            .cues
            .iter()
            .filter(|cue| cue.track == track)
            .map(|cue| cue.pts_us)
            .collect();
        times.sort_unstable();
        times
    }

    #[test]
    fn keyframes_closer_than_the_spacing_share_a_cue() {
        let mut index = CueIndex::new(500_000);
        for frame in 0..60 {
            index.note(1, frame * 33_333, 1000);
            index.note(2, frame * 33_333 + 7, 1000);
        }
        assert_eq!(times(&index, 1), [0, 533_328, 1_066_656, 1_599_984]);
        assert_eq!(times(&index, 2), [7, 533_335, 1_066_663, 1_599_991]);
    }

    #[test]
    fn cues_stay_bounded_however_the_times_run() {
        let mut forward = CueIndex::new(500_000);
        let mut jumping = CueIndex::new(500_000);
        for n in 0..200_000 {
            forward.note(1, n * 600_000, 0);
            jumping.note(1, (n % 2) * 10_000_000 + n, 0);
            jumping.note(2, (n * 7_919_000_003) % 1_000_000_007, 0);
            assert!(forward.cues.len() <= MAX_CUES && jumping.cues.len() <= MAX_CUES);
        }
        // Still spread over the whole time.
        let kept = times(&forward, 1);
        assert!(kept.len() >= MAX_CUES / 4, "{}", kept.len());
        let widest = kept.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(widest <= Some(20_000_000), "{widest:?}");
    }
}
