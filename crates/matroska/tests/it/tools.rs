//! Real ffmpeg and ffprobe, and files to feed them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use longtake_matroska::{Block, Muxer};

/// What a program said; it ended well.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Said {
    /// The standard output as text, of a program that had nothing to complain about.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.stderr, "");
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// Runs `program` on `input`, and takes no failure.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str], input: Vec<u8>) -> Said {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    feeder.join().unwrap().unwrap();
    Said {
        stdout: output.stdout,
        stderr,
    }
}

/// The whole file that `muxer` makes of `blocks`, completed.
pub(crate) fn file_of(mut muxer: Muxer, blocks: impl IntoIterator<Item = Block>) -> Vec<u8> {
    let mut file = muxer.header().to_vec();
    for block in blocks {
        if let Some(cluster) = muxer.push(block).unwrap() {
            assert_eq!(cluster.offset(), file.len() as u64);
            cluster.write_to(&mut file).unwrap();
            assert_eq!(cluster.offset() + cluster.len(), file.len() as u64);
        }
    }
    complete(muxer, file)
}

/// Appends and patches what completes `file`.
pub(crate) fn complete(muxer: Muxer, mut file: Vec<u8>) -> Vec<u8> {
    let trailer = muxer.finish();
    assert_eq!(trailer.offset, file.len() as u64);
    file.extend_from_slice(&trailer.bytes);
    for patch in trailer.patches {
        let start = usize::try_from(patch.offset).unwrap();
        file[start..start + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    file
}
