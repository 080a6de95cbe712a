//! How real runs end, and whether that is understood: exit status, version and log together.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use longtake_ffmpeg::{
    Codec, Ending, Ffmpeg, FfmpegCommand, Input, Kind, Output, Overwrite, classify,
};
use longtake_process::{Limit, Resource};
use nix::unistd::geteuid;

use crate::{Server, both, finish, is_old, media, pictures, raw, run};

/// The exit codes of 5.1 and 9.0.
type Codes = (i32, i32);

const X264: fn() -> Codec = || Codec::encoder("libx264");

/// The command fails in both versions with its code, for `kind`, and the cause holds `cause`.
#[track_caller]
fn check(command: impl Fn(&Ffmpeg) -> FfmpegCommand, codes: Codes, kind: Kind, cause: &str) {
    for ffmpeg in both() {
        let run = run(&command(&ffmpeg));
        let want = if is_old(&ffmpeg) { codes.0 } else { codes.1 };
        assert_eq!(
            run.exit.code(),
            Some(want),
            "{} {:?}",
            ffmpeg.version(),
            run.log
        );
        assert_eq!(
            run.kind(&ffmpeg, false),
            Some(kind),
            "{} {:?}",
            ffmpeg.version(),
            run.log
        );
        let told = run.cause(&ffmpeg);
        assert!(told.contains(cause), "{}: {told}", ffmpeg.version());
    }
}

/// Reads the file and throws it away.
fn decode(ffmpeg: &Ffmpeg, input: Input) -> FfmpegCommand {
    ffmpeg.command().input(input).output(Output::null())
}

/// Encodes a second of pictures.
fn encode(ffmpeg: &Ffmpeg, output: Output) -> FfmpegCommand {
    ffmpeg.command().input(pictures(1)).output(output)
}

#[test]
fn inputs_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let input = |path: &Path| {
        let path = path.to_owned();
        move |ffmpeg: &Ffmpeg| decode(ffmpeg, Input::file(&path))
    };
    let missing = dir.path().join("nosuch.mp4");
    check(
        input(&missing),
        (1, 254),
        Kind::InputMissing,
        "No such file or directory",
    );
    check(
        input(dir.path()),
        (1, 235),
        Kind::BadArgument,
        "Is a directory",
    );
    check(
        input(&media::file("junk.mp4")),
        (1, 183),
        Kind::InputInvalid,
        "",
    );
    check(
        input(&media::file("nomoov.mp4")),
        (1, 183),
        Kind::InputInvalid,
        "moov atom not found",
    );
    check(
        input(&media::file("zero.mp4")),
        (1, 183),
        Kind::InputInvalid,
        "",
    );
}

#[test]
fn an_input_that_is_not_ours_to_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("secret.mp4");
    fs::copy(media::segment(0), &path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    for ffmpeg in both() {
        let mut command = decode(&ffmpeg, Input::file(&path)).to_command().unwrap();
        if geteuid().is_root() {
            // Nothing is closed to root; ffmpeg 9 may lie in a folder that is closed to others.
            if !is_old(&ffmpeg) {
                continue;
            }
            command.uid(65_534).gid(65_534);
        }
        let run = finish(command.spawn().unwrap());
        assert_eq!(
            run.kind(&ffmpeg, false),
            Some(Kind::PermissionDenied),
            "{:?}",
            run.log
        );
    }
}

