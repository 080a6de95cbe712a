//! The workloads: what each contender does, what is measured of it, and what it should be.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::contender::{Contender, Running};
use crate::journal::now_ns;
use crate::spawn;
use crate::table::{Table, median, milliseconds, spread, verdict};
use crate::usage::Usage;

const MIB: usize = 1 << 20;

/// How much of everything.
pub(crate) struct Sizes {
    /// Rounds of the latency of the supervisor and the bare loop, and of the others.
    latency_rounds: u32,
    latency_rounds_of_peers: u32,
    /// How many children are idle.
    idle_counts: &'static [usize],
    settle: Duration,
    idle: Duration,
    log_rounds: usize,
    bulk_bytes: usize,
    single_bytes: usize,
    siblings: usize,
    resident_mib: [usize; 2],
    /// In how many processes of each size, and how often in each.
    spawn_processes: usize,
    spawn_rounds: usize,
    peers: Vec<Contender>,
}

/// How the writing child writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Bulk,
    Endless,
    Single,
}

impl Pattern {
    /// As the child knows it.
    fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Endless => "endless",
            Self::Single => "single",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Bulk => "lines of 100 bytes in writes of 64000",
            Self::Endless => "no line end, in writes of 64000",
            Self::Single => "lines of 100 bytes, one a write",
        }
    }
}

impl Sizes {
    pub(crate) fn full() -> Self {
        Self {
            latency_rounds: 200,
            latency_rounds_of_peers: 8,
            idle_counts: &[200, 1000],
            settle: Duration::from_secs(6),
            idle: Duration::from_secs(20),
            log_rounds: 5,
            bulk_bytes: 200 * MIB,
            single_bytes: 20 * MIB,
            siblings: 199,
            resident_mib: [1, 512],
            spawn_processes: 5,
            spawn_rounds: 100,
            peers: Contender::installed_peers(),
        }
    }

    /// Everything once, as little as can be; without the peers, whose restarts take seconds.
    pub(crate) fn tiny() -> Self {
        Self {
            latency_rounds: 3,
            latency_rounds_of_peers: 0,
            idle_counts: &[5],
            settle: Duration::from_millis(300),
            idle: Duration::from_millis(100),
            log_rounds: 1,
            bulk_bytes: MIB,
            single_bytes: MIB / 4,
            siblings: 4,
            resident_mib: [1, 2],
            spawn_processes: 1,
            spawn_rounds: 3,
            peers: Vec::new(),
        }
    }

