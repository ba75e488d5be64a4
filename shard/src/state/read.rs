//! Reads of the state: queries and counters.

use super::ShardState;
use crate::board::seasons::At;
use crate::board::{BoardRead, BoardState};
use crate::entry::ProducerId;
use crate::limits::{ANSWER_BLOCK_BYTES_MAX, TOP_MAX};
use crate::query::{
    Answer, BetterAnswer, BoardSeason, Counters, DuplicatesAnswer, NeighboursAnswer, Query,
    SeasonsAnswer, Stats, TopAnswer, WindowCursor, WindowsAnswer,
};
use crate::window::Ask;

impl ShardState {
    /// Answers a query.
    pub fn query(&self, query: &Query) -> Answer {
        self.answer(query).unwrap_or(Answer::Unknown)
    }

    /// Whether any view makes windows of the stream.
    pub fn has_windows(&self, stream: usize) -> bool {
        !self.streams[stream].views.is_empty()
    }

    /// Whether a later watermark would close a window of the stream.
    pub fn has_open_windows(&self, stream: usize) -> bool {
        self.streams[stream]
            .views
            .iter()
            .any(|&view| self.views[view].has_open_windows())
    }

    fn answer(&self, query: &Query) -> Option<Answer> {
        Some(match query {
            Query::Windows {
                view,
                from_ms,
                to_ms,
                limit,
                after,
            } => self.windows(*view, *from_ms, *to_ms, bounded(*limit), after.as_ref())?,
            Query::Producer { id } => Answer::Producer(self.producer(ProducerId(*id))),
            Query::Rejected { stream, n } => {
                let stream = self.streams.get(usize::from(*stream))?;
                let newest = stream.rejected.iter().rev().take(bounded(*n));
                Answer::Rejected(newest.cloned().collect())
            }
            Query::Duplicates { stream, n } => {
                let stream = self.streams.get(usize::from(*stream))?;
                let runs = stream.duplicates.iter().rev().take(bounded(*n));
                let events = stream.repeats.iter().rev().take(bounded(*n));
                Answer::Duplicates(DuplicatesAnswer {
                    runs: runs.copied().collect(),
                    events: events.cloned().collect(),
                })
            }
            Query::Late { view, n } => {
                let view = self.views.get(usize::from(*view))?;
                let newest = view.late_events().take(bounded(*n));
                Answer::Late(newest.cloned().collect())
            }
            Query::Corrections { after, n } => {
                Answer::Corrections(self.corrections(*after, bounded(*n)))
            }
            Query::Away { places } => {
                let places = places.iter().take(TOP_MAX);
                Answer::Away(places.map(|place| self.ledger.by(*place)).collect())
            }
            Query::Weights { board, members } => self.weights(board, members)?,
            Query::Taken { id } => Answer::Taken(self.taken(*id)),
            Query::Stats => Answer::Stats(self.stats()),
            of_board => self.answer_of_board(of_board)?,
        })
    }

    fn answer_of_board(&self, query: &Query) -> Option<Answer> {
        Some(match query {
            Query::Top { board, offset, n } => {
                let board = self.board(board)?;
                let rows = board.range(*offset, bounded(*n));
                Answer::Top(TopAnswer {
                    rows,
                    members: board.rank.len(),
                })
            }
            Query::Member { board, member } => Answer::Member(self.board(board)?.member(member)),
            Query::CountBetter { board, places } => {
                let board = self.board(board)?;
                let places = places.iter().take(TOP_MAX);
                let counts = places.map(|place| board.count_better(&place.key, &place.member));
                Answer::CountBetter(BetterAnswer {
                    better: counts.collect(),
                    members: board.rank.len(),
                })
            }
            Query::CountBetterScores { board, keys } => {
                let keys = &keys[..keys.len().min(TOP_MAX)];
                Answer::CountBetterScores(self.board(board)?.count_better_scores(keys))
            }
            Query::Find { board, members } => {
                let board = self.board(board)?;
                let members = members.iter().take(TOP_MAX);
                Answer::Find(members.map(|member| board.find_row(member)).collect())
            }
            Query::Neighbours {
                board,
                place,
                above,
                below,
            } => {
                let board = self.board(board)?;
                let (above, below) = (bounded(*above), bounded(*below));
                let (above, below, better) =
                    board.neighbours(&place.key, &place.member, above, below);
                let members = board.rank.len();
                Answer::Neighbours(NeighboursAnswer {
                    better,
                    above,
                    below,
                    members,
                })
            }
            Query::Seasons { board } => {
                let index = usize::from(*board);
                let stream = self.pipeline.boards.get(index)?.stream;
                Answer::Seasons(SeasonsAnswer {
                    watermark_ms: self.watermark_ms(stream),
                    seasons: self.boards[index].seasons(),
                })
            }
            Query::Splits { board } => {
                let (at, _) = self.season_of(board)?;
                Answer::Splits(self.boards[usize::from(board.board)].splits(at, &board.split))
            }
            _ => return None,
        })
    }

