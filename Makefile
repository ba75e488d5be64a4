# Thin on purpose: every line is a command that can be typed.
.PHONY: demo test check kill-100 sim-20000 model-10000 bench

demo:
	cargo build --release --bin ringmill --bin loadgen
	docs/examples/demo.sh

test:
	cargo test --workspace

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

kill-100:
	RINGMILL_KILLS=100 cargo test --release -p ringmill-engine --test kill -- --nocapture

sim-20000:
	RINGMILL_SIM_SEEDS=20000 cargo test --release -p ringmill-storage --test sim
	RINGMILL_SIM_SEEDS=20000 cargo test --release -p ringmill-engine --test sim

model-10000:
	RINGMILL_MODEL_SEEDS=10000 cargo test --release -p ringmill-shard --test model_state \
	    random_pipelines -- --nocapture

bench:
	cargo bench -p ringmill-benches
