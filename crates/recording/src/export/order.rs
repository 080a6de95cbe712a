//! In which order the clusters of chunks that overlap in time go into one file.

use crate::pts::Pts;

/// A chunk whose next cluster waits to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'a> {
    /// The earliest time in that cluster.
    pub pts: Pts,
    /// The streams that are in it.
    pub streams: &'a [usize],
    /// How many packets of each stream the chunk has left, this cluster's among them. Of the newest
    /// chunk it need not be known.
    pub left: &'a [u64],
}

/// Which of the chunks in `waiting`, older ones first, gives its cluster next: the one with the
/// earliest, unless an older chunk still has packets of a stream in it.
///
/// So each stream keeps its order from chunk to chunk, whatever its times say, and time runs back no
/// further than within a chunk.
///
/// # Panics
///
/// Panics if nothing waits.
pub(super) fn next_of(waiting: &[Waiting<'_>]) -> usize {
    let may_go = |place: usize| {
        let streams = waiting[place].streams;
        let mut older = waiting[..place].iter();
        let has_left = |chunk: &Waiting<'_>, stream: &usize| chunk.left.get(*stream) > Some(&0);
        !older.any(|chunk| streams.iter().any(|stream| has_left(chunk, stream)))
    };
    (0..waiting.len())
        .filter(|place| may_go(*place))
        .min_by_key(|place| (waiting[*place].pts, *place))
        .expect("something waits, and the oldest may always go")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(waiting: &[(i64, &[usize], &[u64])], want: usize) {
        let chunks: Vec<_> = waiting
            .iter()
            .map(|(pts, streams, left)| Waiting {
                pts: Pts(*pts),
                streams,
                left,
            })
            .collect();
        assert_eq!(next_of(&chunks), want, "{waiting:?}");
    }

    #[test]
    fn the_earliest_goes_first_and_the_older_chunk_if_both_are() {
        check(&[(5, &[0], &[1, 0])], 0);
        check(&[(5, &[0], &[1, 0]), (4, &[1], &[0, 1])], 1);
        check(&[(5, &[0], &[1, 0]), (5, &[1], &[0, 1])], 0);
        check(&[(5, &[0], &[1, 0]), (6, &[1], &[0, 1])], 0);
    }

    #[test]
    fn a_stream_leaves_its_old_chunk_before_it_goes_on_in_the_new_one() {
        check(&[(9, &[1], &[1, 2]), (4, &[0], &[3, 0])], 0);
        check(&[(9, &[1], &[0, 2]), (4, &[0], &[3, 0])], 1);
        check(&[(9, &[1], &[0, 2]), (4, &[0, 1], &[3, 1])], 0);
        check(
            &[
                (9, &[1], &[0, 1]),
                (8, &[2], &[0, 0, 1]),
                (1, &[2], &[0, 0, 5]),
            ],
            1,
        );
    }
}
