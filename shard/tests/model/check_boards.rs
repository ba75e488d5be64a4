//! Compares boards, merged from the answers of all shards, with the oracle.

use super::check::add;
use super::world::World;
use ringmill_shard::board::note_values;
use ringmill_shard::cells::write_cell;
use ringmill_shard::merge::{
    Above, BoardPage, RankNumber, SplitsPage, merge_neighbours, merge_seasons, merge_splits,
    merge_tops,
};
use ringmill_shard::oracle::boards::{Place, SeasonTruth, is_final, numbers};
use ringmill_shard::oracle::windows::windows_of;
use ringmill_shard::oracle::{Datum, Errors, Oracle};
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::{Board, RankStyle, Stream, Ties};
use ringmill_shard::query::{
    Answer, BetterAnswer, BoardPlace, BoardRow, BoardSeason, Query, Scalar, SplitRow,
};
use ringmill_shard::rank::Tie;
use ringmill_shard::season::{SeasonPlan, SeasonState};
use ringmill_shard::window::grid::Span;

impl World {
    fn score_words(&self, board: &BoardSeason) -> usize {
        self.pipeline.boards[usize::from(board.board)].score_words()
    }

    fn top_page(&self, board: &BoardSeason, offset: usize, n: usize) -> (BoardPage, Above) {
        let query = Query::Top {
            board: board.clone(),
            offset: 0,
            n: (offset + n) as u32,
        };
        let tops = self.ask(&query).into_iter().map(|answer| match answer {
            Answer::Top(top) => top,
            other => panic!("{other:?}"),
        });
        merge_tops(tops.collect(), self.score_words(board), offset, n)
    }

    pub(crate) fn top(&self, board: usize, offset: usize, n: usize) -> Vec<BoardRow> {
        self.top_page(&current(board), offset, n).0.rows
    }

    /// How many members of all shards are better than each place.
    fn count_better(&self, board: &BoardSeason, places: Vec<BoardPlace>) -> Vec<u64> {
        let mut sums = vec![0; places.len()];
        for answer in self.ask(&Query::CountBetter {
            board: board.clone(),
            places,
        }) {
            let Answer::CountBetter(answer) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(answer.better.len(), sums.len());
            sums.iter_mut()
                .zip(answer.better)
                .for_each(|(sum, one)| *sum += one);
        }
        sums
    }

    /// What stands above a row; different scores only where there is one shard.
    fn above(&self, board: &BoardSeason, row: &BoardRow) -> Above {
        let start = row.start_of_score(self.score_words(board));
        let members = self.count_better(board, vec![start])[0];
        let mut scores = 0;
        if let [shard] = &self.shards[..] {
            let query = Query::CountBetterScores {
                board: board.clone(),
                keys: vec![row.key],
            };
            match shard.query(&query) {
                Answer::CountBetterScores(counts) => scores = counts[0],
                other => panic!("{other:?}"),
            }
        }
        Above { members, scores }
    }

    /// A member's row and 0-based place over all shards.
    pub(crate) fn rank(&self, board: usize, member: &[u8]) -> Option<(BoardRow, u64)> {
        self.rank_in(&current(board), member)
    }

    fn rank_in(&self, board: &BoardSeason, member: &[u8]) -> Option<(BoardRow, u64)> {
        let owner = shard_of(group_of(key_hash(member)), self.shards.len());
        let query = Query::Member {
            board: board.clone(),
            member: member.to_vec(),
        };
        let Answer::Member(found) = self.shards[owner].query(&query) else {
            panic!("not a member answer");
        };
        let row = found.row?;
        let words = self.score_words(board);
        let places = vec![row.place(), row.start_of_score(words)];
        let better = self.count_better(board, places.clone());
        let of_owner = self.shards[owner].query(&Query::CountBetter {
            board: board.clone(),
            places,
        });
        let own = BetterAnswer {
            better: vec![found.better, found.better_score],
            members: found.members,
        };
        assert_eq!(of_owner, Answer::CountBetter(own), "{}", self.note);
        Some((row, better[0]))
    }

    /// The page of `n` rows around a place.
    pub(crate) fn around(&self, board: usize, place: BoardPlace, n: usize) -> BoardPage {
        self.around_in(&current(board), place, n)
    }

