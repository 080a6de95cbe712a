//! From a command to the file, the arguments and the environment that the kernel is given.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{self, Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::command::Command;
use crate::marker::{self, Marker};
use crate::spawn::SpawnError;

/// Where tools are looked for beyond `PATH`, which a service manager may keep very short.
const TOOL_FOLDERS: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// What `execve` takes.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    pub(crate) argv: Vec<CString>,
    pub(crate) envp: Vec<CString>,
}

impl Program {
    /// Finds the program, and puts `prlimit` and `setpriv` before it where they are needed.
    pub(crate) fn prepare(command: &Command, marker: Marker) -> Result<Self, SpawnError> {
        let env = environment(command, marker);
        let search = env
            .get(OsStr::new("PATH"))
            .cloned()
            .or_else(|| env::var_os("PATH"));
        let search = search.as_deref().unwrap_or(OsStr::new(TOOL_FOLDERS));

        let target = find(&command.program, search).map_err(|errno| match errno {
            Errno::NOENT => SpawnError::NotFound {
                program: command.program.clone(),
            },
            errno => SpawnError::Exec {
                program: command.program.clone(),
                source: errno.into(),
            },
        })?;
        if command.uid.is_some() || command.gid.is_some() {
            demand_privileges(command)?;
        }
        let (file, argv) = behind_tools(command, target, search)?;

        let c_string = |text: OsString| {
            CString::new(text.into_vec()).map_err(|_| SpawnError::Nul {
                program: command.program.clone(),
            })
        };
        let pairs = env.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        });
        Ok(Self {
            file,
            argv: argv.into_iter().map(c_string).collect::<Result<_, _>>()?,
            envp: pairs.map(c_string).collect::<Result<_, _>>()?,
        })
    }
}

fn environment(command: &Command, marker: Marker) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<_, _> = if command.inherit_env {
        env::vars_os().collect()
    } else {
        BTreeMap::new()
    };
    for (name, value) in &command.env {
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    env.insert(marker::VARIABLE.into(), marker.value());
    env
}

/// The file to run and its arguments: the program's own, or those of a tool that execs it.
fn behind_tools(
    command: &Command,
    target: PathBuf,
    search: &OsStr,
) -> Result<(PathBuf, Vec<OsString>), SpawnError> {
    let mut file = target;
    let mut argv = vec![command.program.clone()];
    if command.uid.is_some() || command.gid.is_some() {
        argv = prefixed(privileges(command), &file);
        file = tool("setpriv", search)?;
    }
    // Outside, as raising a limit may take the privileges that setpriv gives up.
    if !command.limits.is_empty() {
        let behind = argv.split_off(1);
        argv = prefixed(limits(command), &file);
        argv.extend(behind);
        file = tool("prlimit", search)?;
    }
    argv.extend(command.args.iter().cloned());
    Ok((file, argv))
}

/// Finds the file to run, as an absolute path. Only what is an executable file counts; when there is
/// none, the error tells `ENOENT` (nothing of that name) from `EACCES` (something that cannot be run).
fn find(program: &OsStr, search: &OsStr) -> Result<PathBuf, Errno> {
    if program.as_bytes().contains(&b'/') {
        let file = path::absolute(Path::new(program)).map_err(|_| Errno::NOENT)?;
        return runnable(&file).map(|()| file);
    }
    let mut reason = Errno::NOENT;
    for folder in env::split_paths(search).filter(|_| !program.is_empty()) {
        let Ok(file) = path::absolute(folder.join(program)) else {
            continue;
        };
        // A folder that is closed to us does not tell whether it has the program: it has not.
        if file.exists() {
            match runnable(&file) {
                Ok(()) => return Ok(file),
                Err(errno) => reason = errno,
            }
        }
    }
    Err(reason)
}

fn runnable(file: &Path) -> Result<(), Errno> {
    let metadata = file.metadata().map_err(|error| errno(&error))?;
    if !metadata.is_file() {
        return Err(Errno::ACCESS);
    }
    rustix::fs::access(file, Access::EXEC_OK)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::NOENT)
}

fn tool(name: &'static str, search: &OsStr) -> Result<PathBuf, SpawnError> {
    find(OsStr::new(name), search)
        .or_else(|_| find(OsStr::new(name), OsStr::new(TOOL_FOLDERS)))
        .map_err(|_| SpawnError::ToolMissing { tool: name })
}

/// `TOOL OPTION… -- FILE`: the arguments of the program itself follow.
fn prefixed(mut tool: Vec<OsString>, file: &Path) -> Vec<OsString> {
    tool.push("--".into());
    tool.push(file.into());
    tool
}

