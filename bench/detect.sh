#!/usr/bin/env bash
# Detection: how long it takes to decide how a repository of 10,000 files is built.
# targets: detect_bench
set -euo pipefail
exec "$BENCH_BUILD/bin/detect_bench"
