#!/usr/bin/env bash
# Builds the C library: musl's source with our overlay headers and replacement files. The result is
# kept in the cache, keyed by everything that goes into it.
# Usage: libc/build_musl.sh MUSL_SOURCE_DIR [FLAG...], flags for the compiler -> last line on stdout:
# the installed folder, holding include/, lib/libc.a, lib/crt1.o, lib/crti.o, lib/crtn.o and
# lib/syscalls.txt ("number name" lines).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$1
shift
cache=${OBLAKO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/oblako}
flags="-O2 -fno-align-functions -fno-align-jumps -fno-align-loops -g1 -fPIE -ffunction-sections -fdata-sections -fcf-protection=none $*"

# An override replaces every musl file of its own name (x.c or x.s), generic and x86_64 alike.
overrides=$(find "$here/overrides" -name "*.[cs]" -printf "%f\n" | LC_ALL=C sort)
key=$({ echo "$source_dir" "$flags"; gcc -dumpfullversion; cat "$here/build_musl.sh" "$here/replaced.txt"
  (cd "$here/string" && echo *.c)
  for f in "$here"/overlay/* "$here"/overrides/*; do basename "$f"; cat "$f"; done; } | sha256sum | cut -c1-16)
out=$cache/musl/$key
if [ -f "$out/complete" ]; then
  echo "$out"
  exit 0
fi

mkdir -p "$cache/musl"
work=$(mktemp -d "$cache/musl/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -r "$source_dir" "$work/musl"
cd "$work/musl"
mkdir "$work/overlay" "$work/overlay/bits"
cp "$here"/overlay/*.h "$work/overlay/"
# A call's number is its address, far above what code for a fixed low address (applications) takes
# an address to be: there it is loaded by way of the linker.
{
  printf '%s\n' '#ifdef __PIC__' '#define __SYSTEM_CALL' '#else' \
    '#define __SYSTEM_CALL __attribute__((__nodirect_extern_access__))' '#endif'
  awk '/^#define __NR_/ { name = substr($2, 6); print "long sys_" name "() __SYSTEM_CALL;\n#define SYS_" name " ((long)sys_" name ")" }' \
    arch/x86_64/bits/syscall.h.in
} >"$work/overlay/bits/syscall.h"
awk '/^#define __NR_/ { print $3, substr($2, 6) }' arch/x86_64/bits/syscall.h.in >"$work/syscalls.txt"
# See OBLAKO_DIRECT_SOCKETCALL in overlay/syscall_arch.h.
sed -i 's/__alt_socketcall(SYS_##nm, __SC_##nm, 0, /__syscall6(SYS_##nm, /; s/__alt_socketcall(SYS_##nm, __SC_##nm, 1, /__syscall_cp6(SYS_##nm, /' src/internal/syscall.h
sed -i '/^static inline long __alt_socketcall/,/^}/d' src/internal/syscall.h

# See overrides/setxid.c.
sed -i 's/hidden int __setxid(int, /hidden int __setxid(long, /' src/internal/libc.h

# printf goes over every format twice, to learn the types of numbered arguments (%1$d): only where
# there can be such.
sed -i 's/if (printf_core(0, fmt, &ap2, nl_arg, nl_type) < 0)/if (strchr(fmt, 36) \&\& printf_core(0, fmt, \&ap2, nl_arg, nl_type) < 0)/' src/stdio/vfprintf.c
grep -q 'if (strchr(fmt, 36) && printf_core(0' src/stdio/vfprintf.c

# A thread that ends gives the allocator its cache back: see malloc/malloc.cc.
sed -i 's/^\t__dl_thread_cleanup();/&\n\t__malloc_thread_exit();/; s/^weak_alias(dummy_0, __dl_thread_cleanup);/&\nweak_alias(dummy_0, __malloc_thread_exit);/' src/thread/pthread_create.c
grep -q "^	__malloc_thread_exit();" src/thread/pthread_create.c

# A thread that ends, or calls exit(), destroys its thread_local objects first: see
# cplusplus/thread_objects.c.
sed -i 's/^\t__pthread_tsd_run_dtors();/\t__oblako_thread_objects_end();\n&/; s/^weak_alias(dummy_0, __pthread_tsd_run_dtors);/&\nweak_alias(dummy_0, __oblako_thread_objects_end);/' src/thread/pthread_create.c
sed -i 's/^\t__funcs_on_exit();/\t__oblako_thread_objects_end();\n&/; s/^weak_alias(dummy, __funcs_on_exit);/&\nweak_alias(dummy, __oblako_thread_objects_end);/' src/exit/exit.c
grep -q "^	__oblako_thread_objects_end" src/thread/pthread_create.c
grep -q "^	__oblako_thread_objects_end" src/exit/exit.c

# musl ends a program that is broken by HLT, which in ring 0 is no error: without the definition for
# this processor it writes to address 0.
sed -i '/^#define a_crash a_crash/,/^}/d' arch/x86_64/atomic_arch.h
! grep -q hlt arch/x86_64/atomic_arch.h

for f in $overrides; do
  base=$(basename "${f%.*}")
  # Assembly replaces assembly: its folder is that of the x86_64 file; C goes by the generic file.
  # What has no counterpart in musl goes to src/misc.
  arch=$(find src -path "*/x86_64/$base.[cs]")
  generic=$(find src -maxdepth 2 -name "$base.c" | LC_ALL=C sort | head -n 1)
  case $f in *.s) found=${arch:-$generic} ;; *) found=${generic:-$arch} ;; esac
  target=$(dirname "${found:-src/misc/new}")
  target=${target%/x86_64}
  rm -f "$target/$base.c" "$target/x86_64/$base.c" "$target/x86_64/$base.s"
  case $f in
  *.s) mkdir -p "$target/x86_64" && cp "$here/overrides/$f" "$target/x86_64/" && : >>"$target/$base.c" ;;
  *.c) cp "$here/overrides/$f" "$target/$base.c" ;;
  esac
