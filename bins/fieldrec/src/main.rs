//! Records cameras and sensors into crash-safe chunks.
fn main() {}
