#!/usr/bin/env bash
# An image build, against the same buildah command by hand over the same toolchain.
# targets: build_bench
set -euo pipefail
as_root=()
((EUID == 0)) || as_root=(sudo --)
exec "${as_root[@]}" "$BENCH_BUILD/bin/build_bench" "$BENCH_ROOT/bench/build_by_hand.bash"
