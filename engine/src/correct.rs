//! `ringmill retract`, `ringmill undo` and `ringmill explain`: asked of a running engine over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::{EXIT_FAILED, EXIT_USAGE};
use crate::say;

/// Longest wait for an answer: the logs may have to be read.
const TIMEOUT: Duration = Duration::from_secs(600);

/// `ringmill retract`.
#[derive(Debug, Args)]
pub struct RetractArgs {
    /// The stream.
    pub stream: String,
    /// One event, by the name of its producer ...
    #[arg(long, value_name = "NAME", requires = "sequence")]
    pub producer: Option<String>,
    /// ... and its sequence. It may come later.
    #[arg(long, value_name = "N", requires = "producer")]
    pub sequence: Option<u64>,
    /// Epoch of the producer; the one in force if absent.
    #[arg(long, value_name = "N", requires = "producer")]
    pub epoch: Option<u32>,
    /// All events so far with this key.
    #[arg(long, value_name = "VALUE", conflicts_with = "producer")]
    pub key: Option<String>,
    /// Only events from this time on: ms since the epoch, or 2026-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "producer")]
    pub from: Option<String>,
    /// Only events before this time.
    #[arg(long, value_name = "TIME", conflicts_with = "producer")]
    pub to: Option<String>,
    /// Only events for which this expression is true.
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with = "producer")]
    pub filter: Option<String>,
    /// Finish a correction that was cut off.
    #[arg(long, value_name = "N")]
    pub id: Option<u64>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Who wants it, and why.
    #[command(flatten)]
    pub why: Why,
    /// Where the engine is.
    #[command(flatten)]
    pub at: At,
}

/// `ringmill undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Number of the correction.
    pub id: u64,
    /// Who wants it, and why.
    #[command(flatten)]
    pub why: Why,
    /// Where the engine is.
    #[command(flatten)]
    pub at: At,
}

/// What a correction is never without.
#[derive(Debug, Args)]
pub struct Why {
    /// Why; it stays in the list of corrections.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// By whom; it stays in the list of corrections.
    #[arg(long, value_name = "NAME")]
    pub author: String,
}

/// Where the engine is.
#[derive(Debug, Args)]
pub struct At {
    /// Address of its HTTP interface.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    pub http: SocketAddr,
}

/// `ringmill explain`.
#[derive(Debug, Subcommand)]
pub enum ExplainCommand {
    /// The receipt of a score: the events that make it up, and those that do not.
    Board {
        /// The board.
        board: String,
        /// The member: player=42.
        #[arg(value_name = "FIELD=VALUE")]
        member: String,
        /// The season; the current one if absent.
        #[arg(long, value_name = "TIME")]
        season: Option<String>,
        /// Show the answer as it came.
        #[arg(long)]
        json: bool,
        /// Where the engine is.
        #[command(flatten)]
        at: At,
    },
}

/// Runs `ringmill retract`; returns the exit code.
pub fn retract(args: &RetractArgs) -> i32 {
    let select = if let (Some(producer), Some(sequence)) = (&args.producer, args.sequence) {
        let mut event = json!({ "producer": producer, "sequence": sequence });
        if let Some(epoch) = args.epoch {
            event["epoch"] = epoch.into();
        }
        json!({ "event": event })
    } else {
        let mut select = json!({});
        let mut range = json!({});
        let texts = [("from", &args.from), ("to", &args.to)];
        for (name, text) in texts
            .into_iter()
            .filter_map(|(n, t)| Some((n, t.as_ref()?)))
        {
            range[name] = text.as_str().into();
            select["range"] = range.clone();
        }
        for (name, text) in [("key", &args.key), ("where", &args.filter)] {
            if let Some(text) = text {
                select[name] = text.as_str().into();
            }
        }
        select
    };
    let mut body = json!({
        "stream": args.stream,
        "select": select,
        "reason": args.why.reason,
        "author": args.why.author,
        "dry_run": args.dry_run,
    });
    if let Some(id) = args.id {
        body["id"] = id.into();
    }
    let show = if args.dry_run { preview } else { done };
    ask(args.at.http, "/v1/corrections", Some(&body), show)
}

/// Runs `ringmill undo`; returns the exit code.
pub fn undo(args: &UndoArgs) -> i32 {
    let body = json!({ "reason": args.why.reason, "author": args.why.author });
    let path = format!("/v1/corrections/{}/undo", args.id);
    ask(args.at.http, &path, Some(&body), |answer| {
        format!(
            "correction {} is undone, {} events are back\n",
            answer["id"], answer["put_back"]
        )
    })
}

/// Runs `ringmill explain`; returns the exit code.
pub fn explain(command: &ExplainCommand) -> i32 {
    let ExplainCommand::Board {
        board,
        member,
        season,
        json,
        at,
    } = command;
    let Some((field, value)) = member.split_once('=') else {
        say!("ringmill: `{member}` is no member; write its field and value, such as player=42");
        return EXIT_USAGE;
    };
    let mut path = format!("/v1/boards/{}/explain/{}", escape(board), escape(value));
    if let Some(season) = season {
        path += &format!("?season={}", escape(season));
    }
    let as_it_came = |answer: &Value| format!("{answer:#}\n");
    let receipt = |answer: &Value| receipt(field, answer);
    match json {
        true => ask(at.http, &path, None, as_it_came),
        false => ask(at.http, &path, None, receipt),
    }
}

