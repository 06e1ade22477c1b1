#!/usr/bin/env bash
# Provokes one of five typical problems in a run of seconds and lets Trireme name it (docs/finding_problems.md walks through them).
#   examples/five_problems.sh input-bound             data that comes too slowly
#   examples/five_problems.sh straggler               one rank that is slower than the others
#   examples/five_problems.sh leak                    one rank that loses memory
#   examples/five_problems.sh divergence              a learning rate that is too high
#   examples/five_problems.sh exposed-communication   gradients that are on their way while nothing computes
# More overrides are passed on: examples/five_problems.sh straggler train.steps=500
set -euo pipefail
cd "$(dirname "$0")/.."
problem=${1:?input-bound, straggler, leak, divergence or exposed-communication} ranks=2
shift
# TRIREME_FAULT acts problems out: site:rank:step:action, see include/trireme/core/fault.h.
case $problem in
  input-bound) export TRIREME_FAULT='data.load:*:*:sleep=40'
    set -- data.workers=1 "$@" ;;
  straggler) export TRIREME_FAULT='step.loss:1:*:sleep=20'
    set -- train.steps=120 telemetry.rank_records=true "$@" ;;
  leak) export TRIREME_FAULT='step.loss:1:*:leak=1'
    set -- train.steps=300 debug.enable='[memory_usage]' "$@" ;;
  divergence)
    set -- train.steps=150 optim.lr=3 schedule.name=constant schedule.warmup_steps=50 train.max_grad_norm=0 \
      debug.rules='[{when: "loss > 2 * last(loss) or loss > 8", for: 20, enable: [gradient_norms, lr_scheduling]}]' "$@" ;;
  exposed-communication) ranks=4
    set -- model.config.n_embd=256 train.batch_size=1 train.global_batch=4 data.sequence_length=16 parallel.bucket_mib=1000 telemetry.trace=full "$@" ;;
  *) sed -n '2,8s/^# \?//p' "$0"; exit 2 ;;
esac
[ -x build/release/bin/trireme ] || launch/build release trireme_app
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive
run=runs/problems/$problem
for override in "$@"; do case $override in run.dir=*) run=${override#run.dir=} ;; esac; done
rm -rf "$run"
mpirun -np $ranks --bind-to none build/release/bin/trireme train configs/five_problems.yaml run.dir="$run" "$@" || true
build/release/bin/trireme report "$run"
