//! Children that say that they are ready, and children that never will be.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use longtake_process::{Command, Output};
use longtake_supervisor::{
    Cause, ChildSpec, EventKind, HangPolicy, Reaction, Readiness, StartError, State, Stream,
    Supervisor,
};

use crate::{LONG, event, eventually, run, sh, state};

const NOTIFY: &str = env!("CARGO_BIN_EXE_supervisor-notify");

/// Long enough for a child that is ready to have been told so.
const A_WHILE: Duration = Duration::from_millis(400);

/// Starts it, and makes sure that it is not ready before `make_ready` was called.
async fn ready_only_after(spec: ChildSpec, make_ready: impl FnOnce()) -> Supervisor {
    let supervisor = Supervisor::new(spec);
    let starting = supervisor.clone();
    let starting = tokio::spawn(async move { starting.start().await });
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(supervisor.state(), State::Starting);
    make_ready();
    let started = tokio::time::timeout(LONG, starting).await.unwrap();
    started.unwrap().unwrap();
    assert_eq!(supervisor.state(), State::Running);
    supervisor
}

/// A script that goes on when this file is there.
fn when(file: &std::path::Path, then: &str) -> String {
    let file = file.display();
    format!("while [ ! -e {file} ]; do sleep 0.02; done; {then}; exec sleep 1000")
}

#[test]
fn a_line_tells_it() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        for stream in ["", ">&2"] {
            let script = format!(
                "echo warming up; {}",
                when(&go, &format!("echo now listening on 80 {stream}"))
            );
            let spec = sh(script).readiness(Readiness::Line(b"listening on".to_vec()));
            let supervisor = ready_only_after(spec, || fs::write(&go, "").unwrap()).await;
            supervisor.stop().await.unwrap();
            fs::remove_file(&go).unwrap();
        }
    });
}

#[test]
fn a_line_break_on_the_notification_file_tells_it() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        let script = format!(
            "printf soon >&$NOTIFY_FD; {}",
            when(&go, "echo >&$NOTIFY_FD")
        );
        let spec = sh(script).readiness(Readiness::NotifyFd);
        let supervisor = ready_only_after(spec, || fs::write(&go, "").unwrap()).await;
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn a_notification_file_that_is_closed_without_a_word_is_a_failure() {
    run(async {
        let spec =
            sh("eval \"exec $NOTIFY_FD>&-\"; exec sleep 1000").readiness(Readiness::NotifyFd);
        let supervisor = Supervisor::new(spec);
        let Err(StartError::Failed(report)) = supervisor.start().await else {
            panic!("it is not ready");
        };
        assert_eq!(report.cause, Cause::NotReady);
        assert!(!report.was_ready);
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn a_datagram_tells_it_and_what_it_is_doing() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        let before = format!("{NOTIFY} STATUS=loading X=1");
        let after = format!("{NOTIFY} READY=1 BARRIER=1 STATUS=serving");
        let spec = sh(format!("{before}; {}", when(&go, &after))).readiness(Readiness::SdNotify);
        let files = || fs::read_dir("/proc/self/fd").unwrap().count();
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        let status = |event: &longtake_supervisor::Event| match &event.kind {
            EventKind::Status(text) => Some(text.clone()),
            _ => None,
        };
        let starting = supervisor.clone();
        let starting = tokio::spawn(async move { starting.start().await });
        assert_eq!(event(&mut events, status).await, "loading");
        assert_eq!(supervisor.health().status.as_deref(), Some("loading"));
        assert_eq!(supervisor.state(), State::Starting);
        let files_before = files();
        fs::write(&go, "").unwrap();
        starting.await.unwrap().unwrap();
        assert_eq!(event(&mut events, status).await, "serving");
        eventually("the file that came along is closed", || {
            files() <= files_before
        })
        .await;
        supervisor.stop().await.unwrap();
    });
}

/// A child that keeps its mouth shut is alive as long as it says so to the watchdog.
#[test]
fn watchdog_messages_are_signs_of_life() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let stop = folder.path().join("stop");
        let script = format!(
            "{NOTIFY} READY=1; while [ ! -e {} ]; do {NOTIFY} WATCHDOG=1; sleep 0.05; done; exec sleep 1000",
            stop.display()
        );
        let hang = HangPolicy::default().silence(Duration::from_secs(2), Reaction::Report);
        let supervisor = Supervisor::new(sh(script).readiness(Readiness::SdNotify).hang(hang));
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(supervisor.health().is_healthy());
        fs::write(&stop, "").unwrap();
        event(&mut events, |event| {
            matches!(event.kind, EventKind::Hangs { .. }).then_some(())
        })
        .await;
        supervisor.stop().await.unwrap();
    });
}

