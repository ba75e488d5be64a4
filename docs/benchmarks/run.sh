#!/bin/sh
# Measures every figure of this folder's README and writes results/summary.md. About five minutes.
# Stop everything else on the machine first; nothing here can make a busy machine quiet.
#
#   docs/benchmarks/run.sh            all scenarios
#   docs/benchmarks/run.sh steady     one of: saturation steady many start replay keys cores season close campaign
set -eu
cd "$(dirname "$0")/../.."

# Length of a measured block; engine and floor take turns, three blocks each.
block=${RINGMILL_BENCH_SECONDS:-5}
seconds=$((3 * block))
bin=${RINGMILL_BIN_DIR:-target/release}
work=${RINGMILL_BENCH_DIR:-target/benchmarks}
out=${RINGMILL_BENCH_OUT:-docs/benchmarks/results}
export LC_ALL=C
hunt=docs/examples/treasure_hunt.toml
pipelines=docs/benchmarks/pipelines
engine=127.0.0.1:7430 engine_http=127.0.0.1:7431
floor=127.0.0.1:7440 floor_http=127.0.0.1:7441
all="saturation steady many start replay keys cores season close campaign"

[ -n "${RINGMILL_SKIP_BUILD:-}" ] || cargo build --release --bin ringmill --bin loadgen
mkdir -p "$work" "$out"
servers=
stop_all() {
    for pid in $servers; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $servers; do wait "$pid" 2>/dev/null || true; done
    servers=
}
trap stop_all EXIT INT TERM

# serve NAME LISTEN HTTP [ARGS...]: starts a server of the treasure hunt and waits for its ready line.
serve() {
    serve_pipeline $hunt "$@"
}

# serve_pipeline FILE NAME LISTEN HTTP [ARGS...]
serve_pipeline() {
    file=$1 name=$2 listen=$3 http=$4
    shift 4
    "$bin/ringmill" serve --pipeline "$file" --data "$work/$name" --listen "$listen" \
        --http "$http" "$@" >"$work/$name.out" 2>"$work/$name.err" &
    pid=$!
    servers="$servers $pid"
    until grep -q '^ready' "$work/$name.out"; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/$name.err" >&2; exit 1; }
        sleep 0.02
    done
}

fresh_pair() {
    stop_all
    rm -rf "$work/engine" "$work/floor"
    serve engine $engine $engine_http --cpus 0
    serve floor $floor $floor_http --cpus 0 --floor log
}

# pair_of FILE OTHER: two pipelines that take turns, the second where the floor is otherwise.
pair_of() {
    stop_all
    rm -rf "$work/engine" "$work/floor"
    serve_pipeline "$1" engine $engine $engine_http --cpus 0
    serve_pipeline "$2" floor $floor $floor_http --cpus 0
}

# load NAME [ARGS...]: the generator on CPU 1, in alternating blocks with the floor.
load() {
    name=$1
    shift
    status=0
    "$bin/loadgen" run -a $engine --cpus 1 --keys 1M -w 2s -q --json "$work/$name.json" "$@" \
        >"$out/$name.txt" || status=$?
    # 5: the machine was too noisy for the figures to count; the text says so.
    [ "$status" -eq 0 ] || [ "$status" -eq 5 ] || exit "$status"
    cat "$out/$name.txt"
}

saturation() {
    fresh_pair
    load saturation --floor $floor --block "${block}s" -d "${seconds}s" -r max --batch 500
    stop_all
    "$bin/ringmill" inspect "$work/engine" >"$out/saturation-stages.txt"
}

steady() {
    fresh_pair
    load steady --floor $floor --block "${block}s" -d "${seconds}s" -r 500k --batch 50
    # shellcheck disable=SC2086
    set -- $servers
    grep VmRSS "/proc/$1/status" | tee "$out/memory.txt"
    stop_all
    "$bin/ringmill" inspect "$work/engine" | tee "$out/steady-stages.txt"
}

many() {
    fresh_pair
    load many --floor $floor --block "${block}s" -d "${seconds}s" -r 300k --batch 1 \
        --connections 64
    stop_all
}

