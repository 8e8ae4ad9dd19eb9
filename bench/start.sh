#!/usr/bin/env bash
# A start over a log of 100,000 events: until the first answer, beside one bare reading of the log.
# targets: start_bench
set -euo pipefail
# Not under /tmp, which may be memory: as the log of a server.
cd "$BENCH_BUILD"
exec "$BENCH_BUILD/bin/start_bench"
