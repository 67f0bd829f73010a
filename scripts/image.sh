#!/bin/bash
# Builds one application's image: scripts/image.sh BUILD_FOLDER APP, what `make image APP=NAME` calls.
# An application that there is not is answered with those that there are.
set -euo pipefail
build=$1 app=$2

applications() {
  (cd "$(dirname "$0")/../apps" && for recipe in */recipe.cmake; do echo "${recipe%/*}"; done)
}

# A new folder in apps/ is seen when CMake looks again, which a build does first.
if ! grep -qE "^build image-$app:" "$build/build.ninja"; then
  cmake -S "$(dirname "$0")/.." -B "$build" >"$build/configure.log" 2>&1 ||
    { cat "$build/configure.log" >&2; exit 1; }
  if ! grep -qE "^build image-$app:" "$build/build.ninja"; then
    echo "image: there is no application '$app'; there are: $(applications | tr '\n' ' ')" >&2
    echo "image: docs/adding-an-app.md says how to add one" >&2
    exit 2
  fi
fi
exec cmake --build "$build" --target "image-$app"