done

CC="gcc -I$work/overlay -ffile-prefix-map=$work/musl=musl" CFLAGS="$flags" \
  ./configure --disable-shared --prefix="$work/install" >"$work/configure.log" 2>&1 ||
  { cat "$work/configure.log" >&2; exit 1; }
# musl's configure takes position-independent flags as a wish for the shared objects.
sed -i '/^AOBJS = /d' config.mak
# The way to main() is without vector instructions, so that it can be tested under a KVM that
# interprets them not (tests/system/test_kvm.py).
echo 'obj/src/env/__init_tls.o obj/src/env/__libc_start_main.o: CFLAGS_ALL += -fno-tree-vectorize' >>config.mak
# What calls a function of the program's lets an exception pass through. The linker drops the frame
# information where nothing unwinds.
calling_back=(stdlib/qsort stdlib/qsort_nr stdlib/bsearch search/lsearch search/tsearch search/tfind search/tdelete
  search/tdestroy search/twalk misc/nftw legacy/ftw regex/glob dirent/scandir thread/call_once)
for name in "${calling_back[@]}"; do
  test -f "src/$name.c"
  echo "obj/src/$name.o: CFLAGS_ALL += -fexceptions -funwind-tables" >>config.mak
done
make -j"$(nproc)" lib/libc.a lib/crt1.o lib/crti.o lib/crtn.o install-headers >"$work/make.log" 2>&1 ||
  { grep -A5 "error" "$work/make.log" | cut -c1-300 >&2; echo "building musl failed" >&2; exit 1; }
# Members whose functions libc/malloc and libc/string provide: while they are there, musl's own
# references would find them first. Two members may share a name, so one at a time.
while read -r member; do
  ar d lib/libc.a "$member"
done <"$here/replaced.txt"
# The string functions stay: where nothing asks for more, they are smaller than libc/string's. Some
# programs bring both in, then ours go before.
for source in "$here"/string/*.c; do
  name=$(basename "$source" .c)
  if ar t lib/libc.a | grep -qx "$name.o"; then
    ar x lib/libc.a "$name.o"
    objcopy "--weaken-symbol=$name" "--weaken-symbol=__$name" "--weaken-symbol=__${name}_fwd_alias_1" "$name.o"
    ar rD lib/libc.a "$name.o"
  fi
done
ranlib -D lib/libc.a
mkdir -p "$work/install/lib"
cp lib/libc.a lib/crt1.o lib/crti.o lib/crtn.o "$work/syscalls.txt" "$work/install/lib/"
touch "$work/install/complete"
mv -T "$work/install" "$out" 2>/dev/null || [ -f "$out/complete" ]
echo "$out"
