#!/usr/bin/env bash
# Busy neighbours: what the edge's clients wait for beside microVMs that spin on all processors.
# targets: atlasflow atlasflow_guest_init
set -euo pipefail
as_root=()
((EUID == 0)) || as_root=(sudo --)
exec "${as_root[@]}" "$BENCH_ROOT/bench/neighbours.py" "$BENCH_BUILD/bin/atlasflow"
