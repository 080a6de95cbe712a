//! Commands that read standard input and write standard output, without the runner.

use std::fs;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;

use longtake_ffmpeg::{Codec, Input, Output};

use crate::media::{self, file};
use crate::{both, finish};

#[test]
fn a_stream_goes_through_while_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let stream = fs::read(file("seg.ts")).unwrap();
    for ffmpeg in both() {
        // Without these limits it would wait for more of the stream before it begins.
        let input = Input::stdin("mpegts").option("probesize", "100000");
        let command = ffmpeg
            .command()
            .input(input.option("analyzeduration", "0"))
            .output(Output::stdout("nut").codec(Codec::Copy));
        let mut child = command.to_command().unwrap().spawn().unwrap();
        let (mut stdin, mut stdout) = (child.take_stdin().unwrap(), child.take_stdout().unwrap());
        let (begun, has_begun) = mpsc::channel();
        let (first, rest) = stream.split_at(stream.len() / 2);
        let copied = thread::scope(|scope| {
            scope.spawn(move || {
                stdin.write_all(first).unwrap();
                has_begun.recv().unwrap();
                stdin.write_all(rest).unwrap();
            });
            let mut copied = vec![0; 64];
            stdout.read_exact(&mut copied).unwrap();
            // More comes only now: the first bytes came out before the last went in.
            begun.send(()).unwrap();
            stdout.read_to_end(&mut copied).unwrap();
            copied
        });
        assert!(finish(child).exit.success());
        let path = dir.path().join("copied.nut");
        fs::write(&path, copied).unwrap();
        assert_eq!(media::numbers(&path), (150..300).collect::<Vec<_>>());
    }
}
