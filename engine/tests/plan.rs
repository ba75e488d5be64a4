//! `ringmill plan` and `ringmill apply` on a store, and what its clients notice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::client::Client;
use common::http::Http;
use common::hunt::{self, Expected};
use common::server::{Refusal, Server, ended, ringmill};
use ringmill_shard::schema::Schema;

const UNCHANGED: i32 = 0;
const USAGE: i32 = 2;
const CHANGES: i32 = 3;

/// The hunt with a field, a view and a board more, and another name for a computed column.
fn wider() -> String {
    let device = "device = { id = 5, type = \"u64\" }";
    let more = format!("{device}\nteam = {{ id = 9, type = \"text(6)\", optional = true }}");
    let wider = hunt::PIPELINE.replace(device, &more);
    assert_ne!(wider, hunt::PIPELINE);
    format!(
        "{wider}\n[view.by_team]\nfrom = \"finds\"\ngroup = [\"team\"]\n\
         window = {{ size = \"1m\", keep = \"2d\" }}\n\n[view.by_team.columns]\nfinds = \"count()\"\n\n\
         [board.devices]\nfrom = \"finds\"\nmember = \"device\"\nscore = \"count()\"\n"
    )
}

fn run(command: &str, file: &Path, data: &Path, more: &[&str]) -> Refusal {
    let mut line = ringmill();
    line.arg(command).arg(file).arg("--data").arg(data);
    ended(line.args(more))
}

/// Checks code and output: every part must occur.
#[track_caller]
fn expect(found: &Refusal, code: i32, parts: &[&str]) {
    assert_eq!(found.code, Some(code), "{found:?}");
    for part in parts {
        assert!(found.stdout.contains(part), "no {part:?} in {found:?}");
    }
}

fn events_in(rows: &[serde_json::Value]) -> u64 {
    rows.iter().map(|row| row["finds"].as_u64().unwrap()).sum()
}

/// A store of one server after the other.
struct Store {
    dir: tempfile::TempDir,
    file: PathBuf,
    wide_file: PathBuf,
    data: PathBuf,
    expected: Expected,
}

impl Store {
    /// With 500 events of the narrow pipeline, and stopped.
    fn narrow() -> (Store, Schema) {
        let dir = common::scratch();
        let (file, data) = (hunt::pipeline_file(dir.path()), dir.path().join("data"));
        let mut expected = Expected::default();
        let server = Server::start(&file, &data, &["--shards", "2"]);
        let mut client = Client::hello(server.listen, "old", 0);
        let narrow = client.schema().clone();
        client.publish(1, &hunt::rows(&narrow, 1, 1, 500));
        expected.extend(1, 500);
        run("apply", &file, &data, &[]).expect(1, &["in use by a running server", "stop it"]);
        server.stop();
        let wide_file = dir.path().join("wide.toml");
        std::fs::write(&wide_file, wider()).unwrap();
        let store = Store {
            dir,
            file,
            wide_file,
            data,
            expected,
        };
        (store, narrow)
    }

    /// Plans and applies the wide pipeline.
    fn widen(&self) {
        let same = run("plan", &self.file, &self.data, &[]);
        let parts = ["kept view by_region", "nothing would change"];
        expect(&same, UNCHANGED, &parts);
        let planned = run("plan", &self.wide_file, &self.data, &[]);
        let parts = [
            "changed stream finds: field team added\n",
            "kept view by_region\n",
            "built view by_team\n",
            "kept board players\n",
            "built board devices\n",
            "from the log: at most",
            "with 1000000 keys per stream",
        ];
        expect(&planned, CHANGES, &parts);
        expect(&run("plan", &self.file, &self.data, &[]), UNCHANGED, &[]);
        let applied = run("apply", &self.wide_file, &self.data, &[]);
        expect(&applied, UNCHANGED, &parts);
        let again = run("plan", &self.wide_file, &self.data, &[]);
        expect(&again, UNCHANGED, &["nothing would change"]);
        // The way back would take a field away that rows may have.
        let back = run("apply", &self.file, &self.data, &["--yes"]);
        let parts = ["refused: ", "field `team` (id 9)", "cannot be applied"];
        expect(&back, USAGE, &parts);
    }

    /// A server without a file: it serves what was applied.
    fn serve_stored(&self) -> Server {
        let mut line = ringmill();
        line.args(["serve", "--shards", "2", "--segment-mib", "4"]);
        line.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        line.arg("--data").arg(&self.data);
        if common::skip_uring() {
            line.args(["--backend", "posix"]);
        }
        Server::run(line, &self.dir.path().join("applied.log"))
    }