# Ready times of an empty store, without and with a stored verdict of the flush probe; then the
# processor time of the whole process over ten idle seconds.
start() {
    stop_all
    rm -rf "$work/start"
    : >"$out/start.txt"
    for round in first stored stored stored; do
        serve start $engine $engine_http --cpus 0
        echo "$round: $(grep started "$work/start.err")" >>"$out/start.txt"
        if [ $round = first ]; then
            # shellcheck disable=SC2086
            set -- $servers
            before=$(awk '{print $14 + $15}' "/proc/$1/stat")
            sleep 10
            after=$(awk '{print $14 + $15}' "/proc/$1/stat")
            echo "idle: $((after - before)) clock ticks of $(getconf CLK_TCK)/s in 10 s" \
                >>"$out/start.txt"
        fi
        stop_all
    done
    cat "$out/start.txt"
}

# The ready line after a run names what was replayed and how long that took.
replay() {
    stop_all
    rm -rf "$work/replay"
    serve replay $engine $engine_http --cpus 0
    load replay-load -d "${block}s" -r max --batch 500
    stop_all
    : >"$out/replay.txt"
    for round in 1 2 3; do
        serve replay $engine $engine_http --cpus 0
        cat "$work/replay.out" >>"$out/replay.txt"
        stop_all
    done
    cat "$out/replay.txt"
}

keys() {
    for count in 100k 10M; do
        stop_all
        rm -rf "$work/engine"
        serve engine $engine $engine_http --cpus 0
        load "keys-$count" --keys $count -d "${block}s" -r max --batch 500
    done
    stop_all
}

# Two shards and a generator on two CPUs: oversubscribed, so only the stage table's hop counts.
cores() {
    stop_all
    rm -rf "$work/engine"
    serve engine $engine $engine_http --shards 2
    load cores -d "${block}s" -r 200k --batch 50
    stop_all
    "$bin/ringmill" inspect "$work/engine" | tee "$out/cores-stages.txt"
}

# The example's board with a season of 10 s, and every player in each: what events wait for around
# the switch. Every second the generator states its figures and the engine dumps its stages; the
# second of the season stands in front.
season() {
    stop_all
    rm -rf "$work/engine"
    season='season = { every = "10s", keep = 1 }'
    sed "s/^ties = \"first-to-reach\"\$/&\n$season/" $hunt >"$work/season.toml"
    serve_pipeline "$work/season.toml" engine $engine $engine_http --cpus 0
    (while kill -USR1 "$pid" 2>/dev/null; do sleep 1; done) &
    # Load begins with a season's seventh second.
    sleep "$(date +%s.%N | awk '{ print 10 - ($1 + 4) % 10 }')"
    "$bin/loadgen" run -a $engine --cpus 1 --keys 1M -w 2s -d "$((5 * block))s" --batch 50 \
        -r "${RINGMILL_BENCH_RATE:-300k}" \
        2>"$work/season.live" >"$work/season.result" || [ $? -eq 5 ]
    stop_all
    {
        cat "$work/season.result"
        awk '/^t=/ { split($1, t, "[=s]"); print "second " (t[2] + 5) % 10 ": " $0 }' \
            "$work/season.live"
        # Start, length and greatest value (ms) of each interval of a stage.
        dump=$(echo "$work"/engine/dumps/*/core0.hlog)
        base=$(awk '/BaseTime:/ { print $2; exit }' "$dump")
        awk -F, -v base="$base" '/^Tag=core0.apply,/ {
            printf "second %4.1f: apply max %.3f ms\n", (base + $2) % 10, $4
        }' "$dump"
    } | tee "$out/season.txt"
}

# A window with a group for each of 1 M players closes in every block, and one is freed; beside the
# same view with a window that no run closes.
close() {
    pair_of $pipelines/close.toml $pipelines/close_never.toml
    load close --floor $floor --block 12s -d 36s -r 300k --batch 50
    stop_all
}

# Repeats told by content, two views and a board with splits, beside the treasure hunt alone.
campaign() {
    pair_of $pipelines/campaign.toml $hunt
    load campaign --floor $floor --block "${block}s" -d "${seconds}s" -r max --batch 500 \
        --stream finds
    stop_all
}

for scenario in ${1:-$all}; do
    printf '\n== %s\n' "$scenario"
    "$scenario"
done

# One scenario alone leaves its texts beside the last whole report.
[ $# -eq 0 ] || exit 0
{
    echo "# Results"
    echo
    echo "Written by \`docs/benchmarks/run.sh\` on $(date -u +%Y-%m-%d), version"
    echo "$("$bin/ringmill" --version). Medians and ratios are in the README of this folder."
    for file in "$out"/*.txt; do
        printf '\n## %s\n\n```text\n' "$(basename "$file" .txt)"
        cat "$file"
        printf '```\n'
    done
} >"$out/summary.md"
rm -f "$out"/*.txt
echo "wrote $out/summary.md"
