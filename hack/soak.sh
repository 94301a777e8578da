#!/usr/bin/env bash
# Simulates fresh random seeds: SECONDS_=600 for so long, SEEDS=n for so many (rounded up to eight). Every violation is
# printed with its seed; the last lines are the sum: faults by kind, seeds run, seeds violated. Fails when one was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RUSTFLAGS='--cfg tokio_unstable' CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/sim"
unset SEED
# What is built once is run as it is: nothing that is edited meanwhile changes the soak.
binary=$(cargo test -p busway-dataplane --test sim --no-run --message-format json |
  sed -n 's/.*"name":"sim".*"executable":"\([^"]*\)".*/\1/p')
log=$(mktemp)
trap 'rm -f "$log"' EXIT

parts=8
until=$((SECONDS + ${SECONDS_:-600}))
left=${SEEDS:-0}
run=0
cp "$binary" "$log.sim"
trap 'rm -f "$log" "$log.sim"' EXIT
while if [ -n "${SEEDS:-}" ]; then [ "$left" -gt 0 ]; else [ "$SECONDS" -lt "$until" ]; fi; do
  each=25
  if [ -n "${SEEDS:-}" ] && [ "$left" -lt $((parts * each)) ]; then each=$(((left + parts - 1) / parts)); fi
  # Beyond the seeds of `make test`, and small enough to be typed.
  first=$((1000 + $(od -An -N5 -tu8 /dev/urandom)))
  FIRST_SEED=$first SEEDS_EACH=$each "$log.sim" every_invariant_holds >"$log.part" 2>&1 || true
  grep -E '^(SEED=|simulated seeds .*violated by \[[0-9])' "$log.part" || true
  cat "$log.part" >>"$log"
  rm -f "$log.part"
  run=$((run + parts * each))
  left=$((left - parts * each))
done

# A part that did not come to its end is a failure too.
ended=$(grep -c '^simulated seeds' "$log" || true)
violated=$(sed -n 's/^simulated seeds .*violated by \[\(.*\)\]/\1/p' "$log" | tr -d ' ' | tr ',' '\n' | grep -c . || true)
echo "faults that fired:"
awk '/^ +[0-9]+ / {n = $1; $1 = ""; sum[$0] += n} END {for (kind in sum) printf "%10d%s\n", sum[kind], kind}' "$log" | sort -k2
echo "$run seeds, $violated violated"
[ "$violated" -eq 0 ] && [ "$ended" -gt 0 ] && [ $((ended % parts)) -eq 0 ]
