#!/usr/bin/env bash
# Packs kernel objects into one archive and gives the names in the symbol list (old new, one pair a
# line) their kernel-only form. An undefined symbol that is neither the kernel's, a linker symbol,
# nor an agreed entry point is an error: the kernel must not lean on the application's libraries.
# Templates of libraries that a C++ application may have too become the kernel's own: it is compiled
# with other flags.
# Usage: make_kernel_archive.sh ARCHIVE SYMBOL_LIST OBJECT...
set -euo pipefail
archive=$1
symbols=$2
shift 2
rm -f "$archive" "$archive.tmp"
ar qcD "$archive.tmp" "$@"
{ cat "$symbols"
  nm --defined-only "$archive.tmp" |
    awk 'NF == 3 && $2 ~ /[WVu]/ && $3 ~ /^_Z/ && $3 !~ /6oblako/ {print $3, $3 ".kernel"}' |
    sort -u; } >"$archive.names"
objcopy --redefine-syms="$archive.names" "$archive.tmp" "$archive"
rm -f "$archive.tmp" "$archive.names"
ranlib -D "$archive"
if constructors=$(nm -A --defined-only "$archive" | grep ' _GLOBAL__sub_I_'); then
  echo "static constructors in the kernel (use late<T> or constinit):" >&2
  echo "$constructors" >&2
  rm -f "$archive"
  exit 1
fi
bad=$({ nm --defined-only "$archive" | awk 'NF == 3 {print "D", $3}'
  nm --undefined-only "$archive" | awk 'NF == 2 {print $1, $2}'; } |
  awk '$1 == "D" {d[$2] = 1; next} $1 == "U" {u[$2] = 1}
    END {for (s in u) if (!(s in d)) print s}' |
  grep -Ev '^(_start|main|oblako_application_arguments|image_end|image_least_mb|KERNEL_BASE|__ex_table_(start|end)|_GLOBAL_OFFSET_TABLE_|image_tables|app_tables|kernel_(low_blocks|high_first|high_end)|(task_state|(exception|interrupt)_stubs)_bits_[0-9]+|(kernel|app)_(text|rodata|data|bss|load|tls|eh)_?[a-z_]*)$' || true)
if [ -n "$bad" ]; then
  echo "the kernel refers to symbols it does not have:" >&2
  echo "$bad" >&2
  rm -f "$archive"
  exit 1
fi
