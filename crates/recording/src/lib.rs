//! Record cameras and sensors into crash-safe Matroska chunks with exact timestamps.
