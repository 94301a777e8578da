#!/usr/bin/env bash
# Every row of docs/spec-coverage.md names the tests that show it, in backticks in its last column. Given the log of a test run,
# checks that each has run and passed, and that no row is without one. `e2e:module::name` is a scenario of tests/e2e, which is run
# by `make e2e` and not here: of these it is checked that they are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=$1

missing=0
rows=0
elsewhere=0
while IFS= read -r row; do
  rows=$((rows + 1))
  tests=$(grep -oE '`[a-z0-9_:]+`' <<<"${row##*| }" | tr -d '`' || true)
  if [ -z "$tests" ]; then
    echo "docs/spec-coverage.md: no test in: $row" >&2
    missing=1
  fi
  for test in $tests; do
    if [[ $test == e2e:* ]]; then
      elsewhere=$((elsewhere + 1))
      if ! grep -qE "(^|[^a-z0-9_])${test#e2e:}\)?,?$" tests/e2e/scenarios.rs; then
        echo "docs/spec-coverage.md: no scenario \`$test\`; row: $row" >&2
        missing=1
      fi
      continue
    fi
    if ! grep -qE "^test (.*::)?$test( - should panic)? \.\.\. ok$" "$log"; then
      echo "docs/spec-coverage.md: \`$test\` did not run and pass; row: $row" >&2
      missing=1
    fi
  done
done < <(sed -n 's/^| \(.*\) |$/\1/p' docs/spec-coverage.md | grep -vE '^(row \||[-| ]+$)' || true)

echo "spec coverage: $rows rows; $elsewhere times also a scenario of make e2e"
[ "$rows" -gt 0 ] && [ "$missing" -eq 0 ]
