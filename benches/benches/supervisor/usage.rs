//! What a contender takes of the machine, as `/proc` tells it.

use std::collections::BTreeMap;
use std::fs;

/// What the processes of a contender have taken, those of its children left out.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_s: f64,
    pub(crate) voluntary_switches: u64,
    /// Memory, with what is shared divided among those who share it.
    pub(crate) pss_kib: u64,
    /// The most that was resident, of the process where it was most.
    pub(crate) peak_resident_kib: u64,
    pub(crate) processes: usize,
}

impl Usage {
    /// Of a process and its descendants, but for these.
    pub(crate) fn of(contender: i32, without: &[i32]) -> Self {
        let mut sum = Self::default();
        let own = descendants(contender);
        for pid in own.into_iter().filter(|pid| !without.contains(pid)) {
            let read =
                |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            sum.processes += 1;
            sum.pss_kib += field(&read("smaps_rollup"), "Pss:");
            let peak = field(&read("status"), "VmHWM:");
            sum.peak_resident_kib = sum.peak_resident_kib.max(peak);
            for task in names(&format!("/proc/{pid}/task")) {
                let file = read(&format!("task/{task}/schedstat"));
                let ns: f64 = file
                    .split(' ')
                    .next()
                    .and_then(|it| it.parse().ok())
                    .unwrap_or(0.0);
                sum.cpu_s += ns / 1e9;
                let status = read(&format!("task/{task}/status"));
                sum.voluntary_switches += field(&status, "voluntary_ctxt_switches:");
            }
        }
        sum
    }

    /// What was taken since an earlier look; memory is that of now.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu_s: self.cpu_s - earlier.cpu_s,
            voluntary_switches: self
                .voluntary_switches
                .saturating_sub(earlier.voluntary_switches),
            ..self
        }
    }
}

/// A process and all that descend from it.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in names("/proc") {
        if let Some(parent) = stat(pid, 1).and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    found
}

/// Whether the process runs. A zombie does not: it may stay one for long where nobody adopts orphans.
pub(crate) fn lives(pid: i32) -> bool {
    stat(pid, 0).is_some_and(|state| state != "Z")
}

/// A field behind the name in the `stat` of a process.
fn stat(pid: i32, field: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name
        .split_whitespace()
        .nth(field)
        .map(ToOwned::to_owned)
}

/// The names in a folder that are numbers.
fn names(folder: &str) -> Vec<i32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
