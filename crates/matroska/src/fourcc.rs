//! How FFmpeg names the pixel layouts of `V_UNCOMPRESSED`.

/// The `UncompressedFourCC` by which FFmpeg's Matroska reader knows a pixel format, named as FFmpeg
/// names it; `None` if it knows none.
///
/// A name not in this table may still work; each that is here was read back by FFmpeg 5.1 in this
/// crate's tests. The codes are those of `libavcodec/raw.c`.
///
/// ```
/// use longtake_matroska::uncompressed_fourcc;
///
/// assert_eq!(uncompressed_fourcc("yuv420p"), Some(*b"I420"));
/// assert_eq!(uncompressed_fourcc("xyz"), None);
/// ```
pub fn uncompressed_fourcc(pixel_format: &str) -> Option<[u8; 4]> {
    UNCOMPRESSED
        .iter()
        .find(|(name, _)| *name == pixel_format)
        .map(|(_, fourcc)| **fourcc)
}

const UNCOMPRESSED: [(&str, &[u8; 4]); 10] = [
    ("yuv420p", b"I420"),
    ("yuv422p", b"Y42B"),
    ("yuyv422", b"YUY2"),
    ("nv12", b"NV12"),
    ("gray", b"Y800"),
    ("gray16le", b"Y1\x00\x10"),
    ("rgb24", b"RGB\x18"),
    ("bgr24", b"BGR\x18"),
    ("bgra", b"BGRA"),
    ("rgba", b"RGBA"),
];
