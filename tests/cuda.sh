#!/bin/sh
# Type-checks the feature `cuda`, for which neither toolkit nor card is needed. It builds on crates that no other build asks
# for; where they were never fetched this says so and is no failure.
#
#   tests/cuda.sh
set -eu
cd "$(dirname "$0")/.."
if ! missing=$(cargo tree --offline --locked --features cuda 2>&1 >/dev/null); then
    echo "skipped: $(echo "$missing" | grep -m 1 -i -e download -e error || echo "crates are missing"); run \`cargo fetch\` first"
    exit 0
fi
# With DOCS_RS its build fetches no LLVM; types do not need it.
export DOCS_RS=1
exec cargo check --release --offline --locked --features cuda
