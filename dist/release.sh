#!/usr/bin/env bash
# The part of a release that changes the repository. It needs git, jq and sha256sum, and compiles nothing.
#
#     release.sh collect VERSION BUILT ASSETS   puts the binaries of all platforms and their digests into dist/, and all files into ASSETS
#     release.sh commit VERSION                 commits dist/, and tags the commit VERSION
#
# Both give the same result each time they run on the same commit and the same binaries.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."

refuse() {
  echo "::error::$1"
  exit 1
}

# Each builder says what it built, and can put only that into the release: the binary and the files of its own platform.
collect() {
  local version=${1#v} built=$2 assets=$3 folder platform checksums file sha256
  rm -rf dist/bin "$assets"
  mkdir -p dist/bin "$assets"
  [ -e "$built/action-linux-x64" ] || refuse "no builder made the binary of linux-x64"
  for folder in "$built"/action-*; do
    platform=${folder##*/action-}
    file=jobpass-github-$platform
    checksums=$folder/checksums.json
    jq --exit-status --arg version "$version" --arg platform "$platform" --arg file "$file" '
      (keys == ["binaries", "version"]) and .version == $version and (.binaries | keys == [$platform]) and
      (.binaries[$platform] | keys == ["file", "sha256"] and .file == $file and (.sha256 | test("^[0-9a-f]{64}\\z")))' \
      "$checksums" > /dev/null || refuse "what the builder of $platform says is not about its binary of version $version"
    [ "$(find "$folder/bin" -mindepth 1 | wc -l)" = 1 ] && [ -f "$folder/bin/$file" ] && [ ! -L "$folder/bin/$file" ] ||
      refuse "the builder of $platform made something else than $file"
    cp "$folder/bin/$file" dist/bin/
    sha256=$(jq --raw-output '.binaries[].sha256' "$checksums")
    echo "$sha256  dist/bin/$file" | sha256sum --check --strict --quiet || refuse "$file is not the one that its builder named"
    # An artifact keeps no file modes.
    chmod 755 "dist/bin/$file"
  done
  jq --slurp --sort-keys '{version: .[0].version, binaries: map(.binaries) | add}' "$built"/action-*/checksums.json > dist/checksums.json
  for folder in "$built"/assets-*; do
    platform=${folder##*/assets-}
    for file in "$folder"/*; do
      case ${file##*/} in
        jobpass-"$platform" | jobpass-gitlab-"$platform" | rustc-"$platform".txt) ;;
        ca-certificates.crt) [ "$platform" = linux-x64 ] || continue ;;
        *) refuse "the builder of $platform made ${file##*/}, which is not a file of its platform" ;;
      esac
      [ -f "$file" ] && [ ! -L "$file" ] || refuse "${file##*/} is not a file"
      cp "$file" "$assets"/
    done
  done
  cp dist/bin/* "$assets"/
  chmod 755 "$assets"/jobpass-*
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
  collect) collect "$2" "$3" "$4" ;;
  commit) commit "$2" ;;
  *) refuse "usage: release.sh collect VERSION BUILT ASSETS | commit VERSION" ;;
esac