/// Asks the engine and prints what `show` makes of the answer.
fn ask(http: SocketAddr, path: &str, body: Option<&Value>, show: impl Fn(&Value) -> String) -> i32 {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT));
    let agent: ureq::Agent = config.build().into();
    let url = format!("http://{http}{path}");
    let response = match body {
        Some(body) => agent.post(&url).send(body.to_string().as_bytes()),
        None => agent.get(&url).call(),
    };
    let answer = response.and_then(|mut response| {
        let text = response
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()?;
        Ok((response.status().as_u16(), text))
    });
    let (status, text) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            say!("ringmill: {http} does not answer: {error}; give its address with --http");
            return EXIT_FAILED;
        }
    };
    let answer: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if status == 200 {
        return say::print(&show(&answer));
    }
    let detail = answer["detail"].as_str().map(str::to_owned);
    say!("ringmill: {}", detail.unwrap_or_else(|| answer.to_string()));
    EXIT_FAILED
}

fn done(answer: &Value) -> String {
    let mut text = format!(
        "correction {}: {} events of {} are taken back",
        answer["id"],
        answer["events"],
        plain(&answer["stream"])
    );
    if answer["early"].as_u64().is_some_and(|early| early > 0) {
        text += "; the event has not come yet, and is taken back when it does";
    }
    text + "\n" + &not_corrected(answer)
}

/// The views and boards that do not follow.
fn not_corrected(answer: &Value) -> String {
    let of = &answer["effect"]["not_corrected"];
    let names = |kind: &str| {
        let names = of[kind].as_array().into_iter().flatten();
        names.map(plain).collect::<Vec<_>>()
    };
    let all = [names("views"), names("boards")].concat();
    if all.is_empty() {
        return String::new();
    }
    format!("not corrected, as the pipeline says: {}\n", all.join(", "))
}

fn preview(answer: &Value) -> String {
    let mut text = format!(
        "dry run: {} events of {} would be taken back ({} are already, {} have no effect)\n",
        answer["events"],
        plain(&answer["stream"]),
        answer["already_retracted"],
        answer["without_effect"],
    );
    if answer["early"].as_u64().is_some_and(|early| early > 0) {
        text += "the event has not come yet: it would be taken back when it does\n";
    }
    for board in answer["boards"].as_array().into_iter().flatten() {
        text += &format!(
            "board {}, {} members\n",
            plain(&board["board"]),
            board["members"]
        );
        for one in board["moves"].as_array().into_iter().flatten() {
            let left = match &one["rank_after"] {
                Value::Null => "not on the board".to_owned(),
                rank => format!("rank {rank}, score {}", plain(&one["score_after"])),
            };
            text += &format!(
                "  {:<20} rank {}, score {} -> {left}\n",
                plain(&one["member"]),
                one["rank_before"],
                plain(&one["score_before"]),
            );
        }
    }
    text + &not_corrected(answer)
}

fn receipt(field: &str, answer: &Value) -> String {
    let mut text = format!(
        "board {}, {field} {}: score {}, rank {} of {}\n",
        plain(&answer["board"]),
        plain(&answer["member"]),
        plain(&answer["score"]),
        answer["rank"],
        answer["members"],
    );
    for line in answer["events"].as_array().into_iter().flatten() {
        let values = line["values"].as_array().into_iter().flatten();
        let values: Vec<String> = values.map(plain).collect();
        let mut notes = String::new();
        if let Some(by) = line["retracted_by"].as_array() {
            let by: Vec<String> = by.iter().map(Value::to_string).collect();
            notes += &format!("  by correction {}", by.join(", "));
        }
        if let Some(again) = line["duplicates_ns"].as_array() {
            notes += &format!("  sent again {} times", again.len());
        }
        if let Some(reason) = line["reason"].as_str() {
            notes += &format!("  {reason}");
        }
        text += &format!(
            "  {:<10} {:>16}  log {} lsn {} row {}  {}#{}{notes}\n",
            plain(&line["part"]),
            values.join(" "),
            line["log_stream"],
            line["lsn"],
            line["index"],
            plain(&line["producer_id"]),
            line["sequence"],
        );
    }
    if answer["events_left_out"]
        .as_u64()
        .is_some_and(|left| left > 0)
    {
        text += &format!("  and {} older ones\n", answer["events_left_out"]);
    }
    let counts = answer["counts"].as_object().into_iter().flatten();
    let counts: Vec<String> = counts
        .map(|(part, count)| format!("{count} {part}"))
        .collect();
    text + &counts.join(", ") + "\n"
}

/// A value without the quotes of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A text as a path segment.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let byte = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
