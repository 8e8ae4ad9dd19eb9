#!/usr/bin/env bash
# Certificates of 60 seconds renewed under TLS load: failed handshakes in ten minutes (--minutes N).
# targets: atlasflow
# arguments: --minutes N
set -euo pipefail
as_root=()
((EUID == 0)) || as_root=(sudo --)
exec "${as_root[@]}" "$BENCH_ROOT/bench/renewals.py" "$BENCH_BUILD/bin/atlasflow" "$@"
