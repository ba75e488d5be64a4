#!/bin/sh
# The demo: a treasure hunt at 500,000 events/s with every event durable, then a month of flights.
# Needs the release binaries (make demo builds them) and curl. Leaves nothing running.
set -eu
cd "$(dirname "$0")/../.."

bin=${RINGMILL_BIN_DIR:-target/release}
work=${RINGMILL_DEMO_DIR:-target/demo}
rate=${RINGMILL_DEMO_RATE:-500k}
seconds=${RINGMILL_DEMO_SECONDS:-20}
hunt=127.0.0.1:7400 hunt_http=127.0.0.1:7401
floor=127.0.0.1:7410 floor_http=127.0.0.1:7411
flights=127.0.0.1:7420 flights_http=127.0.0.1:7421

servers=
stop_all() {
    for pid in $servers; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $servers; do wait "$pid" 2>/dev/null || true; done
    servers=
}
trap stop_all EXIT INT TERM

say() { printf '\n== %s\n' "$*"; }

# serve NAME LISTEN HTTP [ARGS...]: starts a server and waits for its ready line.
serve() {
    name=$1 listen=$2 http=$3
    shift 3
    "$bin/ringmill" serve --data "$work/$name" --listen "$listen" --http "$http" "$@" \
        >"$work/$name.out" 2>"$work/$name.err" &
    servers="$servers $!"
    pid=$!
    until grep -q '^ready' "$work/$name.out"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            cat "$work/$name.err" >&2
            exit 1
        fi
        sleep 0.05
    done
    cat "$work/$name.out"
}

command -v curl >/dev/null || { echo "the demo needs curl" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work"

# The engine on CPU 0 and the generator on CPU 1, where there are two.
engine_cpu="--shards 1" load_cpu=
if [ "$(nproc)" -ge 2 ]; then engine_cpu="--cpus 0" load_cpu="--cpus 1"; fi

say "A treasure hunt: $rate events/s for $seconds s, acknowledged when on disk"
serve hunt $hunt $hunt_http --pipeline docs/examples/treasure_hunt.toml $engine_cpu
serve floor $floor $floor_http --pipeline docs/examples/treasure_hunt.toml $engine_cpu --floor log

say "The leaderboard, live: curl -s 'http://$hunt_http/v1/boards/players/top?n=3'"
(
    while sleep 5; do
        curl -s "http://$hunt_http/v1/boards/players/top?n=3" && echo
    done
) &
watcher=$!
status=0
"$bin/loadgen" run -a $hunt --floor $floor -r "$rate" --batch 50 --keys 1M -w 2s \
    -d "${seconds}s" $load_cpu --json "$work/run.json" || status=$?
kill $watcher 2>/dev/null || true
wait $watcher 2>/dev/null || true
# 5: the machine was too noisy for the figures to count; the demo goes on all the same.
if [ "$status" -ne 0 ] && [ "$status" -ne 5 ]; then exit "$status"; fi

say "The top of the board at the end"
curl -s "http://$hunt_http/v1/boards/players/top?n=5"
echo
stop_all

say "Where the time went: ringmill inspect $work/hunt"
"$bin/ringmill" inspect "$work/hunt"
echo "latency dumps: $work/hunt/dumps    run report: $work/run.json"

say "A month of real flights through HTTP; repeat it with these lines:"
serve flights $flights $flights_http --pipeline docs/examples/flights.toml --shards 1
show() { printf '$ %s\n' "$*"; sh -c "$*"; echo; }
show "gzip -dc docs/examples/flights-2013-01.ndjson.gz |" \
    "curl -s --data-binary @- -H 'Ringmill-Producer: demo' -H 'Ringmill-Sequence: 1'" \
    "http://$flights_http/v1/streams/flights/events"
show "curl -s 'http://$flights_http/v1/boards/aircraft_by_miles/top?n=3'"
show "curl -s 'http://$flights_http/v1/boards/carriers_by_delay/top?n=3'"
show "curl -s 'http://$flights_http/v1/views/hourly_by_origin?origin=JFK&limit=2'"
stop_all
say "Nothing is left running. To keep a server: $bin/ringmill serve --pipeline" \
    "docs/examples/treasure_hunt.toml --data $work/hunt"