    fn contenders(&self) -> impl Iterator<Item = Contender> {
        let peers = self.peers.iter().copied();
        Contender::OURS_AND_FLOOR.into_iter().chain(peers)
    }
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
pub(crate) fn run(sizes: &Sizes) {
    for peer in Contender::all_peers().filter(|peer| !sizes.peers.contains(peer)) {
        println!("without {}: not installed, or a mere test", peer.name());
    }
    latency(sizes);
    for count in sizes.idle_counts {
        idle(sizes, *count);
    }
    for pattern in [Pattern::Bulk, Pattern::Endless, Pattern::Single] {
        log(sizes, pattern);
    }
    spawn_time(sizes);
}

/// From `kill -9` to the first statement of the replacement's main, without any delay.
fn latency(sizes: &Sizes) {
    let mut times = BTreeMap::<_, Vec<_>>::new();
    let mut turns = Contender::OURS_AND_FLOOR.map(|contender| (contender, contender.start(1)));
    for _ in 0..sizes.latency_rounds {
        for (contender, running) in &mut turns {
            let time = replacement_time(running, Duration::from_millis(20));
            times.entry(*contender).or_default().push(time);
        }
    }
    drop(turns);
    for &peer in &sizes.peers {
        let mut running = peer.start(1);
        for round in 0..sizes.latency_rounds_of_peers {
            // Beyond the second within which runit holds a restart back, and ever at another phase of a poll.
            let warm = Duration::from_millis(2100) + Duration::from_millis(137) * round;
            let time = replacement_time(&mut running, warm);
            times.entry(peer).or_default().push(time);
        }
    }
    let floor = median(&times[&Contender::Floor]).as_secs_f64();
    let ratio = |contender| median(&times[&contender]).as_secs_f64() / floor;
    let mut table = Table::new(&["", "min ms", "median ms", "max ms", "x bare loop"]);
    for (&contender, of_one) in &times {
        let [min, middle, max] = spread(of_one).map(milliseconds);
        let ratio = format!("{:.2}", ratio(contender));
        table.row([contender.name().to_owned(), min, middle, max, ratio]);
    }
    table.print("kill -9 of one idle child to its replacement running");
    let ratio = ratio(Contender::Longtake);
    verdict(
        ratio <= 2.0,
        &format!("{ratio:.2} x the bare loop, at most 2"),
    );
}

fn replacement_time(running: &mut Running, warm: Duration) -> Duration {
    thread::sleep(warm);
    let child = Pid::from_raw(running.children[0]).expect("a process id");
    let killed = now_ns();
    kill_process(child, Signal::KILL).expect("a process of ours");
    let (pid, began) = running.journal.next_start();
    running.children[0] = pid;
    Duration::from_nanos((began - killed).unsigned_abs())
}

/// What keeping children costs that do nothing at all.
#[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
fn idle(sizes: &Sizes, count: usize) {
    let head = ["", "CPU s", "wakeups", "KiB/child", "processes", "all up s"];
    let mut table = Table::new(&head);
    let mut ours = None;
    for contender in sizes.contenders() {
        let running = contender.start(count);
        thread::sleep(sizes.settle);
        let before = Usage::of(running.pid(), &running.children);
        thread::sleep(sizes.idle);
        let usage = Usage::of(running.pid(), &running.children).since(before);
        let kib = usage.pss_kib as f64 / count as f64;
        table.row([
            contender.name().to_owned(),
            format!("{:.4}", usage.cpu_s),
            usage.voluntary_switches.to_string(),
            format!("{kib:.1}"),
            usage.processes.to_string(),
            format!("{:.2}", running.up_after.as_secs_f64()),
        ]);
        if contender == Contender::Longtake {
            ours = Some((usage, kib));
        }
    }
    let seconds = sizes.idle.as_secs_f64();
    table.print(&format!("{count} idle children for {seconds} s"));
    let (usage, kib) = ours.expect("the supervisor is among the contenders");
    let is_idle = usage.cpu_s == 0.0 && usage.voluntary_switches == 0;
    verdict(is_idle, "no CPU time and no wakeups");
    verdict(kib <= 20.0, &format!("{kib:.1} KiB a child, at most 20"));
}

/// What a log takes: one child writes, and its siblings are idle.
fn log(sizes: &Sizes, pattern: Pattern) {
    let (bytes, siblings) = match pattern {
        Pattern::Bulk | Pattern::Endless => (sizes.bulk_bytes, 0),
        Pattern::Single => (sizes.single_bytes, sizes.siblings),
    };
    let mut turns: Vec<_> = sizes
        .contenders()
        .map(|contender| (contender, contender.start(1 + siblings), Vec::new()))
        .collect();
    for _ in 0..sizes.log_rounds {
        for (_, running, rates) in &mut turns {
            let took = running.journal.write(pattern.name(), bytes);
            rates.push(mebibytes(bytes) / took.as_secs_f64());
        }
    }
    let rate_of = |wanted| {
        let mut rates = turns.iter().filter(|(contender, ..)| *contender == wanted);
        rates.next().map_or(0.0, |(_, _, rates)| median(rates))
    };
    let floor = rate_of(Contender::Floor);
    let head = [
        "",
        "min MiB/s",
        "median MiB/s",
        "max MiB/s",
        "x bare loop",
        "peak RSS MiB",
    ];
    let mut table = Table::new(&head);
    let mut our_peak_kib = 0;
    for (contender, running, rates) in &turns {
        let [min, middle, max] = spread(rates);
        let peak_kib = Usage::of(running.pid(), &running.children).peak_resident_kib;
        table.row([
            contender.name().to_owned(),
            format!("{min:.0}"),
            format!("{middle:.0}"),
            format!("{max:.0}"),
            format!("{:.2}", middle / floor),
            format!("{:.1}", peak_kib as f64 / 1024.0),
        ]);
        if *contender == Contender::Longtake {
            our_peak_kib = peak_kib;
        }
    }
    table.print(&format!(
        "{}, {} MiB, {siblings} idle siblings",
        pattern.title(),
        bytes / MIB
    ));
    let ours = rate_of(Contender::Longtake);
    if pattern == Pattern::Single {
        let ratio = ours / floor;
        verdict(
            ratio >= 1.0,
            &format!("{ratio:.2} x the bare loop, at least 1"),
        );
    } else {
        verdict(ours >= 500.0, &format!("{ours:.0} MiB/s, at least 500"));
        let peak = our_peak_kib / 1024;
        verdict(
            peak < 32,
            &format!("{peak} MiB resident at most, less than 32"),
        );
    }
}

/// The start itself, by a small process and by a large one.
fn spawn_time(sizes: &Sizes) {
    let mut ours = [const { Vec::new() }; 2];
    let mut by_fork = [const { Vec::new() }; 2];
    for _ in 0..sizes.spawn_processes {
        for (at, resident_mib) in sizes.resident_mib.into_iter().enumerate() {
            let times = spawn::measure(resident_mib, sizes.spawn_rounds);
            ours[at].push(times.ours);
            by_fork[at].push(times.by_fork);
        }
    }
    let [small, large] = sizes.resident_mib;
    let small_head = format!("{small} MiB: ms");
    let large_head = format!("{large} MiB: ms");
    let mut table = Table::new(&["", &small_head, &large_head, "ratio"]);
    let mut ratios = Vec::new();
    for (name, [small, large]) in [("longtake", ours), ("fork and exec", by_fork)] {
        let [small, large] = [small, large].map(|times| median(&times).as_secs_f64());
        ratios.push(large / small);
        table.row([
            name.to_owned(),
            format!("{:.3}", small * 1e3),
            format!("{:.3}", large * 1e3),
            format!("{:.2}", large / small),
        ]);
    }
    table.print("a start, by the memory that the starting process has resident");
    let ratio = ratios[0];
    verdict(ratio <= 1.5, &format!("{ratio:.2} x as long, at most 1.5"));
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / MIB as f64
}
