#!/usr/bin/env bash
# The event log: synced appends by batch size against the same bare RocksDB writes, and replay.
# targets: event_log_bench
set -euo pipefail
# Not under /tmp, which may be memory: a sync has to reach a disk to mean anything.
cd "$BENCH_BUILD"
exec "$BENCH_BUILD/bin/event_log_bench"
