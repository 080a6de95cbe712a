//! How the timestamps that ffmpeg gives for a source become capture times.

use std::time::Duration;

use tracing::warn;

use super::VideoSource;
use crate::{anchor::Anchor, clock::Monotonic};

/// How long the first picture may have been on its way, on a machine that is busy at its start.
const LATEST_PICTURE: Duration = Duration::from_secs(10);

/// Places the pictures of one source.
#[derive(Debug)]
pub(super) struct Placing {
    anchor: Anchor,
    stamps: Stamps,
}

/// Whose clock the timestamps are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamps {
    /// The source has one of its own.
    Foreign,
    /// The kernel's, if the driver does as it should: the first picture decides.
    Undecided,
    /// The kernel's monotonic clock, which is ours.
    Kernel,
}

impl Placing {
    pub(super) const fn of(source: &VideoSource) -> Self {
        let anchor = if source.plays_by_our_clock() {
            Anchor::fixed()
        } else {
            Anchor::following()
        };
        let stamps = match source {
            VideoSource::V4l2 { .. } => Stamps::Undecided,
            _ => Stamps::Foreign,
        };
        Self { anchor, stamps }
    }

    /// Whether what follows keeps its own spacing.
    pub(super) const fn is_settled(&self) -> bool {
        match self.stamps {
            Stamps::Kernel => true,
            Stamps::Undecided => false,
            Stamps::Foreign => self.anchor.is_settled(),
        }
    }

    /// When a picture was captured that arrived at `arrival`, and whether it begins a new spacing.
    pub(super) fn place(&mut self, source_us: i64, arrival: Monotonic) -> (Monotonic, bool) {
        let stamp = Monotonic(source_us);
        if self.stamps == Stamps::Undecided {
            // A driver may stamp with another clock than it should, which is off by far more than a
            // picture may be late; then it is anchored as others are.
            let is_ours = stamp <= arrival && arrival.since(stamp) <= LATEST_PICTURE;
            self.stamps = if is_ours {
                Stamps::Kernel
            } else {
                warn!("the camera's driver does not stamp with the kernel's monotonic clock");
                Stamps::Foreign
            };
        }
        if self.stamps == Stamps::Kernel {
            // Nothing is captured after it arrives.
            return (stamp.min(arrival), false);
        }
        let placed = self.anchor.place(source_us, arrival);
        (placed.at, placed.anchored_anew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places pictures that come as (timestamp, arrival), and wants these capture times.
    #[track_caller]
    fn check(source: &str, pictures: &[(i64, i64)], want: &[i64]) {
        let mut placing = Placing::of(&source.parse().unwrap());
        assert!(!placing.is_settled());
        let placed: Vec<_> = pictures
            .iter()
            .map(|(source_us, arrival)| placing.place(*source_us, Monotonic(*arrival)))
            .collect();
        let want: Vec<_> = want.iter().map(|at| (Monotonic(*at), false)).collect();
        assert_eq!(placed, want, "{source}");
        assert!(placing.is_settled());
    }

    #[test]
    fn a_driver_that_stamps_with_our_clock_is_believed() {
        let camera = "v4l2:/dev/video0";
        check(camera, &[(1_000_000, 1_030_000)], &[1_000_000]);
        // However late the next one comes, its stamp is right.
        check(
            camera,
            &[
                (1_000_000, 1_030_000),
                (1_033_333, 2_900_000),
                (1_066_667, 2_900_100),
            ],
            &[1_000_000, 1_033_333, 1_066_667],
        );
        // Also if the first one was late.
        check(
            camera,
            &[(1_000_000, 1_600_000), (1_033_333, 1_600_100)],
            &[1_000_000, 1_033_333],
        );
        // A stamp from the future is none.
        check(
            camera,
            &[
                (1_000_000, 1_030_000),
                (3_601_000_000, 1_063_000),
                (1_066_667, 1_096_000),
            ],
            &[1_000_000, 1_063_000, 1_066_667],
        );
    }

    #[test]
    fn a_driver_that_stamps_with_another_clock_is_anchored() {
        let wall_clock = 1_788_523_394_000_000;
        check(
            "v4l2:/dev/video0",
            &[(wall_clock, 1_030_000), (wall_clock + 33_333, 1_070_000)],
            &[1_030_000, 1_063_333],
        );
        // Also when its stamp happens to come near ours later.
        check(
            "v4l2:/dev/video0",
            &[
                (0, 20_000_000),
                (400_000, 20_400_000),
                (800_000, 20_800_000),
            ],
            &[20_000_000, 20_400_000, 20_800_000],
        );
    }

    #[test]
    fn a_network_camera_has_a_clock_of_its_own() {
        check(
            "rtsp://cam/1",
            &[(1_000_000, 1_010_000), (1_040_000, 1_055_000)],
            &[1_010_000, 1_050_000],
        );
    }
}
