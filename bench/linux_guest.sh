#!/bin/bash
# Makes the Linux guests that we compare with, from Debian's packages, and says where they lie:
#
#   bench/linux_guest.sh tiny|cloud [NAME=STATIC_PROGRAM[,PATH=FILE]...]...
#
# tiny:  a kernel of our own small configuration (bench/linux/tiny.config) from linux-source-6.1,
#        built here: some minutes of one core, kept in the cache. No modules, no PCI, no ACPI.
# cloud: Debian's kernel for clouds as it comes (linux-image-cloud-amd64), its vmlinux taken out so
#        that it can be entered by PVH as well. Its virtio-mmio needs ACPI: -machine microvm,acpi=on.
#
# Each guest is an initial RAM disk with one static program behind our first process
# (bench/linux/init.c): hello (musl), redis (glibc, -O2, its own malloc=libc, the same
# redis.conf as our image), and every NAME=STATIC_PROGRAM given, an existing static binary that is
# packed as /bin/NAME, with files of its own at PATH (no slash in front). The result is one JSON
# object on stdout, everything else goes to stderr:
#
#   {"kernel": PATH, "version": "6.1.x", "machine": "microvm,acpi=off", "symbols": PATH,
#    "apps": {"hello": {"initrd": PATH, "append": "LINE", "program": PATH (with symbols)},
#             "redis": {...}, NAME: {...}}}
#
# The append line starts the program; put arguments of a program of your own behind its run=NAME, with
# commas (run=iperf3,-s), and for a network add ` address=172.44.0.2/24 gateway=172.44.0.1`. For example
#
#   qemu-system-x86_64 -machine microvm,acpi=off -accel tcg -cpu max -m 256 -nodefaults \
#     -no-user-config -display none -no-reboot -serial stdio -kernel KERNEL -initrd INITRD \
#     -append "LINE address=172.44.0.2/24" -global virtio-mmio.force-legacy=false \
#     -netdev tap,id=net0,ifname=tap0,script=no,downscript=no \
#     -device virtio-net-device,netdev=net0,mac=52:54:00:0b:1a:c0
#
# When its program ends the guest resets, and QEMU (-no-reboot) with it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cache=${OBLAKO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/oblako}/linux
mkdir -p "$cache"

say() { echo "linux_guest: $*" >&2; }
die() { say "$*"; exit 1; }

kind=${1:-}
case $kind in tiny|cloud) shift ;; *) die "usage: linux_guest.sh tiny|cloud [NAME=STATIC_PROGRAM[,PATH=FILE]...]..." ;; esac

# One caller at a time; the others then find everything made.
exec {lock}>"$cache/lock"
flock "$lock"

