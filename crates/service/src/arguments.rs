//! The command line.

use clap::Parser;

use crate::{Exit, logs};

/// Parses the command line, and the environment variables that its flags name.
///
/// For the flags of [`LogArgs`](crate::LogArgs) the variables carry the program's name, so
/// `fieldrec --log` can be given as `FIELDREC_LOG`; every other flag names its own.
///
/// # Errors
///
/// For `--help` and `--version`, which are printed to standard output, `Exit::Done`. For a wrong
/// command line, which is told on standard error, [`Exit::Usage`]. `main` returns either.
pub fn parse_arguments<A: Parser>() -> Result<A, Exit> {
    let command = A::command();
    let prefix = command.get_name().to_uppercase().replace('-', "_");
    let command = command.mut_args(|arg| match logs::variable(arg.get_id().as_str()) {
        Some(suffix) => arg.env(format!("{prefix}_{suffix}")),
        None => arg,
    });
    command
        .try_get_matches()
        .and_then(|matches| A::from_arg_matches(&matches))
        .map_err(|error| match (error.print(), error.exit_code()) {
            (Ok(()), 0) => Exit::Done,
            (Err(_), 0) => Exit::Failed,
            _ => Exit::Usage,
        })
}