/// What a stranger on the machine sends is not believed. Who we are when we are not root we cannot change, so
/// then only the other half is tried: our own user is.
#[test]
fn a_stranger_is_not_believed() {
    run(async {
        let spec = sh("echo $NOTIFY_SOCKET; exec sleep 1000").readiness(Readiness::SdNotify);
        let supervisor = Supervisor::new(spec);
        let starting = supervisor.clone();
        let starting = tokio::spawn(async move { starting.start().await });
        eventually("it has told the address", || {
            supervisor.log(Stream::Stdout).starts_with('@')
        })
        .await;
        let address = supervisor.log(Stream::Stdout).trim().to_owned();
        let notify = |user: Option<u32>| {
            // A copy that another user may run.
            let folder = tempfile::Builder::new()
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .tempdir()
                .unwrap();
            let program = folder.path().join("notify");
            fs::copy(NOTIFY, &program).unwrap();
            let mut command = Command::new(&program);
            command
                .arg("READY=1")
                .env("NOTIFY_SOCKET", &address)
                .cwd("/")
                .stderr(Output::Inherit);
            if let Some(user) = user {
                command.uid(user).gid(user);
            }
            assert!(command.spawn().unwrap().wait().unwrap().success());
        };
        if nix::unistd::geteuid().is_root() {
            notify(Some(65534));
            tokio::time::sleep(A_WHILE).await;
            assert_eq!(supervisor.state(), State::Starting);
        }
        notify(None);
        starting.await.unwrap().unwrap();
        supervisor.stop().await.unwrap();
    });
}

/// A port of the loopback where nobody listens.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn a_port_that_opens_late_tells_it() {
    run(async {
        let address = free_address();
        // A child that talks all the time does not hold up the probe.
        let spec = sh("while :; do echo busy; sleep 0.01; done")
            .readiness(Readiness::Tcp(address.clone()));
        let mut listener = None;
        let supervisor = ready_only_after(spec, || {
            listener = Some(TcpListener::bind(&address).unwrap());
        })
        .await;
        supervisor.stop().await.unwrap();
    });
}

/// Nonsense, silence, endless heads and errors are not ready; a good answer is.
#[test]
fn an_http_answer_tells_it() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || serve(&listener));
        let readiness = Readiness::Http {
            address,
            path: "/api/version?x=1".to_owned(),
        };
        let supervisor = Supervisor::new(sh("exec sleep 1000").readiness(readiness));
        supervisor.start().await.unwrap();
        let request = server.join().unwrap();
        assert!(
            request.starts_with("GET /api/version?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
        supervisor.stop().await.unwrap();
    });
}

/// One bad answer after the other, then a good one; returns the last request.
fn serve(listener: &TcpListener) -> String {
    let mut silent = Vec::new();
    let bad: [&[u8]; 4] = [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 503 Busy\r\n\r\n",
        b"",
        &[&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(5000)].concat(),
    ];
    for answer in bad {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        // Whoever asked may have given up on an endless head.
        match stream.write_all(answer) {
            Ok(()) | Err(_) => {}
        }
        if answer.is_empty() {
            silent.push(stream);
        }
    }
    let (mut stream, _) = listener.accept().unwrap();
    let request = read_request(&mut stream);
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .unwrap();
    request
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// A child that inherited our own socket would speak for us to our supervisor.
#[test]
fn our_own_notification_socket_is_not_handed_on() {
    run(async {
        let spec = ChildSpec::new("child", || {
            let mut command = Command::new("/bin/sh");
            let script = "echo \"${NOTIFY_SOCKET-none} ${NOTIFY_FD-none} ${WATCHDOG_USEC-none}\"; exec sleep 1000";
            command
                .args(["-c", script])
                .env("NOTIFY_SOCKET", "/run/ours")
                .env("WATCHDOG_USEC", "1");
            command
        });
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        state(&mut events, State::Running).await;
        eventually("it has spoken", || {
            !supervisor.log(Stream::Stdout).is_empty()
        })
        .await;
        assert_eq!(supervisor.log(Stream::Stdout), "none none none\n");
        supervisor.stop().await.unwrap();
    });
}
