//! The simulated file system answers as the real one does.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use longtake_durable::sim::SimStorage;
use longtake_durable::{Entry, RealStorage, Storage, StoredFile};
use proptest::prelude::{Just, ProptestConfig, any, prop, prop_oneof, proptest};
use proptest::sample::{Index, select};
use proptest::strategy::Strategy;

const NAMES: [&str; 8] = ["a", "b", "a/b", "c", "c/a", "c/d", "c/d/a", "c/./d/../b"];

#[derive(Debug, Clone)]
enum Step {
    CreateNew(&'static str),
    CreateLike(&'static str, &'static str),
    CreateDir(&'static str),
    Open(&'static str),
    OpenRead(&'static str),
    Close(Index),
    Entry(&'static str),
    List(&'static str),
    Rename(&'static str, &'static str),
    RenameNew(&'static str, &'static str),
    RemoveFile(&'static str),
    SyncDir(&'static str),
    Write(Index, u64, Vec<Vec<u8>>),
    Read(Index, u64, usize),
    SetLen(Index, u64),
    Len(Index),
    Sync(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || select(&NAMES[..]);
    let handle = any::<Index>;
    let offset = || prop_oneof![0..20_u64, 4000..4200_u64, 0..20_000_u64];
    let parts = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..4);
    let naming = prop_oneof![
        name().prop_map(Step::CreateNew),
        (name(), name()).prop_map(|(path, model)| Step::CreateLike(path, model)),
        name().prop_map(Step::CreateDir),
        name().prop_map(Step::Open),
        name().prop_map(Step::OpenRead),
        name().prop_map(Step::Entry),
        name().prop_map(Step::List),
        (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        (name(), name()).prop_map(|(from, to)| Step::RenameNew(from, to)),
        name().prop_map(Step::RemoveFile),
        name().prop_map(Step::SyncDir),
    ];
    let filling = prop_oneof![
        handle().prop_map(Step::Close),
        (handle(), offset(), parts).prop_map(|(at, offset, parts)| Step::Write(at, offset, parts)),
        (handle(), offset(), 0..9000_usize)
            .prop_map(|(at, offset, len)| Step::Read(at, offset, len)),
        (handle(), offset()).prop_map(|(at, len)| Step::SetLen(at, len)),
        handle().prop_map(Step::Len),
        handle().prop_map(Step::Sync),
    ];
    // Something to fill comes first, so that it is not all refused.
    prop_oneof![3 => naming, 2 => filling, 1 => Just(Step::CreateDir("c"))]
}

/// One of the two, and the files that are open in it.
struct World<'a> {
    storage: &'a dyn Storage,
    root: &'a Path,
    handles: Vec<Arc<dyn StoredFile>>,
}

impl World<'_> {
    /// Does the step and tells everything there is to know about the answer.
    fn answer(&mut self, step: &Step) -> String {
        let at = |name: &str| self.root.join(name);
        let handle = |index: &Index| Arc::clone(index.get(&self.handles));
        match step {
            Step::CreateNew(name) => self.keep(self.storage.create_new(&at(name))),
            Step::CreateLike(name, model) => {
                self.keep(self.storage.create_like(&at(name), &at(model)))
            }
            Step::Open(name) => self.keep(self.storage.open(&at(name))),
            Step::OpenRead(name) => {
                let opened = self.storage.open_read(&at(name));
                match self.storage.entry(&at(name)) {
                    // The length of a folder differs between file systems.
                    Ok(Entry::Folder) => tell(opened.and_then(|it| it.read_at(0, &mut [0; 9]))),
                    _ => self.keep(opened),
                }
            }
            Step::CreateDir(name) => tell(self.storage.create_dir(&at(name))),
            Step::Entry(name) => tell(self.storage.entry(&at(name))),
            Step::List(name) => tell(self.storage.list(&at(name))),
            Step::Rename(from, to) => tell(self.storage.rename(&at(from), &at(to))),
            Step::RenameNew(from, to) => tell(self.storage.rename_new(&at(from), &at(to))),
            Step::RemoveFile(name) => tell(self.storage.remove_file(&at(name))),
            Step::SyncDir(name) => tell(self.storage.sync_dir(&at(name))),
            _ if self.handles.is_empty() => String::new(),
            Step::Close(index) => {
                self.handles.swap_remove(index.index(self.handles.len()));
                String::new()
            }
            Step::Write(index, offset, parts) => {
                let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
                tell(handle(index).write_at(*offset, &parts))
            }
            Step::Read(index, offset, len) => {
                let mut buf = vec![1; *len];
                let count = handle(index).read_at(*offset, &mut buf);
                tell(count.map(|count| (count, buf)))
            }
            Step::SetLen(index, len) => tell(handle(index).set_len(*len)),
            Step::Len(index) => tell(handle(index).len()),
            Step::Sync(index) => tell(handle(index).sync_data()),
        }
    }

    fn keep(&mut self, opened: io::Result<Arc<dyn StoredFile>>) -> String {
        tell(opened.map(|file| self.handles.push(file)))
    }
}

fn tell<T: Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error}"),
    }
}

#[track_caller]
fn check(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let disk = SimStorage::new();
    let real = World {
        storage: &RealStorage,
        root: folder.path(),
        handles: Vec::new(),
    };
    let sim = World {
        storage: &disk,
        root: Path::new("/"),
        handles: Vec::new(),
    };
    let mut worlds = [real, sim];
    for (number, step) in steps.iter().enumerate() {
        let [want, got] = worlds.each_mut().map(|world| world.answer(step));
        assert_eq!(got, want, "step {number} of {steps:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_calls_get_the_same_answers(steps in prop::collection::vec(step(), 0..60)) {
        check(&steps);
    }
}

#[test]
fn every_pair_of_names_is_renamed_alike() {
    let tree = [
        Step::CreateDir("c"),
        Step::CreateDir("c/d"),
        Step::CreateNew("c/a"),
        Step::CreateNew("c/d/a"),
        Step::CreateDir("e"),
        Step::CreateNew("a"),
    ];
    for from in ["a", "e", "c", "c/a", "c/d", "c/d/a", "x"] {
        for to in [
            "a", "e", "c", "c/a", "c/d", "c/d/a", "e/x", "c/x", "c/d/x", "x/x", "a/x",
        ] {
            check(&[&tree[..], &[Step::Rename(from, to), Step::List("c")]].concat());
            check(&[&tree[..], &[Step::RenameNew(from, to), Step::List("c")]].concat());
        }
    }
}

#[test]
fn what_no_file_system_takes_is_refused_alike() {
    let long = "n".repeat(256).leak();
    check(&[
        Step::CreateNew("a"),
        Step::CreateDir("c"),
        Step::CreateNew(long),
        Step::Open(long),
        Step::Rename("a", long),
        Step::OpenRead("a"),
        Step::OpenRead("c"),
        Step::Open("c"),
    ]);
}