#[test]
fn commands_that_make_no_sense() {
    let segment = media::segment(0);
    let to = |output: fn() -> Output| {
        let segment = segment.clone();
        move |ffmpeg: &Ffmpeg| {
            ffmpeg
                .command()
                .input(Input::file(&segment))
                .output(output())
        }
    };
    check(
        to(|| Output::null().map("0:5")),
        (1, 234),
        Kind::BadArgument,
        "matches no streams",
    );
    check(
        to(|| Output::null().format("nosuch")),
        (1, 234),
        Kind::BadArgument,
        "Requested output format",
    );
    check(
        to(|| Output::null().option("nosuchoption", "3")),
        (1, 8),
        Kind::BadArgument,
        "nosuchoption",
    );
    check(
        to(|| Output::null().video_filter("nosuch")),
        (1, 8),
        Kind::BadArgument,
        "No such filter",
    );
    let encoder = |name: &'static str| {
        move |ffmpeg: &Ffmpeg| encode(ffmpeg, Output::null().video_codec(Codec::encoder(name)))
    };
    check(
        encoder("nosuch"),
        (1, 8),
        Kind::CodecUnavailable,
        "Unknown encoder 'nosuch'",
    );
    let preset = |ffmpeg: &Ffmpeg| {
        encode(
            ffmpeg,
            Output::null()
                .video_codec(X264())
                .option("preset", "nosuch"),
        )
    };
    check(
        preset,
        (1, 234),
        Kind::BadArgument,
        "invalid preset 'nosuch'",
    );
    // 9.0 repeats an error number of the encoder in other threads.
    let odd = |codec: &'static str| {
        move |ffmpeg: &Ffmpeg| {
            let output = Output::null().video_codec(Codec::encoder(codec));
            let filter = output.video_filter("scale=95:64,format=yuv420p");
            encode(ffmpeg, filter)
        }
    };
    check(
        odd("libx264"),
        (1, 187),
        Kind::BadArgument,
        "width not divisible by 2 (95x64)",
    );
    check(
        odd("libx265"),
        (1, 183),
        Kind::BadArgument,
        "Picture width must be an integer multiple",
    );
}

#[test]
fn hardware_that_is_not_there() {
    let nvenc = |ffmpeg: &Ffmpeg| {
        encode(
            ffmpeg,
            Output::null().video_codec(Codec::encoder("h264_nvenc")),
        )
    };
    check(nvenc, (1, 255), Kind::Hardware, "Cannot load libcuda");
    let segment = media::segment(0);
    let cuda =
        move |ffmpeg: &Ffmpeg| decode(ffmpeg, Input::file(&segment).option("hwaccel", "cuda"));
    for ffmpeg in both() {
        let run = run(&cuda(&ffmpeg));
        assert_eq!(
            run.kind(&ffmpeg, false),
            Some(Kind::Hardware),
            "{:?}",
            run.log
        );
    }
    let vaapi = |ffmpeg: &Ffmpeg| {
        encode(ffmpeg, Output::null()).global_option("vaapi_device", "/nonexistent")
    };
    check(vaapi, (1, 234), Kind::Hardware, "No VA display found");
}

#[test]
fn outputs_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there.mp4");
    fs::write(&there, "precious").unwrap();
    let exists = |ffmpeg: &Ffmpeg| encode(ffmpeg, Output::file(&there));
    check(exists, (1, 0), Kind::OutputExists, "already exists");
    assert_eq!(fs::read(&there).unwrap(), b"precious");

    let full = |format: &'static str| {
        move |ffmpeg: &Ffmpeg| {
            encode(
                ffmpeg,
                Output::file("/dev/full").format(format).video_codec(X264()),
            )
            .overwrite(Overwrite::Replace)
        }
    };
    // 5.1 writes the whole file at its end and takes the failure for a success.
    check(
        full("matroska"),
        (0, 228),
        Kind::NoSpace,
        "No space left on device",
    );
    check(
        full("mp4"),
        (1, 228),
        Kind::NoSpace,
        "No space left on device",
    );

    let folder = dir.path().join("nosuch/x.mp4");
    let unwritable = |ffmpeg: &Ffmpeg| encode(ffmpeg, Output::file(&folder));
    for ffmpeg in both() {
        let kind = run(&unwritable(&ffmpeg)).kind(&ffmpeg, false);
        // 5.1 words it like a missing input; the runner looks at the folder itself.
        let want = if is_old(&ffmpeg) {
            Kind::InputMissing
        } else {
            Kind::OutputUnwritable
        };
        assert_eq!(kind, Some(want));
    }
}

