//! Sources that come with the crate, and how a user names them.

mod fake_imu;
mod json_lines;
mod spec;

pub use fake_imu::FakeImu;
pub use json_lines::JsonLines;
pub use spec::{SensorSource, SourceError, VideoSource};
