//! Three children that belong together: a server, a camera that waits until it is ready, and a one-time task
//! before both. When the server dies the camera is started anew as well.
//!
//! ```text
//! cargo run -p longtake-examples --example supervisor_pool
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use longtake_process::{Command, Signal};
use longtake_supervisor::{
    Backoff, ChildSpec, Condition, EventKind, Heard, Member, Pool, PoolSpec, Readiness, Restart,
    RestartPolicy, State, Strategy,
};

fn sh(name: &'static str, script: &'static str) -> ChildSpec {
    let policy = RestartPolicy::default().backoff(Backoff::new(Duration::from_millis(100)));
    ChildSpec::new(name, move || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    })
    .policy(policy)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let prepare = sh("prepare", "echo preparing")
        .policy(RestartPolicy::default().restart(Restart::OnFailure));
    let server = sh("server", "sleep 0.3; echo listening; exec sleep 1000")
        .readiness(Readiness::Line(b"listening".to_vec()));
    let camera = sh("camera", "exec sleep 1000");
    let pool = Pool::new(
        PoolSpec::default()
            .strategy(Strategy::RestForOne)
            .member(Member::new(prepare))
            .member(Member::new(server).after("prepare", Condition::Succeeded))
            .member(Member::new(camera).after("server", Condition::Ready)),
    )?;

    let mut events = pool.events();
    let shown = tokio::spawn(async move {
        while let Some(heard) = events.next().await {
            if let Heard::Event(event) = heard
                && let EventKind::State { to, .. } = event.kind
            {
                writeln!(io::stdout(), "{:>3} {} {to}", event.sequence, event.child)?;
            }
        }
        Ok::<(), io::Error>(())
    });
    pool.start_all().await?;
    writeln!(io::stdout(), "all healthy: {}", pool.all_healthy())?;

    let server = pool.get("server").ok_or("the server is in the pool")?;
    let camera = pool.get("camera").ok_or("the camera is in the pool")?;
    server.signal(Signal::Kill).await;
    writeln!(io::stdout(), "the server is killed")?;
    camera.wait_for(State::Stopped).await?;
    camera.wait_for(State::Running).await?;
    pool.stop_all().await?;
    for (name, health) in pool.health_report() {
        writeln!(
            io::stdout(),
            "{name}: {}, {} restarts",
            health.state,
            health.restart_count
        )?;
    }
    drop(pool);
    shown.await??;
    Ok(())
}
