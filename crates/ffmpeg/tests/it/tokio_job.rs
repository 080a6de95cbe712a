//! Jobs waited for by tasks.

use std::path::Path;
use std::slice;
use std::time::Duration;

use longtake_ffmpeg::{
    Cancel, Codec, FfmpegCommand, Input, Mp4, Output, Phase, RunError, Runner, TokioJob, ToolError,
};
use tokio::runtime::Builder;

use crate::media::segment;
use crate::{LONG, endless, names_in, wait_until};

fn copy(path: &Path) -> FfmpegCommand {
    let output = Output::file(path).codec(Codec::Copy);
    FfmpegCommand::new()
        .input(Input::file(segment(0)))
        .output(output)
}

fn record(path: &Path) -> TokioJob {
    let output = Output::file(path)
        .video_codec(Codec::encoder("libx264"))
        .option("tune", "zerolatency");
    let command = FfmpegCommand::new()
        .input(endless().realtime())
        .output(output);
    Runner::new(command).spawn_tokio().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

async fn until_running(job: &mut TokioJob) {
    while job.changed().await.expect("the job ended early").phase != Phase::Running {}
}

#[test]
fn progress_and_the_end_are_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mp4");
    block_on(async {
        let mut job = Runner::new(copy(&path))
            .expect(Duration::from_secs(10))
            .spawn_tokio()
            .unwrap();
        let mut last = None;
        while let Some(progress) = job.changed().await {
            last = Some(progress);
        }
        assert_eq!(last.unwrap().percent, Some(100.0));
        assert!(job.changed().await.is_none());
        let outcome = job.wait().await.unwrap();
        assert_eq!(outcome.duration, Some(Duration::from_secs(10)));
    });
    assert_eq!(names_in(dir.path()), ["x.mp4"]);
}

#[test]
fn what_keeps_it_from_starting_is_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let command = FfmpegCommand::at("/nonexistent/ffmpeg")
        .input(endless())
        .output(Output::file(dir.path().join("x.mp4")));
    let ended = block_on(async { Runner::new(command).spawn_tokio().unwrap().wait().await });
    assert!(
        matches!(ended, Err(RunError::Tool(ToolError::NotFound { .. }))),
        "{ended:?}"
    );
}

#[test]
fn giving_up_on_a_future_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mp4");
    block_on(async {
        let mut job = record(&path);
        until_running(&mut job).await;
        for _ in 0..50 {
            // Dropped at whatever point it is.
            let _either_way = tokio::time::timeout(Duration::from_millis(1), job.changed()).await;
        }
        until_running(&mut job).await;
        job.cancel(Cancel::Finalize { grace: LONG });
        match job.wait().await {
            Err(RunError::Cancelled { kept }) => assert_eq!(kept, slice::from_ref(&path)),
            other => panic!("{other:?}"),
        }
    });
    assert!(Mp4::open(&path).is_ok());
}

#[test]
fn a_dropped_job_or_wait_is_discarded() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let mut job = record(&dir.path().join("x.mp4"));
        until_running(&mut job).await;
        drop(job);
        let mut job = record(&dir.path().join("y.mp4"));
        until_running(&mut job).await;
        let ended = tokio::time::timeout(Duration::from_millis(1), job.wait()).await;
        assert!(ended.is_err());
    });
    wait_until("the parts are removed", || names_in(dir.path()).is_empty());
}
