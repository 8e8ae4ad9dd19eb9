# shellcheck shell=bash
# What a person would type to build with the toolchain's buildah: a mount namespace, the toolchain as
# its root, and the same command that the builder gives. No limits, no network and no users of its own.
# For build_bench.cpp: bash build_by_hand.bash TOOLCHAIN STORE CONTEXT TAG
set -euo pipefail
if [[ ${INSIDE:-} != yes ]]; then
  INSIDE=yes exec unshare --mount --propagation private --pid --fork --kill-child \
    bash "${BASH_SOURCE[0]}" "$@"
fi
toolchain=$1 store=$2 context=$3 tag=$4
mount --bind "$toolchain" "$toolchain"
cd "$toolchain"
for folder in mnt run tmp var/cache var/lib/containers; do
  mount -t tmpfs -o mode=0755 tmpfs "$folder"
done
mkdir mnt/storage mnt/context var/cache/containers
mount --bind "$store" mnt/storage
mount --bind "$context" mnt/context
printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >mnt/policy.json
printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n' >mnt/containers.conf
printf '[storage]\ndriver = "overlay"\n' >mnt/storage.conf
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
exec chroot . env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp XDG_RUNTIME_DIR=/run \
  CONTAINERS_CONF=/mnt/containers.conf CONTAINERS_STORAGE_CONF=/mnt/storage.conf \
  buildah --root /mnt/storage --runroot /run/storage --storage-driver overlay \
  build --layers --format docker --pull=never --signature-policy /mnt/policy.json \
  --isolation oci --runtime /usr/bin/crun --network host --runtime-flag cgroup-manager=disabled \
  --file /mnt/context/Dockerfile --tag "$tag" /mnt/context
