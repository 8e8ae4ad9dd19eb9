#!/usr/bin/env bash
# The log against its goals: `log --events 10000000` for ten million (1M).
# targets: log_bench
# arguments: --events N, --keep FOLDER
set -euo pipefail
# Not under /tmp, which may be memory: a sync has to reach a disk to mean anything.
cd "$BENCH_BUILD"
exec "$BENCH_BUILD/bin/log_bench" "$@"