/// Without them setpriv would start and fail, which looks like a failure of the program.
fn demand_privileges(command: &Command) -> Result<(), SpawnError> {
    let mut needed = CapabilitySet::SETGID;
    needed.set(CapabilitySet::SETUID, command.uid.is_some());
    match rustix::thread::capabilities(None) {
        Ok(ours) if !ours.effective.contains(needed) => Err(SpawnError::NotPrivileged {
            program: command.program.clone(),
        }),
        // Where capabilities cannot be asked for, setpriv shall find out.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn privileges(command: &Command) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["setpriv".into(), "--clear-groups".into()];
    argv.extend(command.uid.map(|uid| format!("--reuid={uid}").into()));
    argv.extend(command.gid.map(|gid| format!("--regid={gid}").into()));
    argv
}

fn limits(command: &Command) -> Vec<OsString> {
    let each = command.limits.iter();
    let options = each.map(|(resource, limit)| format!("{}={limit}", resource.option()).into());
    [OsString::from("prlimit")]
        .into_iter()
        .chain(options)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::command::{Limit, Resource};

    fn prepare(command: &Command) -> Result<Program, SpawnError> {
        Program::prepare(command, Marker::next().unwrap())
    }

    fn texts(strings: &[CString]) -> Vec<&str> {
        strings
            .iter()
            .map(|string| string.to_str().unwrap())
            .collect()
    }

    #[test]
    fn a_name_is_searched_and_kept_as_argument_zero() {
        let program = prepare(Command::new("sh").args(["-c", "true"])).unwrap();
        assert!(program.file.is_absolute());
        assert!(program.file.ends_with("sh"));
        assert_eq!(texts(&program.argv), ["sh", "-c", "true"]);
    }

    #[test]
    fn the_search_uses_the_childs_path_and_skips_what_cannot_run() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("1"), dir.path().join("2"));
        for (folder, mode) in [(&first, 0o644), (&second, 0o755)] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("prog"), "").unwrap();
            std::fs::set_permissions(folder.join("prog"), PermissionsExt::from_mode(mode)).unwrap();
        }
        let path = env::join_paths([&first, &second]).unwrap();
        let program = prepare(Command::new("prog").env("PATH", path)).unwrap();
        assert_eq!(program.file, second.join("prog"));

        let error = prepare(Command::new("prog").env("PATH", &first)).unwrap_err();
        assert!(matches!(error, SpawnError::Exec { .. }), "{error:?}");
        let error = prepare(Command::new("other").env("PATH", &first)).unwrap_err();
        assert!(matches!(error, SpawnError::NotFound { .. }), "{error:?}");
        let error = prepare(&Command::new("")).unwrap_err();
        assert!(matches!(error, SpawnError::NotFound { .. }), "{error:?}");
        let error = prepare(Command::new("1").env("PATH", dir.path())).unwrap_err();
        assert!(
            matches!(error, SpawnError::Exec { .. }),
            "a folder: {error:?}"
        );
    }

    #[test]
    fn limits_and_user_are_set_by_tools_in_that_order() {
        let mut command = Command::new("true");
        command
            .arg("-x")
            .limit(Resource::OpenFiles, Limit::both(64));
        command
            .limit(
                Resource::CoreBytes,
                Limit {
                    soft: Some(0),
                    hard: None,
                },
            )
            .uid(1)
            .gid(2);
        let (file, argv) = behind_tools(&command, "/bin/true".into(), OsStr::new("")).unwrap();
        assert!(file.ends_with("prlimit"));
        assert_eq!(
            argv[..4],
            ["prlimit", "--nofile=64:64", "--core=0:unlimited", "--"]
        );
        assert!(argv[4].to_str().unwrap().ends_with("/setpriv"), "{argv:?}");
        assert_eq!(
            argv[5..9],
            ["--clear-groups", "--reuid=1", "--regid=2", "--"]
        );
        assert_eq!(argv[9..], ["/bin/true", "-x"]);
    }

    #[test]
    fn a_cleared_environment_holds_what_was_set_and_the_marker() {
        let program = prepare(Command::new("/bin/sh").env_clear().env("A", "1")).unwrap();
        let envp = texts(&program.envp);
        assert_eq!(envp.len(), 2, "{envp:?}");
        assert!(envp.contains(&"A=1"), "{envp:?}");
        assert!(
            envp.iter().any(|pair| pair.starts_with("LONGTAKE_CHILD=")),
            "{envp:?}"
        );
    }

    #[test]
    fn a_nul_byte_is_an_answer() {
        let error = prepare(Command::new("true").arg("a\0b")).unwrap_err();
        assert!(matches!(error, SpawnError::Nul { .. }), "{error:?}");
        let error = prepare(Command::new("true").env("A", "a\0b")).unwrap_err();
        assert!(matches!(error, SpawnError::Nul { .. }), "{error:?}");
    }
}
