#!/bin/bash
# Gets third-party sources by name and prints the unpacked folder of each, one a line, on stdout
# (everything else goes to stderr):
#
#   scripts/fetch.sh musl lwip
#
# A tarball comes from the Debian source package named in scripts/sources.txt, is checked by
# sha256 and kept in the cache, outside every build folder:
#   ${OBLAKO_CACHE:-${XDG_CACHE_HOME:-~/.cache}/oblako}/{sources,unpacked,apt}
# The system's apt lists are read, never changed. Callers may run in parallel.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
table=$here/sources.txt
cache=${OBLAKO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/oblako}
sources=$cache/sources
unpacked=$cache/unpacked
apt=$cache/apt

say() { echo "fetch: $*" >&2; }
die() { say "$*"; exit 1; }

# A deb-src list made from whatever archives the system itself uses.
write_source_list() {
  rm -rf "$apt/parts"
  mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    sed -E 's/^Types:.*/Types: deb-src/I' "$file" >"$apt/parts/$(basename "$file")"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -e "$file" ] || continue
    sed -nE 's/^[[:space:]]*deb(-src)?[[:space:]]/deb-src /p' "$file" | grep -v cdrom: | sort -u \
      >"$apt/parts/$(basename "$file" .list)-list.list" || true
  done
  grep -qs . "$apt"/parts/* || die "the system's apt configuration names no archive"
  # The system's hooks around an update (cleaning, notifying) are not for our private lists.
  printf '#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n' \
    >"$apt/apt.conf"
}

with_apt() {
  local tool=$1
  shift
  "$tool" -c "$apt/apt.conf" -o Dir::Etc::SourceList=/dev/null \
    -o Dir::Etc::SourceParts="$apt/parts" -o Dir::State::Lists="$apt/lists" \
    -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=2 \
    -o Acquire::Languages=none "$@"
}

# The versions of a source package that are made from exactly this tarball, the newest first: the
# Debian revision may have moved on, or the archive may hold a newer upstream beside ours.
versions_with_tarball() {
  { with_apt apt-cache showsrc "$1" 2>/dev/null || true; } | awk -v tarball="$2" -v sha="$3" '
    /^Version:/ { version = $2 }
    $1 == sha && $3 == tarball { print version }' | sort -Vru
}

read_lists() {
  say "reading the list of Debian source packages"
  write_source_list
  with_apt apt-get -q update >"$apt/log" 2>&1 || true
}

download() { # package tarball sha256
  local package=$1 tarball=$2 sha=$3 version versions dir attempt
  local missing="$tarball is not in the cache and cannot be fetched"
  command -v apt-get >/dev/null || die "$missing: there is no apt-get here"
  [ -d "$apt/parts" ] || read_lists
  dir=$(mktemp -d "$sources/.download.XXXXXX")
  # Lists from an earlier day may name a revision that the archive has dropped since.
  for attempt in 1 2; do
    [ "$attempt" = 1 ] || read_lists
    versions=$(versions_with_tarball "$package" "$tarball" "$sha")
    # A mirror may list a revision that it does not have (yet); an older one brings the same tarball.
    for version in $versions; do
      say "fetching $package=$version"
      (cd "$dir" && with_apt apt-get -q source --download-only "$package=$version") \
        >"$apt/log" 2>&1 && break 2
    done
  done
  if [ ! -e "$dir/$tarball" ]; then
    grep -E '^(E:|Err)' "$apt/log" | tail -n 3 >&2 || true
    [ -n "$versions" ] || missing="$missing: no archive offers it"
    die "$missing (is the network there?)"
  fi
  check "$dir/$tarball" "$sha" || die "$tarball: wrong checksum, refused"
  mv "$dir/$tarball" "$sources/$tarball"
  rm -rf "$dir"
}

check() { # file sha256
  echo "$2  $1" | sha256sum --check --status 2>/dev/null
}

fetch_one() {
  local name=$1 known version package tarball sha key folder dir patch
  local patches=()
  read -r known version package tarball sha < <(grep -E "^$name[[:space:]]" "$table") ||
    die "$name: not in scripts/sources.txt"
  for patch in "$root/patches/$name"/*.patch; do
    [ ! -e "$patch" ] || patches+=("$patch")
  done
  key=$({ echo "$sha"; [ ${#patches[@]} = 0 ] || cat "${patches[@]}"; } | sha256sum | cut -c1-12)
  folder=$unpacked/$known-$version-$key

  if [ ! -d "$folder" ]; then
    mkdir -p "$sources" "$unpacked"
    exec {lock}>"$cache/lock"
    flock "$lock"
    if [ ! -d "$folder" ]; then # nobody else made it while we waited
      rm -rf "$sources"/.download.* "$unpacked"/.unpack.* # of a caller that was killed
      if [ -e "$sources/$tarball" ] && ! check "$sources/$tarball" "$sha"; then
        say "$tarball in the cache has a wrong checksum: fetching it again"
        rm -f "$sources/$tarball"
      fi
      [ -e "$sources/$tarball" ] || download "$package" "$tarball" "$sha"
      dir=$(mktemp -d "$unpacked/.unpack.XXXXXX")
      tar -xf "$sources/$tarball" -C "$dir" --strip-components=1 --no-same-owner
      for patch in ${patches[@]+"${patches[@]}"}; do
        patch --quiet --no-backup-if-mismatch -d "$dir" -p1 <"$patch" >&2 ||
          { rm -rf "$dir"; die "$(basename "$patch") does not apply to $name $version"; }
      done
      chmod 755 "$dir"
      mv -T "$dir" "$folder"
      say "$name $version unpacked"
    fi
    exec {lock}>&-
  fi
  echo "$folder"
}

[ $# -gt 0 ] || die "usage: fetch.sh NAME... (names: $(grep -oE '^[a-z]+' "$table" | tr '\n' ' '))"
for name in "$@"; do
  fetch_one "$name"
done
