//! Records cameras and sensors into crash-safe chunks, and recovers, exports and inspects them.

mod cli;
mod config;
mod export;
mod failure;
mod inspect;
mod output;
mod record;
mod recover;
mod status;
mod stream_option;
mod units;
mod wiring;

use longtake_service::{Exit, parse_arguments, report};

use crate::{
    cli::{Cli, Command},
    failure::Failure,
};

fn main() -> Exit {
    let cli: Cli = match parse_arguments() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let logs = match cli.logs.start() {
        Ok(logs) => logs,
        Err(error) => {
            report("fieldrec", &error);
            return Exit::Failed;
        }
    };
    let result = match cli.command {
        Command::Record(args) => record::run(args),
        Command::Recover(args) => recover::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Inspect(args) => inspect::run(&args),
    };
    // What the log still holds comes before what went wrong.
    drop(logs);
    match result {
        Ok(()) => Exit::Done,
        Err(Failure::Usage(error)) => {
            report("fieldrec", &*error);
            Exit::Usage
        }
        Err(Failure::Failed(error)) => {
            report("fieldrec", &*error);
            Exit::Failed
        }
    }
}
