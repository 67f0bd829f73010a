#!/bin/bash
# Formats our C and C++ files (clang-format 14, .clang-format). With --check it only names the
# files that differ.
set -euo pipefail
cd "$(dirname "$0")/.."
files=$(git ls-files '*.cc' '*.hh' 'bench/*.c' 'tests/*.c')
[ "${1:-}" = "--check" ] || { clang-format -i $files && exit; }
wrong=0
for file in $files; do
  clang-format "$file" | cmp -s - "$file" || { echo "$file: not formatted"; wrong=$((wrong + 1)); }
done
[ $wrong = 0 ] || { echo "format: $wrong files differ (scripts/format.sh mends them)"; exit 1; }
echo "format: ok, $(wc -w <<<"$files") files"