#[test]
fn the_cause_of_a_full_disk_stands_far_from_the_end() {
    for ffmpeg in both() {
        let command = ffmpeg
            .command()
            .input(pictures(20))
            .output(
                Output::file("/dev/full")
                    .format("mpegts")
                    .video_codec(X264()),
            )
            .overwrite(Overwrite::Replace);
        let run = run(&command);
        assert_eq!(
            run.kind(&ffmpeg, false),
            Some(Kind::NoSpace),
            "{:?}",
            run.log
        );
        assert!(run.cause(&ffmpeg).contains("No space left on device"));
    }
}

#[test]
fn a_limit_on_file_size() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join("limited.mkv");
        let command = encode(&ffmpeg, Output::file(path).video_codec(X264()));
        let mut command = command.overwrite(Overwrite::Replace).to_command().unwrap();
        command.limit(Resource::FileBytes, Limit::both(4096));
        let run = finish(command.spawn().unwrap());
        assert_eq!(
            run.kind(&ffmpeg, false),
            Some(Kind::NoSpace),
            "{:?} {:?}",
            run.exit,
            run.log
        );
    }
}

#[test]
fn a_reserved_index_that_is_too_small() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mp4");
    let command = |ffmpeg: &Ffmpeg| {
        let output = Output::file(&path)
            .codec(Codec::Copy)
            .option("moov_size", "100");
        ffmpeg
            .command()
            .input(Input::file(media::segment(0)))
            .output(output)
            .overwrite(Overwrite::Replace)
    };
    check(
        command,
        (0, 234),
        Kind::BadArgument,
        "reserved_moov_size is too small",
    );
}

#[test]
fn servers_that_refuse_or_fall_silent() {
    let refused = |ffmpeg: &Ffmpeg| decode(ffmpeg, Input::url("tcp://user:secret@127.0.0.1:1"));
    check(refused, (1, 145), Kind::Network, "Connection refused");

    let server = Server::start(&fs::read(media::file("seg.ts")).unwrap()[..200_000]);
    let silent = |ffmpeg: &Ffmpeg| {
        let input = Input::url(server.url())
            .format("mpegts")
            .option("rw_timeout", "300000");
        ffmpeg
            .command()
            .input(input)
            .output(Output::null().codec(Codec::Copy))
    };
    check(silent, (0, 0), Kind::Network, "Connection timed out");
}

#[test]
fn a_seek_past_the_end_looks_like_success() {
    for ffmpeg in both() {
        let input = Input::file(media::segment(0)).seek(std::time::Duration::from_secs(100));
        let run = run(&ffmpeg
            .command()
            .input(input)
            .output(Output::null().codec(Codec::Copy)));
        let ending = classify(run.exit, ffmpeg.version(), false, &run.log);
        assert_eq!(
            ending,
            Ending::Finished,
            "only the duration of the output tells"
        );
    }
}

#[test]
fn xerror_on_a_missing_member() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    let segment = media::segment(0);
    fs::write(
        &list,
        format!("file '{}'\nfile '/nonexistent/x.mp4'\n", segment.display()),
    )
    .unwrap();
    for ffmpeg in both() {
        let path = dir.path().join("x.mp4");
        let args = [
            "-y",
            "-xerror",
            "-f",
            "concat",
            "-safe",
            "0",
            "-i",
            list.to_str().unwrap(),
            "-c",
            "copy",
            path.to_str().unwrap(),
        ];
        let run = finish(raw(&ffmpeg, &args).spawn().unwrap());
        assert_eq!(run.exit.code(), Some(if is_old(&ffmpeg) { 1 } else { 254 }));
        assert_eq!(
            run.kind(&ffmpeg, false),
            Some(Kind::InputMissing),
            "{:?}",
            run.log
        );
        assert!(
            run.cause(&ffmpeg)
                .contains("Impossible to open '/nonexistent/x.mp4'")
        );
    }
}
