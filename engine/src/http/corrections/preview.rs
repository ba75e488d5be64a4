//! What a correction would do, without doing it: the events that it means, and who would move where
//! on the boards.

use std::collections::{BTreeMap, HashMap};

use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::{Board, Pipeline, RankStyle, Retract};
use ringmill_shard::query::{Answer, BoardPlace, BoardRow, BoardSeason, Query, Scalar};
use ringmill_shard::receipt::{BoardReader, Part};
use ringmill_shard::schema::FieldType;
use ringmill_shard::selection::Found;
use serde_json::{Value as Json, json};

use super::ask::Ask;
use super::{away, effect};
use crate::http::App;
use crate::http::answers::{ask_all, ask_one, scalar};
use crate::http::problem::Problem;

/// Events and members that are listed; all are counted.
const LISTED: usize = 100;
/// Members of a board whose moves are worked out.
const MEMBERS_MAX: usize = 1_000;
/// Places of one question, so that it fits a small lane.
const PLACES: usize = 2;

/// What a member would lose.
#[derive(Default)]
struct Loss {
    events: u64,
    scores: Vec<i128>,
}

/// A member before and after.
struct Move {
    member: Vec<u8>,
    events: u64,
    row: BoardRow,
    before: BoardPlace,
    /// Scores and place, if anything is left.
    after: Option<(Vec<i128>, BoardPlace)>,
}

/// The answer to a dry run.
pub(super) async fn body(app: &App, ask: &Ask, found: &[Found]) -> Result<Json, Problem> {
    let stream = &app.pipeline.streams[ask.stream];
    let by = away(app, found).await?;
    let count = |is: &dyn Fn(&Found, &[u64]) -> bool| {
        let pairs = found.iter().zip(&by);
        pairs.filter(|(found, by)| is(found, by)).count()
    };
    let void = count(&|found, _| found.void.is_some());
    let already = count(&|found, by| found.void.is_none() && !by.is_empty());
    let there: Vec<&Found> = found
        .iter()
        .zip(&by)
        .filter(|(found, by)| found.void.is_none() && by.is_empty())
        .map(|(found, _)| found)
        .collect();
    let mut boards = Vec::new();
    for (index, board) in app.pipeline.boards.iter().enumerate() {
        if board.stream == ask.stream && board.retract == Retract::Exact {
            boards.extend(of_board(app, index, board, &there).await?);
        }
    }
    let event = |(found, by): (&Found, &Vec<u64>)| {
        let place = found.event.place;
        json!({
            "log_stream": place.log_stream,
            "lsn": place.lsn,
            "index": place.index,
            "time_ms": found.time_ms,
            "producer_id": format!("{:032x}", found.producer),
            "epoch": found.epoch,
            "sequence": found.sequence,
            "without_effect": found.void.map(|reason| reason.name()),
            "retracted_by": by,
        })
    };
    let waits = ask.wanted.event.is_some() && found.is_empty();
    Ok(json!({
        "dry_run": true,
        "stream": stream.name,
        "events": there.len(),
        "already_retracted": already,
        "without_effect": void,
        "early": u64::from(waits),
        "effect": effect(&app.pipeline, ask.stream),
        "boards": boards,
        "found": found.iter().zip(&by).take(LISTED).map(event).collect::<Vec<_>>(),
    }))
}

/// The moves on a board, by season.
async fn of_board(
    app: &App,
    index: usize,
    board: &Board,
    found: &[&Found],
) -> Result<Vec<Json>, Problem> {
    let losses = losses(app, index, found);
    let mut answers = Vec::new();
    for (season_ms, losses) in losses {
        let of = BoardSeason {
            board: index as u16,
            season_ms,
            split: Vec::new(),
        };
        let members = losses.len();
        let mut body = json!({ "board": board.name, "members": members });
        if let Some(start_ms) = season_ms {
            body["season_start_ms"] = start_ms.into();
        }
        if members <= MEMBERS_MAX && sums_integers(&app.pipeline, board) {
            let moves = moves(app, &of, losses).await?;
            body["moves"] = described(app, &of, board, moves).await?.into();
        }
        answers.push(body);
    }
    Ok(answers)
}

/// Whether what is left of a score can be told from what goes: rounded sums do not say it.
fn sums_integers(pipeline: &Pipeline, board: &Board) -> bool {
    let stream = &pipeline.streams[board.stream];
    let mut scores = board.scores.iter();
    scores.all(|score| score.field.map(|field| stream.column(field).kind) != Some(FieldType::F64))
}

type Losses = HashMap<Vec<u8>, Loss>;

/// By start of the season, and member.
fn losses(app: &App, board: usize, found: &[&Found]) -> BTreeMap<Option<i64>, Losses> {
    let mut reader = BoardReader::new(&app.pipeline, board);
    let mut all: BTreeMap<Option<i64>, Losses> = BTreeMap::new();
    for found in found {
        let line = reader.line(found).filter(|line| line.part == Part::Counted);
        let Some(line) = line else { continue };
        let of_season = all
            .entry(line.season.map(|span| span.start_ms))
            .or_default();
        let loss = of_season.entry(line.member).or_default();
        loss.events += 1;
        loss.scores.resize(line.values.len(), 0);
        for (sum, value) in loss.scores.iter_mut().zip(&line.values) {
            *sum += integer(value);
        }
    }
    all
}

