#!/usr/bin/env bash
# The simulator: deployments' lives per second, virtual time to real time, 10,000 seeds, memory, cores.
# targets: simulation_bench
set -euo pipefail
exec "$BENCH_BUILD/bin/simulation_bench" | grep -v '^\*\*\* unhandled exception'
