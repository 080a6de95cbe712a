//! What a child gets, and why one is not started.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use longtake_process::{Command, Input, IoPriority, Limit, Output, Resource, SpawnError};

use crate::{output_of, read_line, sh, start};

#[test]
fn own_group_but_our_session() {
    let (child, _stdout, stat) = start("read -r line < /proc/$$/stat; echo ready $line");
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[2], child.pid().to_string(), "its group");
    let ours = fs::read_to_string("/proc/self/stat").unwrap();
    let ours: Vec<&str> = ours.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[3], ours[3], "the session");
}

/// Rust ignores SIGPIPE, and a thread may block signals: neither is passed on.
#[test]
fn signals_are_at_their_defaults() {
    let blocking = nix::sys::signal::SigSet::all();
    blocking.thread_block().unwrap();
    let status = output_of(Command::new("cat").arg("/proc/self/status"));
    blocking.thread_unblock().unwrap();
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let mask = u64::from_str_radix(line.rsplit_once('\t').unwrap().1, 16).unwrap();
        // glibc ignores its two internal signals, which nobody may send.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

/// Also files that somebody opened without close-on-exec.
#[test]
fn no_other_file_is_open_in_the_child() {
    let file = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let open = output_of(&mut sh("ls /proc/self/fd"));
    // `ls` itself has the folder open.
    assert_eq!(
        open.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
}

#[test]
fn files_handed_over_are_numbered_from_3() {
    let (mut first, first_end) = std::io::pipe().unwrap();
    let (mut second, second_end) = std::io::pipe().unwrap();
    let mut command = sh("echo one >&3; echo two >&4");
    assert_eq!(command.pass_fd(first_end.into()), 3);
    assert_eq!(command.pass_fd(second_end.into()), 4);
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    first.read_to_string(&mut said).unwrap();
    second.read_to_string(&mut said).unwrap();
    assert_eq!(
        said, "one\ntwo\n",
        "and our copies are closed, or this would wait for ever"
    );
    assert!(child.wait().unwrap().success());
    let error = command.spawn().unwrap_err();
    assert!(matches!(error, SpawnError::FilesSpent { .. }), "{error:?}");
}

#[test]
fn streams_from_and_to_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "content\n").unwrap();
    let input = fs::File::open(&path).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = Command::new("/bin/sh")
        .args(["-c", "cat; echo trouble >&2"])
        .stdin(Input::From(input.into()))
        .stdout(Output::To(writer.try_clone().unwrap().into()))
        .stderr(Output::To(writer.into()))
        .spawn()
        .unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "content\ntrouble\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn pipes() {
    let mut child = sh("tr a-z A-Z; echo trouble >&2")
        .stdin(Input::Pipe)
        .stderr(Output::Pipe)
        .spawn()
        .unwrap();
    let mut stdin = child.take_stdin().unwrap();
    stdin.write_all(b"words").unwrap();
    drop(stdin);
    let (mut said, mut complained) = (String::new(), String::new());
    child
        .take_stdout()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    child
        .take_stderr()
        .unwrap()
        .read_to_string(&mut complained)
        .unwrap();
    assert_eq!((said.as_str(), complained.as_str()), ("WORDS", "trouble\n"));
    assert!(child.take_stdin().is_none() && child.take_stdout().is_none());
}

#[test]
fn stdin_is_empty_unless_asked_for() {
    assert_eq!(output_of(Command::new("cat").arg("-")), "");
}

#[test]
fn environment_and_folder() {
    let dir = tempfile::tempdir().unwrap();
    let text = output_of(
        sh("pwd; env")
            .cwd(dir.path())
            .env_clear()
            .env("A", "1")
            .env("B", "2")
            .env_remove("B"),
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        dir.path().canonicalize().unwrap().to_str().unwrap()
    );
    assert!(lines.contains(&"A=1"), "{text}");
    assert!(!text.contains("B=2") && !text.contains("CARGO"), "{text}");
    let text = output_of(sh("env").env("A", "1"));
    assert!(text.contains("A=1\n") && text.contains("PATH="), "{text}");
}

#[test]
fn priorities() {
    // The priorities are set right after the start: the child looks when it is told to.
    let mut child = sh("read -r go; cut -d')' -f2 /proc/$$/stat | cut -d' ' -f18; ionice -p $$")
        .stdin(Input::Pipe)
        .nice(7)
        .io_priority(IoPriority::Idle)
        .spawn()
        .unwrap();
    child.take_stdin().unwrap().write_all(b"go\n").unwrap();
    let mut stdout = child.take_stdout().unwrap();
    assert_eq!(read_line(&mut stdout), "7");
    assert_eq!(read_line(&mut stdout), "idle");
    child.wait().unwrap();
}

