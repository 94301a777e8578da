#!/usr/bin/env bash
# Runs each argument as a command that prints cargo's `test result:` lines. Prints their sum as the last line; fails when
# a command fails, when a test fails, when a row of docs/spec-coverage.md has no test that passed, or when no test ran.
# With --without-coverage first that page is not asked: the commands are not all of the tests.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

coverage=yes
if [ "${1:-}" = --without-coverage ]; then coverage=no; shift; fi
out=$(mktemp)
trap 'rm -f "$out"' EXIT
broken=()
for command in "$@"; do
  bash -c "$command" 2>&1 | tee -a "$out" || broken+=("$command")
done

read -r passed failed < <(awk '/^test result:/ {passed += $4; failed += $6} END {print passed + 0, failed + 0}' "$out")
# One more test, where the others passed: every row of the specification has tests that ran.
if [ "${#broken[@]}" -eq 0 ] && [ $coverage = yes ]; then
  if hack/spec-coverage.sh "$out"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
fi
grep -E '^test .* \.\.\. FAILED$' "$out" | sort -u
for command in ${broken[@]+"${broken[@]}"}; do echo "failed: $command"; done
if [ "${#broken[@]}" -gt 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi # did not compile, or crashed
if [ $((passed + failed)) -eq 0 ]; then echo "no test ran"; failed=1; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
