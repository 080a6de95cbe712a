//! Pictures before they are encoded.

use bytes::Bytes;

use crate::{pts::Pts, stream::FrameRate};

/// What the bytes of a raw frame mean. A stream keeps one format as long as it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFormat {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// ffmpeg's name of the layout, such as `yuv420p` or `gray16le`.
    pub pixel_format: String,
    /// Nominal rate, where it is known.
    pub fps: Option<FrameRate>,
}

impl RawFormat {
    /// How many bytes a frame has; `None` for a layout that is not known here.
    ///
    /// The layouts are those that [`Encoder`](crate::Encoder) takes.
    pub fn frame_bytes(&self) -> Option<u64> {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let row = |bytes_per_pixel| width.checked_mul(bytes_per_pixel);
        let (rows_of_luma, rows_of_chroma) = match self.pixel_format.as_str() {
            "gray" => (row(1)?, None),
            "gray16le" => (row(2)?, None),
            "rgb24" | "bgr24" => (row(3)?, None),
            "rgba" | "bgra" => (row(4)?, None),
            "yuyv422" => (half_width.checked_mul(4)?, None),
            "yuv422p" => (row(1)?, Some(height)),
            "yuv420p" | "nv12" => (row(1)?, Some(half_height)),
            _ => return None,
        };
        let luma = rows_of_luma.checked_mul(height)?;
        let chroma = rows_of_chroma.map_or(Some(0), |rows| (2 * half_width).checked_mul(rows));
        luma.checked_add(chroma?)
    }
}

/// One picture on its way into an encoder: planes one after the other, rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// When it was captured.
    pub pts: Pts,
    /// The pixels.
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use longtake_matroska::uncompressed_fourcc;

    use super::*;

    #[test]
    fn sizes_of_frames() {
        for (pixel_format, want) in [
            ("gray", Some(15)),
            ("gray16le", Some(30)),
            ("rgb24", Some(45)),
            ("bgr24", Some(45)),
            ("rgba", Some(60)),
            ("bgra", Some(60)),
            ("yuyv422", Some(36)),
            ("yuv422p", Some(15 + 18)),
            ("yuv420p", Some(15 + 12)),
            ("nv12", Some(15 + 12)),
            ("yuv420p10le", None),
        ] {
            let format = RawFormat {
                width: 5,
                height: 3,
                pixel_format: pixel_format.to_owned(),
                fps: None,
            };
            assert_eq!(format.frame_bytes(), want, "{pixel_format}");
            assert_eq!(want.is_some(), uncompressed_fourcc(pixel_format).is_some());
        }
    }
}