#[test]
fn limits() {
    let text = output_of(
        Command::new("cat")
            .arg("/proc/self/limits")
            .limit(
                Resource::OpenFiles,
                Limit {
                    soft: Some(50),
                    hard: Some(60),
                },
            )
            .limit(Resource::CoreBytes, Limit::both(0)),
    );
    let line = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect::<Vec<u64>>()
    };
    assert_eq!(line("Max open files"), [50, 60]);
    assert_eq!(line("Max core file size"), [0, 0]);
}

/// The process that was started is the program itself, with its own status.
#[test]
fn limits_leave_no_process_between() {
    let mut child = sh("exit 7")
        .limit(Resource::OpenFiles, Limit::both(50))
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

/// As root the ids change; as anybody else, or as root without capabilities, the answer says why not.
#[test]
fn another_user() {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "id -u; id -g; id -G"])
        .uid(65534)
        .gid(65533);
    if rustix::process::geteuid().is_root() {
        assert_eq!(output_of(&mut command), "65534\n65533\n65533\n");
    } else {
        let error = command.spawn().unwrap_err();
        assert!(
            matches!(error, SpawnError::NotPrivileged { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn root_without_capabilities_is_no_root() {
    let embedder = env!("CARGO_BIN_EXE_embedder");
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", embedder]);
        command
    } else {
        Command::new(embedder)
    };
    let mut child = command
        .stdin(Input::Pipe)
        .stdout(Output::Pipe)
        .spawn()
        .unwrap();
    child
        .take_stdin()
        .unwrap()
        .write_all(b"user\nurgent\n")
        .unwrap();
    let mut said = String::new();
    child
        .take_stdout()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("CAP_SETUID and CAP_SETGID"), "{said}");
    assert!(
        said.contains("cannot set the priority of program /bin/sleep"),
        "{said}"
    );
}

/// A fork would share our memory with the child for a moment, page by page: writing to it afterwards costs
/// a fault each. Being free of them is what makes a start as cheap in a large process as in a small one.
#[test]
fn a_start_leaves_our_memory_alone() {
    // Allocated page by page, so that the kernel does not use huge ones.
    let mut pages: Vec<Box<[u8; 4096]>> = (0..4000).map(|_| Box::new([1; 4096])).collect();
    let child = sh("exec sleep 1000").spawn().unwrap();
    let before = minor_faults();
    for page in &mut pages {
        page.fill(2);
    }
    let faults = minor_faults() - before;
    assert!(faults < 400, "{faults} faults for 4000 pages");
    drop(child);
}

/// Of this thread, see `proc_pid_stat(5)`.
fn minor_faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(7)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn not_started() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, mode: u32, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let plain = file("plain", 0o644, "#!/bin/sh\n");
    let garbage = file("garbage", 0o755, "\x01\x02\x03");
    let orphan = file("orphan", 0o755, "#!/no/such/interpreter\n");

    #[track_caller]
    fn check(command: &mut Command, message: &str, errno: Option<i32>) {
        use std::error::Error;
        let error = command.spawn().unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        let source = error
            .source()
            .and_then(|s| s.downcast_ref::<std::io::Error>());
        assert_eq!(
            source.and_then(std::io::Error::raw_os_error),
            errno,
            "{error:?}"
        );
    }
    check(
        &mut Command::new("no-such-program"),
        "cannot find program no-such-program",
        None,
    );
    check(
        &mut Command::new("/no/such/program"),
        "cannot find program /no/such/program",
        None,
    );
    check(
        &mut Command::new(&plain),
        "cannot run program",
        Some(libc::EACCES),
    );
    check(
        &mut Command::new(&garbage),
        "cannot run program",
        Some(libc::ENOEXEC),
    );
    check(
        &mut Command::new(&orphan),
        "cannot run program",
        Some(libc::ENOENT),
    );
    check(
        &mut Command::new(dir.path()),
        "cannot run program",
        Some(libc::EACCES),
    );
    let long = "x".repeat(3 << 20);
    check(
        Command::new("true").arg(&long),
        "cannot run program true",
        Some(libc::E2BIG),
    );
    let gone = dir.path().join("gone");
    check(
        Command::new("true").cwd(&gone),
        "cannot enter folder",
        Some(libc::ENOENT),
    );
    check(
        Command::new("true").cwd(&plain),
        "cannot enter folder",
        Some(libc::ENOTDIR),
    );
}