    /// A board in a season.
    fn board(&self, of: &BoardSeason) -> Option<BoardRead<'_>> {
        let (at, stream) = self.season_of(of)?;
        let keys = &self.streams[stream].keys;
        Some(self.boards[usize::from(of.board)].read(at, &of.split, keys))
    }

    /// The season that is meant, and the stream of the board.
    fn season_of(&self, of: &BoardSeason) -> Option<(At, usize)> {
        let stream = self.pipeline.boards.get(usize::from(of.board))?.stream;
        let at = At {
            season_ms: of.season_ms,
            watermark_ms: self.watermark_ms(stream),
        };
        Some((at, stream))
    }

    fn weights(&self, of: &BoardSeason, members: &[Vec<u8>]) -> Option<Answer> {
        let index = usize::from(of.board);
        let stream = self.pipeline.boards.get(index)?.stream;
        let at = At {
            season_ms: of.season_ms,
            watermark_ms: self.watermark_ms(stream),
        };
        let BoardState::Foreign(board) = &self.boards[index] else {
            return None;
        };
        let members = members.iter().take(TOP_MAX);
        Some(Answer::Weights(
            members
                .map(|member| board.weight(at, &of.split, member))
                .collect(),
        ))
    }

    fn windows(
        &self,
        view: u16,
        from_ms: i64,
        to_ms: i64,
        limit: usize,
        after: Option<&WindowCursor>,
    ) -> Option<Answer> {
        let index = usize::from(view);
        let stream = self.pipeline.views.get(index)?.stream;
        let (rows, more) = self.views[index].rows(&Ask {
            from_ms,
            to_ms,
            after,
            limit,
            block_words_max: ANSWER_BLOCK_BYTES_MAX / 8,
        });
        let watermark_ms = self.watermark_ms(stream);
        Some(Answer::Windows(WindowsAnswer {
            watermark_ms,
            rows,
            more,
        }))
    }

    /// Counters of every stream, view and board.
    pub fn counters(&self) -> Counters {
        Counters {
            streams: self.counters.clone(),
            views: self.views.iter().map(|view| view.counters()).collect(),
            boards: self.boards.iter().map(|board| board.counters()).collect(),
        }
    }

    /// Everything that metrics show.
    pub fn stats(&self) -> Stats {
        let streams = 0..self.streams.len();
        Stats {
            counters: self.counters(),
            watermarks_ms: streams.map(|stream| self.watermark_ms(stream)).collect(),
            keys: self
                .streams
                .iter()
                .map(|stream| stream.keys.len() as u64)
                .collect(),
            remembered: self
                .streams
                .iter()
                .map(|stream| stream.dedupe.as_ref().map_or(0, |dedupe| dedupe.len()))
                .collect(),
            producers: self.dedupe.len() as u64,
            deltas_waiting: self.deltas.len() as u64,
        }
    }
}

fn bounded(n: u32) -> usize {
    (n as usize).min(TOP_MAX)
}
