//! How commands come out as arguments, and what is refused.

use super::*;

const HEAD: &str = "ffmpeg -hide_banner -nostdin -nostats -loglevel level+info -n";

fn testsrc() -> Input {
    Input::lavfi("testsrc2")
}

#[track_caller]
fn check(command: &FfmpegCommand, want: &str) {
    assert_eq!(command.to_string(), format!("{HEAD} {want}"));
}

#[track_caller]
fn check_error(command: &FfmpegCommand, want: &CommandError) {
    assert_eq!(command.args().as_ref(), Err(want), "{command}");
}

#[test]
fn options_stay_with_what_they_belong_to() {
    let command = FfmpegCommand::new()
        .output(
            Output::file("out.mp4")
                .faststart()
                .codec(Codec::Copy)
                .option("metadata", "title=a b")
                .map("0:v"),
        )
        .filter_complex("[0][1]overlay")
        .global_args(["-copyts"])
        .input(
            Input::file("a.mp4")
                .seek(Duration::from_millis(1500))
                .duration(Duration::from_secs(2)),
        )
        .input(
            Input::url("rtsp://u:p@cam/1")
                .option("rtsp_transport", "tcp")
                .realtime(),
        );
    check(
        &command,
        "-copyts -ss 1.500000 -t 2.000000 -i a.mp4 -re -rtsp_transport tcp -i 'rtsp://***@cam/1' \
         -filter_complex '[0][1]overlay' -map 0:v -c copy -movflags +faststart -metadata 'title=a b' out.mp4",
    );
    let args = command.args().unwrap();
    assert!(
        args.contains(&"rtsp://u:p@cam/1".into()),
        "only the shown form is redacted"
    );
    assert!(
        !format!("{command:?}").contains("u:p"),
        "Debug is redacted too"
    );
}

#[test]
fn inputs_of_every_kind() {
    let output = || Output::null();
    check(
        &FfmpegCommand::new().input(testsrc()).output(output()),
        "-f lavfi -i testsrc2 -f null -",
    );
    check(
        &FfmpegCommand::new()
            .input(Input::concat("/l.txt"))
            .output(output()),
        "-f concat -safe 0 -i /l.txt -f null -",
    );
    check(
        &FfmpegCommand::new()
            .input(Input::device("v4l2", "/dev/video0"))
            .output(output()),
        "-f v4l2 -i /dev/video0 -f null -",
    );
    check(
        &FfmpegCommand::new()
            .input(Input::file("a.mp4").loop_forever())
            .output(output()),
        "-stream_loop -1 -i a.mp4 -f null -",
    );
}

#[test]
fn names_that_look_like_something_else() {
    for (name, want) in [
        ("-x.mp4", "file:-x.mp4"),
        ("12:30:00.mp4", "file:12:30:00.mp4"),
        ("http://x/y", "file:http://x/y"),
        ("-", "file:-"),
        ("pipe:1", "file:pipe:1"),
        ("a b.mp4", "'a b.mp4'"),
    ] {
        let command = FfmpegCommand::new()
            .input(Input::file(name))
            .output(Output::file(name));
        check(&command, &format!("-i {want} {want}"));
    }
}

#[test]
fn progress_is_asked_for_once() {
    let command = FfmpegCommand::new().input(testsrc()).output(Output::null());
    let shown = |period| redact_args(&command.ordered(Some(Progress { fd: 7, period })));
    assert_eq!(
        shown(Some(Duration::from_millis(250))),
        "-hide_banner -nostdin -nostats -loglevel level+info -stats_period 0.250000 \
         -progress pipe:7 -n -f lavfi -i testsrc2 -f null -",
    );
    assert_eq!(
        shown(None),
        "-hide_banner -nostdin -nostats -loglevel level+info -progress pipe:7 -n \
         -f lavfi -i testsrc2 -f null -",
    );
}

#[test]
fn what_cannot_be_expressed_is_refused() {
    let good = || FfmpegCommand::new().input(testsrc()).output(Output::null());
    check_error(
        &FfmpegCommand::new().output(Output::null()),
        &CommandError::NoInput,
    );
    check_error(
        &FfmpegCommand::new().input(testsrc()),
        &CommandError::NoOutput,
    );
    check_error(&good().input(Input::file("")), &CommandError::EmptyName);
    check_error(&good().output(Output::file("")), &CommandError::EmptyName);
    check_error(
        &good().output(Output::file("a\0b")),
        &CommandError::NulByte {
            argument: "'a\0b'".into(),
        },
    );
    check_error(
        &good().input(Input::stdin("nut")).input(Input::stdin("nut")),
        &CommandError::PipeUsedTwice { pipe: "pipe:0" },
    );
    check_error(
        &good()
            .output(Output::stdout("nut"))
            .output(Output::stdout("nut")),
        &CommandError::PipeUsedTwice { pipe: "pipe:1" },
    );
    for option in ["-progress", "-y", "-loglevel", "-stats_period"] {
        let want = CommandError::Reserved {
            option: option.into(),
        };
        check_error(&good().global_args([option]), &want);
        check_error(&good().output(Output::null().raw_args([option])), &want);
        check_error(&good().input(testsrc().option(&option[1..], "x")), &want);
    }
}

#[test]
fn a_reserved_word_as_a_value_is_fine() {
    let output = Output::null().option("metadata", "-y");
    assert!(
        FfmpegCommand::new()
            .input(testsrc())
            .output(output)
            .args()
            .is_ok()
    );
}