fn integer(scalar: &Scalar) -> i128 {
    match *scalar {
        Scalar::U64(value) => value.into(),
        Scalar::I64(value) => value.into(),
        Scalar::Wide(value) => value,
        Scalar::Null | Scalar::F64(_) | Scalar::Time(_) | Scalar::Overflow => 0,
    }
}

/// What becomes of each member that is on the board.
async fn moves(app: &App, of: &BoardSeason, losses: Losses) -> Result<Vec<Move>, Problem> {
    let reader = BoardReader::new(&app.pipeline, usize::from(of.board));
    let mut moves = Vec::new();
    for (member, loss) in losses {
        let shard = shard_of(group_of(key_hash(&member)), app.cores.shards());
        let query = Query::Member {
            board: of.clone(),
            member: member.clone(),
        };
        let found = ask_one(app, shard, &query, |answer| match answer {
            Answer::Member(answer) => Some(answer),
            _ => None,
        });
        let Some(row) = found.await?.row else {
            continue;
        };
        let query = Query::Weights {
            board: of.clone(),
            members: vec![member.clone()],
        };
        let weight = ask_one(app, shard, &query, |answer| match answer {
            Answer::Weights(weights) => weights.first().copied(),
            _ => None,
        });
        let is_left = weight.await? > loss.events;
        let scores = row.scores.iter().zip(&loss.scores);
        let scores: Vec<i128> = scores.map(|(now, loss)| integer(now) - loss).collect();
        let before = row.place();
        let after = is_left.then(|| {
            let key = reader.place(&scores, u64::MAX, &member);
            let member = member.clone();
            (scores, BoardPlace { key, member })
        });
        moves.push(Move {
            member,
            events: loss.events,
            row,
            before,
            after,
        });
    }
    Ok(moves)
}

/// The moves with the ranks before and after, best first.
async fn described(
    app: &App,
    of: &BoardSeason,
    board: &Board,
    moves: Vec<Move>,
) -> Result<Vec<Json>, Problem> {
    let columns = board.scores.len();
    // What a rank is counted from: the place itself, or that of the first with the score.
    let start = |place: &BoardPlace| match board.rank {
        RankStyle::Ordinal => place.clone(),
        _ => BoardPlace {
            key: place.key.start_of_score(columns),
            member: Vec::new(),
        },
    };
    let before: Vec<BoardPlace> = moves.iter().map(|one| start(&one.before)).collect();
    let after = moves.iter().map(|one| one.after.as_ref());
    let after: Vec<BoardPlace> = after
        .map(|left| left.map_or(start_of_all(), |(_, p)| start(p)))
        .collect();
    let better_before = better(app, of, before).await?;
    let better_now = better(app, of, after.clone()).await?;
    let order = |place: &BoardPlace| (place.key, place.member.clone());
    let mut rows = Vec::new();
    for (at, one) in moves.iter().enumerate() {
        let rank_after = one.after.as_ref().map(|_| {
            let target = order(&after[at]);
            let left = moves
                .iter()
                .filter(|other| order(&other.before) < target)
                .count() as u64;
            let joined = moves.iter().filter_map(|other| other.after.as_ref());
            let joined = joined.filter(|(_, place)| order(place) < target).count() as u64;
            (better_now[at] + joined).saturating_sub(left) + 1
        });
        let score = |scores: Vec<Json>| match scores.len() {
            1 => scores[0].clone(),
            _ => Json::from(scores),
        };
        let now = score(one.row.scores.iter().map(scalar).collect());
        let left = one.after.as_ref();
        let left = left.map(|(scores, _)| {
            let number = |&number: &i128| scalar(&Scalar::Wide(number));
            let number = |one: &i128| match i64::try_from(*one) {
                Ok(small) => small.into(),
                Err(_) => number(one),
            };
            score(scores.iter().map(number).collect())
        });
        let schema = &app.pipeline.streams[board.stream].schema;
        let member = schema.value_of_canonical(board.member, &one.member);
        let row = json!({
            "member": member.map(|member| member.to_json()),
            "events": one.events,
            "score_before": now,
            "score_after": left,
            "rank_before": better_before[at] + 1,
            "rank_after": rank_after,
        });
        rows.push((better_before[at], row));
    }
    rows.sort_by_key(|(rank, _)| *rank);
    Ok(rows.into_iter().take(LISTED).map(|(_, row)| row).collect())
}

fn start_of_all() -> BoardPlace {
    BoardPlace {
        key: ringmill_shard::rank::OrderKey::new(&[0]),
        member: Vec::new(),
    }
}

/// How many members of all shards are better than each place.
async fn better(app: &App, of: &BoardSeason, places: Vec<BoardPlace>) -> Result<Vec<u64>, Problem> {
    let mut sums = Vec::with_capacity(places.len());
    for some in places.chunks(PLACES) {
        let query = Query::CountBetter {
            board: of.clone(),
            places: some.to_vec(),
        };
        let answers = ask_all(app, &query, |answer| match answer {
            Answer::CountBetter(answer) if answer.better.len() == some.len() => Some(answer),
            _ => None,
        })
        .await?;
        for at in 0..some.len() {
            sums.push(
                answers
                    .replies
                    .iter()
                    .map(|(_, answer)| answer.better[at])
                    .sum(),
            );
        }
    }
    Ok(sums)
}
