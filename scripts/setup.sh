#!/bin/bash
# Installs the Debian packages that building, running and testing Oblako need. Run it as often as
# you like: with everything there it returns at once and needs neither network nor rights.
set -euo pipefail

packages=(
  # building
  g++ make cmake ninja-build libboost-dev zlib1g-dev python3
  # third-party sources (scripts/fetch.sh)
  dpkg-dev xz-utils bzip2 patch
  # running
  qemu-system-x86 gdb passt
  # testing
  libgtest-dev libbenchmark-dev python3-pytest python3-scapy iproute2 redis-tools wrk tcl clang-format
  tshark iperf
  # the Linux that boots are compared with (bench/linux_guest.sh)
  flex bison bc libelf-dev musl-tools lz4
  # fuzzing the receive path
  clang libclang-rt-14-dev
)

say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
  die "this needs Debian 12 (no apt-get here); the packages are: ${packages[*]}"
. /etc/os-release
[ "${ID:-} ${VERSION_ID:-}" = "debian 12" ] ||
  say "made for Debian 12; on ${PRETTY_NAME:-this system} versions may differ"

# dpkg-query fails when it knows nothing of a package, which is just what is to be found out here.
installed=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true; } |
  sed -n 's/^installed //p')
missing=()
for package in "${packages[@]}"; do
  grep -qx -- "$package" <<<"$installed" || missing+=("$package")
done
if [ ${#missing[@]} = 0 ]; then
  say "all ${#packages[@]} packages are installed already"
  exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null ||
    die "needs root to install: ${missing[*]} (run it as root, or install sudo)"
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
say "installing ${missing[*]}"
"${as_root[@]}" apt-get -q update ||
  die "cannot read the package lists (no network, or no rights; see above)"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get -q -y install --no-install-recommends "${missing[@]}" ||
  die "cannot install ${missing[*]} (no network, or no rights; see above)"
say "done"