    fn around_in(&self, board: &BoardSeason, place: BoardPlace, n: usize) -> BoardPage {
        let (above, below) = (n as u32, n as u32);
        let query = Query::Neighbours {
            board: board.clone(),
            place,
            above,
            below,
        };
        let answers = self.ask(&query).into_iter().map(|answer| match answer {
            Answer::Neighbours(answer) => answer,
            other => panic!("{other:?}"),
        });
        merge_neighbours(answers.collect(), n)
    }

    /// The rows of these members, in their order, from whichever shard has each.
    pub(crate) fn find(&self, board: &BoardSeason, members: &[Vec<u8>]) -> Vec<Option<BoardRow>> {
        let query = Query::Find {
            board: board.clone(),
            members: members.to_vec(),
        };
        let mut found = vec![None; members.len()];
        for answer in self.ask(&query) {
            let Answer::Find(rows) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(rows.len(), found.len());
            for (found, row) in found.iter_mut().zip(rows).filter(|(_, row)| row.is_some()) {
                assert!(found.is_none(), "{}: a member on two shards", self.note);
                *found = row;
            }
        }
        found
    }

    pub(crate) fn check_board(&self, oracle: &Oracle<'_>, board: usize) {
        let of = &self.pipeline.boards[board];
        let note = format!("{} board {board} {of:?}", self.note);
        let watermark_ms = self.watermarks_ms[of.stream];
        let (seasons, late) = oracle.board(of, watermark_ms);
        let counters = self
            .shards
            .iter()
            .map(|shard| shard.counters().boards[board]);
        let errors = counters.clone().map(|counters| counters.errors);
        let expected = oracle.board_errors(of);
        assert_eq!(errors.fold(Errors::default(), add), expected, "{note}");
        let counted: u64 = counters.clone().map(|counters| counters.late).sum();
        assert_eq!(counted, late, "{note}");
        let held = seasons.iter().map(|season| season.places.len() as u64);
        let counted: u64 = counters.map(|counters| counters.members).sum();
        assert_eq!(counted, held.sum::<u64>(), "{note}");
        if of.season.is_some() {
            self.check_seasons(&seasons, board, &note);
        }
        for season in &seasons {
            self.check_season(of, board as u16, season, &note);
        }
    }

    /// A season as a whole and its splits.
    fn check_season(&self, of: &Board, board: u16, season: &SeasonTruth, note: &str) {
        let note = format!("{note} season {:?}", season.span);
        let whole = BoardSeason {
            board,
            season_ms: season.span.map(|(start_ms, _)| start_ms),
            split: Vec::new(),
        };
        self.check_members(&whole, &season.places, &note);
        let mut expected = Vec::new();
        for truth in &season.splits {
            let split = BoardSeason {
                split: cells(&self.pipeline.streams[of.stream], &of.split, &truth.values),
                ..whole.clone()
            };
            let note = format!("{note} split {:?}", truth.values);
            self.check_members(&split, &truth.places, &note);
            let members = truth.places.len() as u64;
            let row = SplitRow {
                split: split.split.clone(),
                members,
            };
            let named = self.splits(&split).splits;
            assert_eq!(named, std::slice::from_ref(&row), "{note}");
            expected.push(row);
        }
        expected.sort_by(|one, other| one.split.cmp(&other.split));
        let page = self.splits(&whole);
        assert_eq!((page.splits, page.refused), (expected, 0), "{note}");
        let nowhere = BoardSeason {
            split: vec![0xff; 3],
            ..whole
        };
        assert_eq!(self.top_page(&nowhere, 0, 10).0.members, 0, "{note}");
    }

    pub(crate) fn splits(&self, board: &BoardSeason) -> SplitsPage {
        let answers = self.ask(&Query::Splits {
            board: board.clone(),
        });
        let answers = answers.into_iter().map(|answer| match answer {
            Answer::Splits(answer) => answer,
            other => panic!("{other:?}"),
        });
        merge_splits(answers.collect())
    }

