#!/usr/bin/env bash
# The pipeline: from the webhook to Routed, against the same clone, build, push and boot by hand.
# targets: atlasflow atlasflow_guest_init pipeline_bench
set -euo pipefail
cd "$BENCH_BUILD"
as_root=()
((EUID == 0)) || as_root=(sudo --)
exec "${as_root[@]}" "$BENCH_BUILD/bin/pipeline_bench" "$BENCH_BUILD/bin"
