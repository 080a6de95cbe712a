//! `/proc/PID/stat`, see `proc_pid_stat(5)`.

use std::fs::File;
use std::io::{self, Read};

use memchr::{memchr, memrchr};
use rustix::process::Pid;

/// More bytes than a line can have: some fifty numbers of up to 20 digits and a name of up to 63 bytes.
const LONGEST: usize = 2048;

/// What one process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    /// Of the first thread, one letter: `Z` is dead and not reaped, `X` is dead.
    pub(crate) state: u8,
    /// `None` for one that is just being reaped, or whose group lies outside our pid namespace.
    pub(crate) group: Option<Pid>,
    /// CPU time in clock ticks, of this process and its threads.
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    /// CPU time in clock ticks, of the children that it has reaped, with theirs.
    pub(crate) reaped_user_ticks: u64,
    pub(crate) reaped_system_ticks: u64,
    /// Threads, the first one included even when it has ended.
    pub(crate) threads: u64,
    /// Clock ticks between boot and its start.
    pub(crate) started_ticks: u64,
    pub(crate) resident_pages: u64,
}

impl Stat {
    /// Reads one process's, through a buffer that the next call may use again.
    pub(crate) fn read(process: Pid, buffer: &mut Vec<u8>) -> io::Result<Self> {
        // The kernel hands out the whole line at once to whoever has the room for it.
        buffer.resize(LONGEST, 0);
        let length = File::open(format!("/proc/{process}/stat"))?.read(buffer)?;
        Self::parse(&buffer[..length]).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Parses the one line.
    ///
    /// The second field is the program's name in parentheses, up to 15 (a kernel thread's up to 63)
    /// arbitrary bytes: blanks, line breaks and parentheses as well. Numbers follow, so the last `)`
    /// ends it.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let open = memchr(b'(', line)?;
        let close = memrchr(b')', line)?;
        let pid = number(line.get(..open)?.trim_ascii())?;
        let rest = line.get(close + 1..)?;
        let mut fields = rest
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());

        // nth counts on from where the last call stopped; the comments give the manual's numbers.
        let state = *fields.next()?.first()?; // 3
        let group = process_id(number(fields.nth(1)?)?); // 5
        let user_ticks = number(fields.nth(8)?)?; // 14
        let system_ticks = number(fields.next()?)?; // 15
        let reaped_user_ticks = unsigned(fields.next()?)?; // 16
        let reaped_system_ticks = unsigned(fields.next()?)?; // 17
        let threads = unsigned(fields.nth(2)?)?; // 20
        let started_ticks = number(fields.nth(1)?)?; // 22
        let resident_pages = unsigned(fields.nth(1)?)?; // 24
        Some(Self {
            pid,
            state,
            group,
            user_ticks,
            system_ticks,
            reaped_user_ticks,
            reaped_system_ticks,
            threads,
            started_ticks,
            resident_pages,
        })
    }

    /// Whether the process is dead, with all its threads: the first one may be a zombie alone.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

fn number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel prints 0 and -1 for none.
fn process_id(number: i32) -> Option<Pid> {
    Pid::from_raw(number.max(0))
}

/// A count that the kernel prints as a signed number; below zero is none.
fn unsigned(field: &[u8]) -> Option<u64> {
    let value: i64 = number(field)?;
    Some(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBERS: &str = "S 1 4321 700 34816 4321 4194304 1 2 3 4 50 60 70 80 20 0 4 0 \
                           123456 229376000 5120 18446744073709551615 1 1 0 0 0";

    fn expected() -> Stat {
        Stat {
            pid: 4321,
            state: b'S',
            group: Pid::from_raw(4321),
            user_ticks: 50,
            system_ticks: 60,
            reaped_user_ticks: 70,
            reaped_system_ticks: 80,
            threads: 4,
            started_ticks: 123_456,
            resident_pages: 5120,
        }
    }

    #[test]
    fn names_may_hold_anything() {
        #[track_caller]
        fn check(name: &str) {
            let line = format!("4321 ({name}) {NUMBERS}\n");
            assert_eq!(Stat::parse(line.as_bytes()), Some(expected()), "{line:?}");
        }
        check("ffmpeg");
        check("two words");
        check("a) S 1 2 3 (b");
        check("((");
        check("))");
        check("");
        check("line\nbreak");
    }

    #[test]
    fn who_is_being_reaped_has_no_group() {
        for none in ["0", "-1", "-2147483648"] {
            let line =
                format!("4321 (x) {NUMBERS}").replace(" 4321 700 ", &format!(" {none} 700 "));
            assert_eq!(Stat::parse(line.as_bytes()).unwrap().group, None, "{none}");
        }
    }

    #[test]
    fn negative_counts_are_none() {
        let line = format!("4321 (x) {NUMBERS}").replace(" 70 80 ", " -1 -9 ");
        let stat = Stat::parse(line.as_bytes()).unwrap();
        assert_eq!((stat.reaped_user_ticks, stat.reaped_system_ticks), (0, 0));
    }

    #[test]
    fn a_line_cut_anywhere_is_an_answer() {
        let line = format!("4321 (x) {NUMBERS}");
        for end in 0..line.len() {
            if let Some(stat) = Stat::parse(&line.as_bytes()[..end]) {
                assert_eq!(stat.started_ticks, expected().started_ticks, "{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_name_of_any_bytes(name in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut line = b"4321 (".to_vec();
            line.extend(name);
            line.extend(format!(") {NUMBERS}\n").bytes());
            prop_assert_eq!(Stat::parse(&line), Some(expected()));
        }

        #[test]
        fn garbage_never_panics(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _: Option<Stat> = Stat::parse(&line);
        }

        #[test]
        fn garbage_of_numbers_never_panics(line in "[0-9]{0,4} \\([a-z)( ]{0,9}\\)( -?[0-9A-Z]{0,22}){0,30}") {
            let _: Option<Stat> = Stat::parse(line.as_bytes());
        }
    }

    #[test]
    fn our_own_can_be_read() {
        let stat = Stat::read(rustix::process::getpid(), &mut Vec::new()).unwrap();
        assert_eq!(u32::try_from(stat.pid).unwrap(), std::process::id());
        assert!(!stat.is_dead());
        assert!(stat.resident_pages > 0);
    }
}
