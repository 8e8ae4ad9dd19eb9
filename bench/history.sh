#!/usr/bin/env bash
# Finished deployments in memory or in the log; the state at any moment, by a snapshot or without.
# targets: history_bench
set -euo pipefail
# Not under /tmp, which may be memory: as the log of a server.
cd "$BENCH_BUILD"
exec "$BENCH_BUILD/bin/history_bench"
