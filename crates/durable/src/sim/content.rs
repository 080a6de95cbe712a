//! The bytes of one simulated file.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that reach the disk together or not at all.
pub(super) const BLOCK: u64 = BLOCK_LEN as u64;

const BLOCK_LEN: usize = 4096;

/// What a file holds, in blocks that its copies share; blocks never written are zeros and take no
/// room.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    len: u64,
    /// By block number. Bytes behind `len` are zero, so that lengthening shows zeros.
    blocks: BTreeMap<u64, Arc<[u8; BLOCK_LEN]>>,
}

impl Content {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, piece) in pieces(offset, bytes) {
            let block = self
                .blocks
                .entry(at / BLOCK)
                .or_insert_with(|| Arc::new([0; _]));
            let start = within_block(at);
            Arc::make_mut(block)[start..start + piece.len()].copy_from_slice(piece);
            self.len = self.len.max(at + piece.len() as u64);
        }
    }

    pub(super) fn grow_to(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.blocks.split_off(&len.div_ceil(BLOCK));
            if let Some(last) = self.blocks.get_mut(&(len / BLOCK)) {
                Arc::make_mut(last)[within_block(len)..].fill(0);
            }
        }
        self.len = len;
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `offset` on and returns how much of it.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = rest.min(buf.len());
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let start = within_block(at);
            let end = (start + count - done).min(BLOCK_LEN);
            let out = &mut buf[done..done + end - start];
            match self.blocks.get(&(at / BLOCK)) {
                Some(block) => out.copy_from_slice(&block[start..end]),
                None => out.fill(0),
            }
            done += end - start;
        }
        count
    }

    pub(super) fn has_block(&self, number: u64) -> bool {
        self.blocks.contains_key(&number)
    }

    pub(super) fn block_count(&self) -> u64 {
        self.blocks.len() as u64
    }
}

/// Cuts `bytes`, which begin at `offset` of a file, where its blocks end.
pub(super) fn pieces(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let (mut at, mut rest) = (offset, bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = rest.len().min(BLOCK_LEN - within_block(at));
        let (piece, behind) = rest.split_at(len);
        let start = at;
        at += len as u64;
        rest = behind;
        Some((start, piece))
    })
}

fn within_block(at: u64) -> usize {
    usize::try_from(at % BLOCK).expect("a block is small")
}

#[cfg(test)]
mod tests {
    use super::Content;
    use proptest::prelude::{any, prop, prop_oneof, proptest};
    use proptest::strategy::Strategy;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u16, Vec<u8>),
        SetLen(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..12_000_u16, prop::collection::vec(any::<u8>(), 0..9000))
                .prop_map(|(offset, bytes)| Step::Write(offset, bytes)),
            (0..20_000_u16).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn a_file_is_a_growable_array(steps in prop::collection::vec(step(), 0..12)) {
            let (mut content, mut want) = (Content::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Write(offset, bytes) => {
                        content.write(offset.into(), &bytes);
                        let end = usize::from(offset) + bytes.len();
                        if !bytes.is_empty() {
                            want.resize(want.len().max(end), 0);
                            want[offset.into()..end].copy_from_slice(&bytes);
                        }
                    }
                    Step::SetLen(len) => {
                        content.set_len(len.into());
                        want.resize(len.into(), 0);
                    }
                }
                let mut got = vec![1; want.len() + 10];
                let count = content.read(0, &mut got);
                assert_eq!(got[..count], want);
                assert_eq!(content.len(), want.len() as u64);
            }
        }
    }
}
