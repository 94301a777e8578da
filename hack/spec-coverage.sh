#!/usr/bin/env bash
# Every row of docs/spec-coverage.md names the tests that show it, in backticks in its last column. Given the log of a test run,
# checks that each has run and passed, and that no row is without one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=$1

missing=0
rows=0
while IFS= read -r row; do
  rows=$((rows + 1))
  tests=$(grep -oE '`[a-z0-9_:]+`' <<<"${row##*| }" | tr -d '`' || true)
  if [ -z "$tests" ]; then
    echo "docs/spec-coverage.md: no test in: $row" >&2
    missing=1
  fi
  for test in $tests; do
    if ! grep -qE "^test (.*::)?$test( - should panic)? \.\.\. ok$" "$log"; then
      echo "docs/spec-coverage.md: \`$test\` did not run and pass; row: $row" >&2
      missing=1
    fi
  done
done < <(sed -n 's/^| \(.*\) |$/\1/p' docs/spec-coverage.md | grep -vE '^(row \||[-| ]+$)' || true)

echo "spec coverage: $rows rows"
[ "$rows" -gt 0 ] && [ "$missing" -eq 0 ]
