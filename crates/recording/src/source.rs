//! Sources that come with the crate, and how a user names them.

mod camera;
mod fake_imu;
mod json_lines;
mod placing;
mod plan;
mod spec;

pub use camera::Camera;
pub use fake_imu::FakeImu;
pub use json_lines::JsonLines;
pub use plan::Delivery;
pub use spec::{SensorSource, SourceError, V4l2Mode, VideoSource};
