#!/usr/bin/env bash
# 10,000 domains: CPU of planning their renewals, and orders after a day's downtime. Minutes.
# targets: domains_bench
set -euo pipefail
exec "$BENCH_BUILD/bin/domains_bench"
