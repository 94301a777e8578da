#!/usr/bin/env bash
# Looks for inputs that break what fuzz/src promises, and says how many it ran. The rest of the words are targets; all
# without one. An input that breaks something is made small and put into fuzz/corpus: keep it when it is mended.
#   SECONDS_EACH=60   how long for each target
#   KEEP=1            adds inputs to fuzz/corpus that reach what none there reaches
# The fuzzer is libFuzzer, guided by coverage. It needs a C++ compiler, and neither nightly nor cargo-fuzz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}/fuzz
instrument=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares)
# With --target, what runs while building is not instrumented.
RUSTFLAGS="${instrument[*]}" CARGO_TARGET_DIR=$folder \
  cargo build --quiet --profile fuzz --target "$host" -p busway-fuzz --features libfuzzer
fuzzer=$folder/$host/fuzz/busway-fuzz
targets=("$@")
[ $# -gt 0 ] || for found in fuzz/corpus/*/; do targets+=("$(basename "$found")"); done

# No input may take ten seconds or two gigabytes; one as large as this is as good as any larger one.
bounds=(-timeout=10 -rss_limit_mb=2048 -max_len=8192 -len_control=20)
broken=0
for target in "${targets[@]}"; do
  export FUZZ_TARGET=$target
  found=$folder/found/$target
  log=$folder/$target.log
  mkdir -p "$found" "fuzz/corpus/$target"
  words=fuzz/words/$target
  "$fuzzer" "${bounds[@]}" $([ -e "$words" ] && echo "-dict=$words") -max_total_time="${SECONDS_EACH:-60}" \
    -print_final_stats=1 -artifact_prefix="$found/broken-" "$found" "fuzz/corpus/$target" >"$log" 2>&1 || broken=1
  ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "$target: ${ran:-no} inputs, $(grep -o 'cov: [0-9]*' "$log" | tail -1)"
  for input in "$found"/broken-*; do
    [ -e "$input" ] || continue
    kept=fuzz/corpus/$target/broken-$(sha256sum "$input" | cut -c1-12)
    "$fuzzer" "${bounds[@]}" -minimize_crash=1 -max_total_time=30 -exact_artifact_path="$kept" "$input" >>"$log" 2>&1 || true
    [ -e "$kept" ] || cp "$input" "$kept"
    rm "$input"
    echo "$target: broken by $kept:"
    "$fuzzer" "$kept" 2>&1 | grep -A4 -m1 'panicked\|ERROR' || true
    broken=1
  done
  if [ -n "${KEEP:-}" ]; then
    # By code reached, not by how often: else there are thousands.
    "$fuzzer" "${bounds[@]}" -set_cover_merge=1 -use_counters=0 "fuzz/corpus/$target" "$found" >>"$log" 2>&1
  fi
done
exit $broken
