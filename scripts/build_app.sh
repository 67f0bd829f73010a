#!/usr/bin/env bash
# Builds an application with its own build system in a copy of its source.
# Usage: build_app.sh SOURCE COPY PRODUCT OBJECT CC CXX COMMAND...; SOURCE is a name that
# scripts/fetch.sh knows, COMMAND runs in the copy with CC and CXX set, PRODUCT (relative to it)
# becomes OBJECT. The log stands beside the copy.
set -euo pipefail
source_dir=$("$(dirname "$0")/fetch.sh" "$1") copy=$2 product=$3 object=$4
export CC=$5 CXX=$6
shift 6
rm -rf "$copy"
cp -r "$source_dir" "$copy"
# Reproducible: no time, no host name, no path of this machine in the product.
export SOURCE_DATE_EPOCH=1 LC_ALL=C TZ=UTC
# The copy lies inside our own checkout: its build system must not take our commit for its own.
export GIT_DIR=/nonexistent
export CFLAGS="-ffile-prefix-map=$copy=." CXXFLAGS="-ffile-prefix-map=$copy=."
log=$(dirname "$copy")/build.log
if ! (cd "$copy" && MAKEFLAGS="-j$(nproc)" "$@" CC="$CC" CXX="$CXX") >"$log" 2>&1; then
  grep -E -A3 'error|Error' "$log" | tail -n 40 >&2 || tail -n 40 "$log" >&2
  echo "building the application failed; the whole log: $log" >&2
  exit 1
fi
cp "$copy/$product" "$object"