    /// The list of seasons, and that nothing is read of others.
    fn check_seasons(&self, truth: &[SeasonTruth], board: usize, note: &str) {
        let of = &self.pipeline.boards[board];
        let season = of.season.as_ref().expect("it has seasons");
        let watermark_ms = self.watermarks_ms[of.stream];
        let board = board as u16;
        let answers = self.ask(&Query::Seasons { board }).into_iter();
        let answers = answers.map(|answer| match answer {
            Answer::Seasons(answer) => answer,
            other => panic!("{other:?}"),
        });
        let page = merge_seasons(&SeasonPlan::new(season), &answers.collect::<Vec<_>>());
        let current =
            (watermark_ms != i64::MIN).then(|| windows_of(&season.every, watermark_ms)[0]);
        let bounds = |span: Span| (span.start_ms, span.end_ms);
        assert_eq!(page.current.map(bounds), current, "{note}");
        assert_eq!(page.watermark_ms, watermark_ms, "{note}");
        let held = truth
            .iter()
            .filter(|season| !season.places.is_empty() || season.corrected > 0);
        let mut expected: Vec<_> = held
            .map(|season| {
                let held = (season.places.len() as u64, season.corrected);
                (season.span.expect("a span"), held)
            })
            .collect();
        expected.extend(current.map(|span| (span, (0, 0))));
        expected.sort_unstable_by_key(|(span, held)| (*span, std::cmp::Reverse(*held)));
        expected.dedup_by_key(|(span, _)| *span);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(span, held)| {
                let state = match (is_final(season, span, watermark_ms), span.1 <= watermark_ms) {
                    (true, _) => SeasonState::Final,
                    (false, true) => SeasonState::Frozen,
                    (false, false) => SeasonState::Open,
                };
                (span, state, held)
            })
            .collect();
        let seasons = page.seasons.iter();
        let actual: Vec<_> = seasons
            .map(|season| {
                let held = (season.members, season.corrected);
                (bounds(season.span), season.state, held)
            })
            .collect();
        assert_eq!(actual, expected, "{note}");
        let nowhere = BoardSeason {
            board,
            season_ms: Some(12_345_678_901_234),
            split: Vec::new(),
        };
        assert_eq!(self.top_page(&nowhere, 0, 10).0.members, 0, "{note}");
    }

    fn check_members(&self, board: &BoardSeason, places: &[Place], note: &str) {
        let of = &self.pipeline.boards[usize::from(board.board)];
        let expected: Vec<_> = places.iter().map(|place| row_of(of.ties, place)).collect();
        let notes: Vec<_> = places.iter().map(|place| &place.note).collect();
        let seen = |rows: &[BoardRow]| -> Vec<_> {
            rows.iter()
                .map(|row| seen(of.ties, of.score_words(), row))
                .collect()
        };
        let (all, _) = self.top_page(board, 0, 10_000);
        assert_eq!(seen(&all.rows), expected, "{note}");
        let stream = &self.pipeline.streams[of.stream];
        for (row, expected) in all.rows.iter().zip(notes) {
            let note_of = note_values(of, stream, &row.note).expect("a note of the board");
            let note_of: Vec<_> = note_of.into_iter().map(Datum::of).collect();
            assert_eq!(note_of, *expected, "{note}");
        }
        let styles = RankStyle::ALL
            .into_iter()
            .filter(|style| *style != RankStyle::Dense || self.shards.len() == 1);
        let styles: Vec<_> = styles
            .map(|style| (style, numbers(places, style)))
            .collect();
        let same_numbers = |page: &BoardPage, above: Above, note: &str| {
            let first = page.first_rank as usize;
            for (style, numbers) in &styles {
                let numbers = &numbers[first.min(numbers.len())..][..page.rows.len()];
                let actual = page.numbers(*style, of.score_words(), above);
                assert_eq!(actual, numbers, "{note} {style:?}");
            }
        };
        for (offset, n) in [(0, 1), (1, 3), (expected.len() / 2, 7), (expected.len(), 2)] {
            let note = format!("{note} page {offset} {n}");
            let (page, above) = self.top_page(board, offset, n);
            let end = (offset + n).min(expected.len());
            assert_eq!(seen(&page.rows), expected[offset.min(end)..end], "{note}");
            same_numbers(&page, above, &note);
        }
        for (rank, place) in places.iter().enumerate() {
            let found = self.rank_in(board, &place.member.canonical());
            let (row, better) = found.unwrap_or_else(|| panic!("{note}: {place:?} is missing"));
            let found = (seen(std::slice::from_ref(&row)), better);
            assert_eq!(found, (vec![expected[rank].clone()], rank as u64), "{note}");
            for n in [1, 2, 5, expected.len(), expected.len() + 3] {
                let note = format!("{note} around {rank} {n}");
                let page = self.around_in(board, row.place(), n);
                let first = page.first_rank as usize;
                let behind = first + page.rows.len();
                assert_eq!(page.rows.len(), n.min(expected.len()), "{note}");
                assert_eq!(seen(&page.rows), expected[first..behind], "{note}");
                assert!((first..behind).contains(&rank), "{note}");
                same_numbers(&page, self.above(board, &page.rows[0]), &note);
            }
        }
        assert_eq!(self.rank_in(board, b"nobody at all"), None, "{note}");
        self.check_among(board, places, note);
    }

    /// Every third member, and one who is not there.
    fn check_among(&self, board: &BoardSeason, places: &[Place], note: &str) {
        let asked: Vec<_> = places.iter().step_by(3).collect();
        let mut members: Vec<_> = asked.iter().map(|place| place.member.canonical()).collect();
        members.push(b"nobody at all".to_vec());
        members.reverse();
        let found = self.find(board, &members);
        assert_eq!(found[0], None, "{note} among");
        let page = BoardPage::among(found.into_iter().flatten().collect());
        assert_eq!(page.rows.len(), asked.len(), "{note} among");
        let places_of = page.rows.iter().map(BoardRow::place).collect();
        let better = self.count_better(board, places_of);
        for ((place, row), better) in asked.iter().zip(&page.rows).zip(better) {
            let same = (place.scores(), place.member.canonical());
            assert_eq!(
                same,
                (row.scores.clone(), row.member.clone()),
                "{note} among"
            );
            assert_eq!(**place, places[better as usize], "{note} among");
        }
        let one: Vec<_> = asked.into_iter().cloned().collect();
        let actual = page.numbers(RankStyle::Dense, self.score_words(board), Above::default());
        assert_eq!(actual, numbers(&one, RankStyle::Dense), "{note} among");
        self.check_better_scores(board, &page, places, note);
    }

    /// Several keys at once, in no order.
    fn check_better_scores(
        &self,
        board: &BoardSeason,
        page: &BoardPage,
        places: &[Place],
        note: &str,
    ) {
        let ([shard], true) = (&self.shards[..], page.rows.len() > 1) else {
            return;
        };
        let mut rows: Vec<_> = page.rows.iter().collect();
        rows.rotate_left(page.rows.len() / 2);
        let query = Query::CountBetterScores {
            board: board.clone(),
            keys: rows.iter().map(|row| row.key).collect(),
        };
        let dense = numbers(places, RankStyle::Dense);
        let expected = rows.iter().map(|row| {
            let at = places
                .iter()
                .position(|place| place.member.canonical() == row.member);
            match dense[at.expect("it is there")] {
                RankNumber::Place(place) => place - 1,
                RankNumber::Percent(_) => panic!("a place"),
            }
        });
        let expected = Answer::CountBetterScores(expected.collect());
        assert_eq!(shard.query(&query), expected, "{note} scores");
    }
}

/// The cells of these values.
pub(crate) fn cells(stream: &Stream, columns: &[usize], values: &[Datum]) -> Vec<u8> {
    let mut out = Vec::new();
    for (&column, value) in columns.iter().zip(values) {
        let kind = stream.column(column).kind;
        assert!(write_cell(kind, &value.value(), &mut out));
    }
    out
}

fn current(board: usize) -> BoardSeason {
    BoardSeason::current(board as u16)
}

/// Member, scores, and the tie where it decides.
type Seen = (Vec<u8>, Vec<Scalar>, Option<Tie>);

fn moments_decide(ties: Ties) -> bool {
    matches!(ties, Ties::FirstToReach | Ties::LastToReach)
}

fn row_of(ties: Ties, place: &Place) -> Seen {
    let tie = moments_decide(ties).then_some(place.tie);
    (place.member.canonical(), place.scores(), tie)
}

fn seen(ties: Ties, score_words: usize, row: &BoardRow) -> Seen {
    let tie = moments_decide(ties).then(|| row.reached(score_words, ties));
    (row.member.clone(), row.scores.clone(), tie.flatten())
}