    #[track_caller]
    fn check(&self, server: &Server, context: &str) {
        let http = Http::new(server.http);
        self.expected.check(&http, context);
        let counted = events_in(&http.view("by_team"));
        assert_eq!(counted, self.expected.events, "{context}");
    }

    /// A client that has not heard of the wider rows goes on with those that it knows.
    fn publish_both(&mut self, server: &Server, narrow: &Schema) {
        let mut client = Client::hello(server.listen, "old", 0);
        let wide = client.schema().clone();
        assert_ne!(wide.id, narrow.id);
        assert_eq!(client.hello.highest_seen, 500);
        client.hello.streams[0].schema = narrow.clone();
        let ack = client.publish(501, &hunt::rows(narrow, 1, 501, 300));
        assert_eq!(ack.rejected, 0);
        self.expected.extend(1, 800);
        let mut client = Client::hello(server.listen, "new", 0);
        client.publish(1, &hunt::rows(&wide, 2, 1, 200));
        self.expected.extend(2, 200);
    }
}

/// What is wrong with a row is said in the terms of the schema that it was written with.
fn publish_a_bad_row(server: &Server, narrow: &Schema) {
    let mut client = Client::hello(server.listen, "bad", 0);
    client.hello.streams[0].schema = narrow.clone();
    let mut rows = hunt::rows(narrow, 3, 1, 1);
    let region = narrow.field("region").unwrap();
    rows[usize::from(narrow.fields[region].offset)] = 200;
    client.wire.send(&client.frame(1, &rows)).unwrap();
    let error = client.wire.expect_error();
    assert!(error.message.contains("`region`"), "{error:?}");
    assert_eq!(usize::from(error.field), region);
}

#[test]
fn a_stopped_store_goes_on_with_another_pipeline() {
    let (mut store, narrow) = Store::narrow();
    store.widen();
    let server = store.serve_stored();
    store.check(&server, "applied");
    store.publish_both(&server, &narrow);
    store.check(&server, "rows of both schemas");
    publish_a_bad_row(&server, &narrow);
    server.stop();

    let server = Server::start(&store.wide_file, &store.data, &["--shards", "3"]);
    store.check(&server, "replayed by other shards");
    let http = Http::new(server.http);
    let rejected = http.get("/v1/streams/finds/rejected").ok();
    assert_eq!(rejected["rows"][0]["field"], "region", "{rejected}");
    server.stop();
}

#[test]
fn what_is_dropped_has_to_be_meant() {
    let (store, _) = Store::narrow();
    store.widen();
    let fewer = wider();
    let fewer = &fewer[..fewer.find("[board.devices]").unwrap()];
    std::fs::write(&store.wide_file, fewer).unwrap();
    let asked = run("apply", &store.wide_file, &store.data, &[]);
    asked.expect(USAGE, &["the plan drops board devices", "--yes"]);
    let dropped = run("apply", &store.wide_file, &store.data, &["--yes"]);
    expect(&dropped, UNCHANGED, &["dropped board devices\n"]);
}

#[test]
fn a_running_server_says_what_a_file_would_change() {
    let dir = common::scratch();
    let (file, data) = (hunt::pipeline_file(dir.path()), dir.path().join("data"));
    let server = Server::start(&file, &data, &[]);
    let address = server.http.to_string();
    let ask = |file: &Path| {
        let mut line = ringmill();
        line.arg("plan").arg(file).arg("--http");
        ended(line.arg(&address))
    };
    expect(&ask(&file), UNCHANGED, &["nothing would change"]);
    let wide_file = dir.path().join("wide.toml");
    std::fs::write(&wide_file, wider()).unwrap();
    expect(
        &ask(&wide_file),
        CHANGES,
        &["built board devices", "field team added"],
    );
    std::fs::write(
        &wide_file,
        hunt::PIPELINE.replace("key = \"player\"", "key = \"device\""),
    )
    .unwrap();
    expect(
        &ask(&wide_file),
        USAGE,
        &["refused: ", "keyed by `player` in the store"],
    );
    std::fs::write(&wide_file, "ringmill = 1\n").unwrap();
    ask(&wide_file).expect(USAGE, &["at least one [stream.NAME]"]);
    let http = Http::new(server.http);
    let faulty = http.post("/v1/pipeline/plan", &[], b"ringmill = 1\n");
    faulty.problem(422, "bad-pipeline");
    server.stop();
    ask(&file).expect(1, &["no server answers at", "--data"]);
}
