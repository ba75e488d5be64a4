#!/bin/sh
# The demo: a treasure hunt at 500,000 events/s with every event durable, then a month of flights.
# Needs the release binaries (make demo builds them) and curl. Leaves nothing running.
set -eu
cd "$(dirname "$0")/../.."

bin=${RINGMILL_BIN_DIR:-${CARGO_TARGET_DIR:-target}/release}
work=${RINGMILL_DEMO_DIR:-target/demo}
rate=${RINGMILL_DEMO_RATE:-500k}
seconds=${RINGMILL_DEMO_SECONDS:-20}
hunt=127.0.0.1:7400 hunt_http=127.0.0.1:7401
floor=127.0.0.1:7410 floor_http=127.0.0.1:7411
flights=127.0.0.1:7420 flights_http=127.0.0.1:7421

# Children of this shell: servers and the watcher of the board; and the generator, which would wait
# for the answers of servers that are gone.
children= load=
stop_all() {
    if [ -n "$load" ]; then kill -KILL "$load" 2>/dev/null || true; fi
    for pid in $children; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $children; do wait "$pid" 2>/dev/null || true; done
    children=
}
# The shell goes on behind a trap unless it is told to end.
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== %s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }

# serve NAME LISTEN HTTP [ARGS...]: starts a server and waits for its ready line.
serve() {
    name=$1 listen=$2 http=$3
    shift 3
    : >"$work/$name.out"
    "$bin/ringmill" serve --data "$work/$name" --listen "$listen" --http "$http" "$@" \
        >"$work/$name.out" 2>"$work/$name.err" &
    pid=$!
    children="$children $pid"
    until grep -q '^ready' "$work/$name.out"; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/$name.err" >&2; exit 1; }
        sleep 0.05
    done
    cat "$work/$name.out"
}

# Prints the top of the board whenever it has changed. Its own pause is ended with it.
watch_board() {
    trap 'kill "$pause" 2>/dev/null; exit 0' TERM
    last=
    while :; do
        sleep 4 &
        pause=$!
        wait "$pause"
        top=$(curl -s "http://$hunt_http/v1/boards/players/top?n=3") || continue
        if [ "$top" != "$last" ]; then printf '%s\n' "$top"; fi
        last=$top
    done
}

command -v curl >/dev/null || fail "curl is missing; install it"
for name in ringmill loadgen; do
    [ -x "$bin/$name" ] || fail "there is no $bin/$name; run \`make demo\`, which builds it"
done
rm -rf "$work"
mkdir -p "$work"

# The engine on CPU 0 and the generator on CPU 1, where there are two.
engine_cpu="--shards 1" load_cpu=
if [ "$(nproc)" -ge 2 ]; then engine_cpu="--cpus 0" load_cpu="--cpus 1"; fi

say "A treasure hunt: $rate events/s for $seconds s, acknowledged when on disk"
serve hunt $hunt $hunt_http --pipeline docs/examples/treasure_hunt.toml $engine_cpu
serve floor $floor $floor_http --pipeline docs/examples/treasure_hunt.toml $engine_cpu --floor log

say "The leaderboard, live: curl -s 'http://$hunt_http/v1/boards/players/top?n=3'"
echo "(it stands still while the second server, the floor, has its turn)"
watch_board &
watcher=$!
children="$children $watcher"
status=0
"$bin/loadgen" run -a $hunt --floor $floor -r "$rate" --batch 50 --keys 1M -w 2s \
    -d "${seconds}s" $load_cpu --json "$work/run.json" &
load=$!
wait "$load" || status=$?
load=
kill "$watcher" 2>/dev/null || true
case $status in
0) ;;
5) echo "RESULT INVALID: this machine was too busy for the figures to count; all else holds" ;;
*) exit "$status" ;;
esac

say "The top of the board at the end"
curl -sS --fail-with-body "http://$hunt_http/v1/boards/players/top?n=5"
echo
stop_all

say "Where the time went: ringmill inspect $work/hunt"
"$bin/ringmill" inspect "$work/hunt"
echo "latency dumps: $work/hunt/dumps    run report: $work/run.json"

say "A month of real flights through HTTP; these lines can be repeated:"
echo "\$ $bin/ringmill serve --pipeline docs/examples/flights.toml --shards 1" \
    "--data $work/flights --listen $flights --http $flights_http &"
serve flights $flights $flights_http --pipeline docs/examples/flights.toml --shards 1
show() {
    printf '$ %s\n' "$*"
    sh -c "$*" || fail "that line failed"
    echo
}
show "gzip -dc docs/examples/flights-2013-01.ndjson.gz |" \
    "curl -sS --fail-with-body --data-binary @-" \
    "-H 'Ringmill-Producer: demo' -H 'Ringmill-Sequence: 1'" \
    "http://$flights_http/v1/streams/flights/events"
get="curl -sS --fail-with-body"
show "$get 'http://$flights_http/v1/boards/aircraft_by_miles/top?n=3'"
show "$get 'http://$flights_http/v1/boards/carriers_by_delay/top?n=3'"
show "$get 'http://$flights_http/v1/views/hourly_by_origin?origin=JFK&limit=2'"
stop_all
say "Nothing is left running. To keep a server: $bin/ringmill serve --pipeline" \
    "docs/examples/treasure_hunt.toml --data $work/hunt"