work=$(mktemp -d "$cache/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

package() { # NAME: the path of its .deb, fetched if need be
  local found
  found=$(find "$cache" -maxdepth 1 -name "$1_*.deb" | sort -V | tail -n 1)
  if [ -z "$found" ]; then
    say "fetching $1"
    (cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" download "$1") >"$work/log" 2>&1 ||
      { tail -n 3 "$work/log" >&2; die "$1 cannot be fetched (is the network there? apt-get update?)"; }
    mv "$work/$1"_*.deb "$cache"
    found=$(find "$cache" -maxdepth 1 -name "$1_*.deb")
  fi
  echo "$found"
}

quietly() { # LOG COMMAND...
  local log=$1
  shift
  "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "$1 failed; the whole log: $log"; }
}

for tool in flex bison bc musl-gcc; do
  command -v $tool >/dev/null || die "$tool is missing: scripts/setup.sh"
done

make_tiny() {
  local deb key
  deb=$(package linux-source-6.1)
  key=$({ basename "$deb"; cat "$here/linux/tiny.config"; } | sha256sum | cut -c1-12)
  out=$cache/tiny-$key
  [ ! -d "$out" ] || return 0
  say "building Linux from $(basename "$deb"): some minutes"
  dpkg-deb -x "$deb" "$work/deb"
  tar -xf "$work/deb/usr/src/linux-source-6.1.tar.xz" -C "$work"
  local source=$work/linux-source-6.1 build=$work/build log=$cache/build.log
  mkdir "$build"
  quietly "$log" make -C "$source" O="$build" KCONFIG_ALLCONFIG="$here/linux/tiny.config" allnoconfig
  local line
  while read -r line; do
    grep -qx -- "$line" "$build/.config" || die "the kernel's configuration did not take $line"
  done < <(grep -E '^CONFIG_\w+=y' "$here/linux/tiny.config")
  quietly "$log" make -C "$build" -j"$(nproc)" vmlinux
  mkdir "$work/out"
  strip -o "$work/out/vmlinux" "$build/vmlinux"
  cp "$build/System.map" "$build/.config" "$work/out"
  make -s -C "$build" kernelrelease | tail -n 1 >"$work/out/version"
  mv "$work/out" "$out"
}

make_cloud() {
  local meta deb name
  meta=$(package linux-image-cloud-amd64)
  name=$(dpkg-deb -f "$meta" Depends | sed 's/[ ,].*//')
  deb=$(package "$name")
  out=$cache/cloud-$(dpkg-deb -f "$deb" Version)
  [ ! -d "$out" ] || return 0
  say "unpacking $name"
  dpkg-deb -x "$deb" "$work/deb"
  mkdir "$work/out" "$work/out/modules"
  "$here/linux/extract_vmlinux.py" "$work"/deb/boot/vmlinuz-* "$work/out/vmlinux"
  cp "$work"/deb/boot/System.map-* "$work/out/System.map"
  echo "${name#linux-image-}" >"$work/out/version"
  # In the order in which they need each other.
  local module number=0
  for module in virtio_ring virtio virtio_mmio failover net_failover virtio_net; do
    cp "$(find "$work/deb/lib/modules" -name $module.ko)" \
      "$work/out/modules/$(printf %02d $number).ko"
    number=$((number + 1))
  done
  mv "$work/out" "$out"
}

# A static redis for Linux from the same source as our image.
make_redis() {
  local source
  source=$("$root/scripts/fetch.sh" redis)
  redis=$cache/redis-server-$(basename "$source")
  [ ! -e "$redis" ] || return 0
  say "building redis for Linux"
  cp -r "$source" "$work/redis-source"
  quietly "$cache/redis.log" make -C "$work/redis-source/src" redis-server -j"$(nproc)" MALLOC=libc \
    USE_SYSTEMD=no BUILD_TLS=no uname_S=Linux OPTIMIZATION=-O2 CFLAGS=-static LDFLAGS=-static
  mv "$work/redis-source/src/redis-server" "$redis"
}

"make_$kind"
make_redis
musl-gcc -O2 -Wall -static -s -o "$work/init" "$here/linux/init.c"
musl-gcc -O2 -Wall -static -o "$out/hello" "$root/apps/hello/hello.c"

always=("init=$work/init" proc/ tmp/)
for module in "$out"/modules/*; do
  [ ! -e "$module" ] || always+=("modules/$(basename "$module")=$module")
done

# What we know to make its boot short: nothing printed, no address randomisation, no mitigations, the
# TSC's frequency told (else it is measured for some 20 ms), reset by triple fault, which ends QEMU.
khz=$(awk -F: '/^cpu MHz/ { printf "%d", $2 * 1000; exit }' /proc/cpuinfo)
append="console=ttyS0 quiet loglevel=0 reboot=t panic=-1 nokaslr mitigations=off tsc=reliable"
append="$append clocksource=tsc tsc_early_khz=$khz no_timer_check random.trust_cpu=on rcupdate.rcu_expedited=1"

apps=()
add() { # NAME PROGRAM RUN [PATH=FILE...]
  local name=$1 program=$2 run=$3
  shift 3
  strip -o "$work/bin-$name" "$program"
  "$here/linux/make_initrd.py" "$out/$name.cpio" "${always[@]}" "bin/${run%%,*}=$work/bin-$name" "$@"
  apps+=("\"$name\": {\"initrd\": \"$out/$name.cpio\", \"program\": \"$program\",
    \"append\": \"$append run=$run\"}")
}
add hello "$out/hello" hello
# The limits as in a machine with 4 GB: the same work for a request, and nothing below what a run needs.
"$root/scripts/memory_expressions.py" "$root/apps/redis/root/etc/redis.conf" $((4 << 30)) >"$work/redis.conf"
add redis "$redis" redis-server,/etc/redis.conf "etc/redis.conf=$work/redis.conf"
for word in "$@"; do
  IFS=, read -ra files <<<"$word"
  name=${files[0]%%=*} program=${files[0]#*=}
  [ "$name" != "${files[0]}" ] && [ -f "$program" ] || die "$word: give NAME=STATIC_PROGRAM"
  add "$name" "$(realpath "$program")" "$name" "${files[@]:1}"
done

machine="microvm,acpi=off"
[ "$kind" = tiny ] || machine="microvm,acpi=on"
printf '{"kernel": "%s", "version": "%s", "machine": "%s", "symbols": "%s",\n "apps": {%s}}\n' \
  "$out/vmlinux" "$(cat "$out/version")" "$machine" "$out/System.map" \
  "$(printf '%s' "${apps[0]}"; printf ',\n  %s' "${apps[@]:1}")"
