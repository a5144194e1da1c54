#!/bin/sh
# Installs what the emulated machines of the cross tests need, on Debian and its kin:
#   qemu-user and the compilers, with apt, for which this must be root where they are missing;
#   a Python for aarch64 with its packages, unpacked into a folder: needs no root.
#
#   tests/cross/install.sh PYTHON FOLDER
set -eu
python=$1
mkdir -p "$2"
root=$(cd "$2" && pwd)/aarch64  # absolute: apt takes relative folders as relative to /
fail() { echo "tests/cross/install.sh: $*" >&2; exit 1; }

wanted=""
for pair in qemu-x86_64-static=qemu-user-static qemu-aarch64-static=qemu-user-static \
    qemu-riscv64-static=qemu-user-static aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu \
    riscv64-linux-gnu-gcc=gcc-riscv64-linux-gnu gcc=gcc; do
    command -v "${pair%=*}" > /dev/null || wanted="$wanted ${pair#*=}"
done
if [ -n "$wanted" ]; then
    wanted="$wanted libc6-dev libc6-dev-arm64-cross libc6-dev-riscv64-cross"
    command -v apt-get > /dev/null || fail "this system has no apt-get: install, in its way,$wanted"
    [ "$(id -u)" = 0 ] || fail "run as root: apt-get install$wanted"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get -q update && apt-get -q -y install $wanted; } || fail "apt-get can't install$wanted"
fi

node="numpy ml_dtypes llvmlite rfc8785 blake3"
[ -e "$root/complete" ] && [ "$(cat "$root/complete")" = "$node" ] && exit 0
command -v apt-get > /dev/null || fail "this system has no apt-get to fetch a Python for aarch64 with"
rm -rf "$root"
mkdir -p "$root/apt/state/lists/partial" "$root/apt/cache/archives/partial" "$root/site"
: > "$root/apt/status"
# A world of its own for apt: the system's state stays as it is.
fetch() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
        -o Dir::State="$root/apt/state" -o Dir::State::status="$root/apt/status" \
        -o Dir::Cache="$root/apt/cache" -o Debug::NoLocking=true "$@"
}
fetch update || fail "apt's sources have no arm64 packages (Ubuntu's are at ports.ubuntu.com)"
fetch -y --no-install-recommends --download-only install \
    python3-minimal libpython3-stdlib libstdc++6 || fail "apt-get can't fetch a Python for aarch64"
for package in "$root"/apt/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
rm -rf "$root/apt"

version=$(readlink "$root/usr/bin/python3")
version=${version#python}
platforms=""
for glibc in 17 24 27 28 31 34 35 36; do
    platforms="$platforms --platform manylinux_2_${glibc}_aarch64"
done
# Into folder $1 of the tree, packages of the versions that this environment has.
packages() {
    site=$root/$1
    shift
    requirements=$("$python" -c 'import sys
from importlib.metadata import version
for name in sys.argv[1:]:
    print(f"{name}=={version(name)}")' "$@")
    # shellcheck disable=SC2086
    "$python" -m pip --disable-pip-version-check install --quiet --no-deps --only-binary=:all: \
        --python-version "$version" $platforms --platform manylinux2014_aarch64 \
        --target "$site" $requirements || fail "pip can't fetch the wheels for aarch64"
}
# shellcheck disable=SC2086
packages site $node onnxruntime
# shellcheck disable=SC2086
packages compiler $node apache-tvm apache-tvm-ffi capstone lark onnx protobuf typing_extensions
# QEMU shows programs its host's /proc/cpuinfo, unless there is one here. ONNX Runtime needs one.
mkdir -p "$root/proc"
for processor in 0 1; do
    printf 'processor\t: %d\nFeatures\t: fp asimd crc32 atomics\n' $processor
    printf 'CPU implementer\t: 0x41\nCPU architecture: 8\n'
    printf 'CPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n\n'
done > "$root/proc/cpuinfo"
echo "$node" > "$root/complete"
