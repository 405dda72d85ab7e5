#!/usr/bin/env bash
# The part of a release that changes the repository. It needs git, jq and sha256sum, and compiles nothing.
#
#     release.sh collect BUILT ASSETS   puts the binaries of all platforms and their digests into dist/ and ASSETS
#     release.sh commit VERSION         commits dist/, and tags the commit VERSION
#
# Both give the same result each time they run on the same commit and the same binaries.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

refuse() {
  echo "::error::$1"
  exit 1
}

collect() {
  local built=$1 assets=$2
  rm -rf dist/bin
  mkdir -p dist/bin "$assets"
  cp "$built"/action-*/bin/* dist/bin/
  # An artifact keeps no file modes.
  chmod 755 dist/bin/*
  jq --slurp --sort-keys '{version: .[0].version, binaries: map(.binaries) | add}' "$built"/action-*/checksums.json > dist/checksums.json
  [ "$(jq --slurp 'map(.version) | unique | length' "$built"/action-*/checksums.json)" = 1 ] || refuse "the binaries are of different versions"
  # Each builder said what it built. Nothing may have changed on the way.
  jq --raw-output '.binaries[] | "\(.sha256)  dist/bin/\(.file)"' dist/checksums.json | sha256sum --check --strict ||
    refuse "a binary is not the one that its builder named"
  [ "$(jq '.binaries | length' dist/checksums.json)" = "$(find dist/bin -type f | wc -l)" ] || refuse "a binary has no digest"
  cp dist/bin/* "$assets"/
  rm -f "$assets/SHA256SUMS"
  (cd "$assets" && sha256sum -- * > SHA256SUMS)
}

commit() {
  local version=$1 source message previous tree date commit
  source=$(git rev-parse HEAD)
  message="Release $version: the binaries built from $source"
  # Its second parent is the release before, so that the branch of all releases only grows.
  previous=$(git rev-parse --quiet --verify refs/remotes/origin/releases || true)
  if [ -n "$previous" ] && [ "$(git show --no-patch --format=%s "$previous")" = "$message" ]; then
    previous=$(git rev-parse --quiet --verify "$previous^2" || true)
  fi
  git add --force dist/bin dist/checksums.json
  tree=$(git write-tree)
  # The dates of the source commit: a second run makes the same commit, and its push changes nothing.
  date=$(git show --no-patch --format=%cI "$source")
  export GIT_AUTHOR_NAME='github-actions[bot]' GIT_AUTHOR_EMAIL='41898282+github-actions[bot]@users.noreply.github.com' GIT_AUTHOR_DATE=$date
  export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$date
  commit=$(git commit-tree "$tree" -p "$source" ${previous:+-p "$previous"} -m "$message")
  git tag --force "$version" "$commit" > /dev/null
  echo "$commit"
}

case ${1-} in
  collect) collect "$2" "$3" ;;
  commit) commit "$2" ;;
  *) refuse "usage: release.sh collect BUILT ASSETS | commit VERSION" ;;
esac
