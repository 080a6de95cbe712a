//! Logs of ffmpeg 5.1 and 9.0, each with its cause somewhere.

use longtake_process::Line;

use super::*;

#[track_caller]
fn check(log: &str, cause: &str, kind: Option<Kind>) {
    let mut tail = LogTail::new();
    for line in log.lines() {
        tail.push(Line::cut(line.trim_start().as_bytes(), 4096));
    }
    let found = find(&tail);
    let got = found.cause.map(|cause| cause.to_string());
    assert_eq!((got.as_deref(), found.kind), (Some(cause), kind), "{log}");
}

#[test]
fn a_full_disk_behind_encoder_statistics() {
    check(
        "[error] av_interleaved_write_frame(): No space left on device
         [error] Error writing trailer of x.mp4: No space left on device
         [info] frame=  345 fps=172 q=29.0 Lsize=    2048kB
         [error] Error closing file x.mp4: No space left on device
         [libx264 @ 0x55] [info] frame I:2     Avg QP:20.57  size: 16384
         [libx264 @ 0x55] [info] kb/s:1284.33
         [error] Conversion failed!",
        "av_interleaved_write_frame(): No space left on device",
        Some(Kind::NoSpace),
    );
}

#[test]
fn damage_before_the_cause_is_passed_over() {
    check(
        "[h264 @ 0x1] [error] cabac decode of qscale diff failed at 36 17
         [h264 @ 0x1] [error] error while decoding MB 36 17, bytestream 1380
         [error] Error while decoding stream #0:0: Invalid data found when processing input
         [out#0/mp4 @ 0x1] [error] Error writing trailer: No space left on device",
        "out#0/mp4: Error writing trailer: No space left on device",
        Some(Kind::NoSpace),
    );
}

#[test]
fn a_missing_member_of_a_list() {
    check(
        "[concat @ 0x1] [error] Impossible to open '/m/nosuch.mp4'
         [error] list.txt: No such file or directory",
        "concat: Impossible to open '/m/nosuch.mp4'",
        Some(Kind::InputMissing),
    );
    check(
        "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x7f] [error] moov atom not found
         [in#0/concat @ 0x1] [error] Impossible to open '/m/zero.mp4'
         [in#0/concat @ 0x1] [error] Error during demuxing: Invalid data found when processing input",
        "in#0/concat: Impossible to open '/m/zero.mp4'",
        Some(Kind::InputInvalid),
    );
}

#[test]
fn a_missing_input() {
    check(
        "[in#0 @ 0x1] [error] Error opening input: No such file or directory
         [error] Error opening input file file:nope.mp4.
         [fatal] Error opening input files: No such file or directory",
        "in#0: Error opening input: No such file or directory",
        Some(Kind::InputMissing),
    );
}

#[test]
fn an_output_folder_that_is_not_there() {
    check(
        "[out#0/mp4 @ 0x1] [fatal] Error opening output nosuchdir/x.mp4: No such file or directory
         [error] Error opening output file nosuchdir/x.mp4.
         [fatal] Error opening output files: No such file or directory",
        "out#0/mp4: Error opening output nosuchdir/x.mp4: No such file or directory",
        Some(Kind::OutputUnwritable),
    );
}

#[test]
fn codecs_and_options() {
    check(
        "[vost#0:0 @ 0x1] [fatal] Unknown encoder 'nosuch'
         [vost#0:0 @ 0x1] [fatal] Error selecting an encoder
         [error] Error opening output file -.
         [fatal] Error opening output files: Encoder not found",
        "vost#0:0: Unknown encoder 'nosuch'",
        Some(Kind::CodecUnavailable),
    );
    check(
        "[error] Unrecognized option 'nosuchoption'.
         [fatal] Error splitting the argument list: Option not found",
        "Unrecognized option 'nosuchoption'.",
        Some(Kind::BadArgument),
    );
    check(
        "x264 [error]: invalid preset 'nosuch'
         [libx264 @ 0x1] [error] Error setting preset/tune nosuch/(null).
         [error] Error initializing output stream 0:0 -- Error while opening encoder for output stream #0:0",
        "x264: invalid preset 'nosuch'",
        Some(Kind::BadArgument),
    );
}

#[test]
fn hardware_that_is_not_there() {
    check(
        "[h264_nvenc @ 0x1] [error] Cannot load libcuda.so.1
         [vost#0:0/h264_nvenc @ 0x1] [enc:h264_nvenc @ 0x1] [error] Error while opening encoder - maybe incorrect parameters
         [vf#0:0 @ 0x1] [error] Task finished with error code: -1 (Operation not permitted)",
        "h264_nvenc: Cannot load libcuda.so.1",
        Some(Kind::Hardware),
    );
    check(
        "[vost#0:0/h264_qsv @ 0x1] [enc:h264_qsv @ 0x1] [error] Error while opening encoder - maybe incorrect parameters
         [vf#0:0 @ 0x1] [error] Error sending frames to consumers: Unknown error occurred
         [vost#0:0/h264_qsv @ 0x1] [error] Task finished with error code: -22 (Invalid argument)",
        "enc:h264_qsv: Error while opening encoder - maybe incorrect parameters",
        Some(Kind::Hardware),
    );
}

#[test]
fn an_encoder_is_told_before_the_echoes_of_its_failure() {
    check(
        "[libx264 @ 0x1] [error] something nobody has seen before
         [vost#0:0/libx264 @ 0x1] [enc:libx264 @ 0x1] [error] Error while opening encoder - maybe incorrect parameters such as bit_rate, rate, width or height.
         [vf#0:0 @ 0x1] [error] Error sending frames to consumers: Generic error in an external library
         [vf#0:0 @ 0x1] [error] Task finished with error code: -542398533 (Generic error in an external library)
         [vf#0:0 @ 0x1] [error] Terminating thread with return code -542398533 (Generic error in an external library)
         [vost#0:0/libx264 @ 0x1] [error] Task finished with error code: -22 (Invalid argument)",
        "libx264: something nobody has seen before",
        Some(Kind::BadArgument),
    );
    // Nor is the input damaged because an encoder gives that number.
    check(
        "[libx265 @ 0x1] [error] Cannot open libx265 encoder.
         [vf#0:0 @ 0x1] [error] Error sending frames to consumers: Invalid data found when processing input
         [vf#0:0 @ 0x1] [error] Terminating thread with return code -1094995529 (Invalid data found when processing input)",
        "libx265: Cannot open libx265 encoder.",
        None,
    );
    // A number that says more than the words counts.
    check(
        "[out#0/mp4 @ 0x1] [error] Error muxing a packet
         [mux#0:mp4 @ 0x1] [error] Task finished with error code: -28 (No space left on device)",
        "mux#0:mp4: Task finished with error code: -28 (No space left on device)",
        Some(Kind::NoSpace),
    );
}

#[test]
fn an_unknown_error_beats_its_consequences() {
    check(
        "[aac_mf @ 0x1] [error] something nobody has seen before
         [error] Could not write header for output file #0 (incorrect codec parameters ?): Invalid argument
         [error] Error initializing output stream 0:0 --
         [error] ",
        "aac_mf: something nobody has seen before",
        Some(Kind::BadArgument),
    );
}

#[test]
fn silent_failures_are_told_from_damage() {
    let silent = |text: &str| {
        let mut tail = LogTail::new();
        tail.push(Line::cut(text.as_bytes(), 4096));
        find_silent(&tail).is_some()
    };
    assert!(silent(
        "[error] file:list.txt: Invalid data found when processing input"
    ));
    assert!(silent(
        "[in#0 @ 0x1] [error] Error during demuxing: Input/output error"
    ));
    assert!(!silent(
        "[error] Error while decoding stream #0:0: Invalid data found when processing input"
    ));
    assert!(!silent(
        "[dec:h264 @ 0x1] [error] Error submitting packet to decoder: Invalid data found when processing input"
    ));
    assert!(!silent("[h264 @ 0x1] [error] No start code is found."));
    assert!(!silent("[warning] tcp://x: Connection timed out"));
}

#[test]
fn a_log_without_errors_has_no_cause() {
    assert_eq!(
        find(&LogTail::new()),
        Finding {
            kind: None,
            cause: None
        }
    );
}
