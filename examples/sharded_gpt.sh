#!/usr/bin/env bash
# Trains a GPT whose state is cut over 4 ranks, and lets one process write text with it; overrides are passed on.
#   examples/sharded_gpt.sh                          about ten minutes on two cores
#   examples/sharded_gpt.sh train.steps=20 run.dir=runs/short
#   examples/sharded_gpt.sh parallel.shard_group=2   pairs of ranks that hold equal copies
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x build/release/bin/trireme ] || launch/build release trireme_app
examples/king_james_data.sh
run=runs/sharded_gpt
for override in "$@"; do case $override in run.dir=*) run=${override#run.dir=} ;; esac; done
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1
mpirun -np 4 --bind-to none build/release/bin/trireme train configs/sharded_gpt.yaml "$@"
build/release/bin/trireme predict "$run" --prompt "And it came to pass" --max-tokens 100 --temperature 0.7 --seed 1
