#!/usr/bin/env bash
# Writes the generated files anew; with --check compares them with what is committed and changes nothing.
# Both are done by the tests beside the code that the files come from: with UPDATE set they write.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What is generated, by which test.
generators=(
  "-p busway-api --test generated"                                    # crds/, deploy/crds.yaml, docs/fields.md, docs/reasons.md
  "-p busway --test generated"                                        # docs/metrics.md, and that `busway crds` and `busway docs` print the rest
  "-p busway --test chart generated::"                                 # charts/busway/files/crds/, docs/chart-values.md, deploy/busway.yaml
)

unset UPDATE
if [ "${1:-}" != --check ]; then export UPDATE=1; fi
for generator in "${generators[@]}"; do
  # shellcheck disable=SC2086 # words on purpose
  if ! out=$(cargo test --quiet $generator 2>&1); then
    echo "$out" >&2
    echo "generated files are not what is committed: run \`make generate\` and commit the result" >&2
    exit 1
  fi
  # A test that was renamed would be found by no name, and pass.
  grep -q '^test result: ok\. [1-9]' <<<"$out" || { echo "no test matches: $generator" >&2; exit 1; }
done
