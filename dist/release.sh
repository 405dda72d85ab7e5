#!/usr/bin/env bash
# The part of a release that changes repositories. It needs git, jq, tar, sha256sum and, for `sign`, gh. It compiles nothing.
#
#     release.sh collect VERSION BUILT ASSETS        puts the binaries of all platforms and their digests into dist/, and all files into ASSETS
#     release.sh commit VERSION                      commits dist/, and prints the commit
#     release.sh sign VERSION COMMIT                 makes the same commit on GitHub, signed, tags it VERSION, and prints it
#     release.sh notes ASSETS [NAME=DIGEST...]       prints the notes of the release, with the digests of the images
#     release.sh catalog VERSION REPOSITORY          pushes the GitLab component to REPOSITORY, in the layout of GitLab's catalog
#
# Each gives the same result each time it runs on the same commit and the same binaries.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."

refuse() {
  echo "::error::$1" >&2
  exit 1
}

# Each builder says what it built, and can put only that into the release: the binary and the files of its own platform.
collect() {
  local version=${1#v} built=$2 assets=$3 folder platform checksums file sha256 suffix
  rm -rf dist/bin dist/licenses.txt "$assets"
  mkdir -p dist/bin "$assets"
  [ -e "$built/action-linux-x64" ] || refuse "no builder made the binary of linux-x64"
  for folder in "$built"/action-*; do
    platform=${folder##*/action-}
    file=jobpass-github-$platform$(suffix "$platform")
    checksums=$folder/checksums.json
    jq --exit-status --arg version "$version" --arg platform "$platform" --arg file "$file" '
      (keys == ["binaries", "version"]) and .version == $version and (.binaries | keys == [$platform]) and
      (.binaries[$platform] | keys == ["file", "sha256"] and .file == $file and (.sha256 | test("^[0-9a-f]{64}\\z")))' \
      "$checksums" > /dev/null || refuse "the checksums from the builder of $platform do not name $file of version $version alone"
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
    suffix=$(suffix "$platform")
    for file in "$folder"/*; do
      case ${file##*/} in
        jobpass-"$platform$suffix" | jobpass-gitlab-"$platform$suffix" | compiler-"$platform".txt) ;;
        jobpass-"$platform".cdx.json | jobpass-github-"$platform".cdx.json | jobpass-gitlab-"$platform".cdx.json) ;;
        # They are the same for all platforms.
        ca-certificates.crt | licenses.txt) [ "$platform" = linux-x64 ] || continue ;;
        *) refuse "the builder of $platform made ${file##*/}, which is not a file of its platform" ;;
      esac
      [ -f "$file" ] && [ ! -L "$file" ] || refuse "${file##*/} is not a file"
      cp "$file" "$assets"/
    done
  done
  cp dist/bin/* "$assets"/
  chmod 644 "$assets"/*
  chmod 755 "$assets"/jobpass-*-{x64,arm64}{,.exe}
  # They go with the binaries, also in the commit.
  cp "$assets/licenses.txt" dist/
  pack "$version" "$assets"
  (cd "$assets" && sha256sum -- * > SHA256SUMS)
}

suffix() {
  case $1 in win32-*) echo .exe ;; esac
}

# Homebrew and krew want archives. Their manifests name the digests of these.
pack() {
  local version=$1 assets=$2 platform program folder date manifest archive
  date=$(git show --no-patch --format=%ct HEAD)
  folder=$(mktemp -d)
  # Not jobpass-github and jobpass-gitlab.
  for program in "$assets"/jobpass-[!g]*-{x64,arm64}{,.exe}; do
    platform=${program##*/jobpass-}
    platform=${platform%.exe}
    cp "$program" "$folder/jobpass$(suffix "$platform")"
    cp LICENSE "$assets/licenses.txt" dist/kubectl_complete-jobpass "$folder"
    (cd "$folder" && tar --create --mtime="@$date" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=ustar -- *) |
      gzip --no-name > "$assets/jobpass-$platform.tar.gz"
    rm "$folder"/*
  done
  rmdir "$folder"
  for manifest in homebrew/jobpass.rb krew/jobpass.yaml; do
    cp "dist/$manifest" "$assets"/
    manifest=$assets/${manifest##*/}
    sed -i "s/@VERSION@/$version/" "$manifest"
    for archive in "$assets"/*.tar.gz; do
      sed -i "s/@${archive##*/}@/$(sha256sum < "$archive" | cut -d ' ' -f 1)/" "$manifest"
    done
    ! grep '@[A-Za-z].*@' "$manifest" || refuse "no builder made a program that ${manifest##*/} names"
  done
}

commit() {
  local version=$1 source message previous tree date
  source=$(git rev-parse HEAD)
  message="Release $version: the binaries built from $source"
  # Its second parent is the release before, so that the branch of all releases only grows.
  previous=$(git rev-parse --quiet --verify refs/remotes/origin/releases || true)
  if [ -n "$previous" ] && [ "$(git show --no-patch --format=%s "$previous")" = "$message" ]; then
    previous=$(git rev-parse --quiet --verify "$previous^2" || true)
  fi
  git add --force dist/bin dist/checksums.json dist/licenses.txt
  tree=$(git write-tree)
  # The dates of the source commit: a second run makes the same commit, and its push changes nothing.
  date=$(git show --no-patch --format=%cI "$source")
  export GIT_AUTHOR_NAME='github-actions[bot]' GIT_AUTHOR_EMAIL='41898282+github-actions[bot]@users.noreply.github.com' GIT_AUTHOR_DATE=$date
  export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$date
  git commit-tree "$tree" -p "$source" ${previous:+-p "$previous"} -m "$message"
}

# GitHub signs a commit that is made by its API if the request names neither an author nor a committer. So the commit has the date of the request, and
# a second request would make another one: a second run finds the first one by the tag or the branch.
sign() {
  local version=$1 commit=$2 source content found signed ref
  api() { gh api "repos/$GITHUB_REPOSITORY/git/$1" --input - "${@:2}"; }
  source=$(git rev-parse "$commit^")
  # The tree and the parents: the rest follows from the request.
  content=$(git show --no-patch --format='%T %P' "$commit")
  git fetch --quiet origin "+refs/tags/$version:refs/jobpass/tag" 2> /dev/null || git update-ref -d refs/jobpass/tag
  signed=
  for ref in refs/jobpass/tag refs/remotes/origin/releases; do
    found=$(git rev-parse --quiet --verify "$ref^{commit}") || continue
    if [ "$(git show --no-patch --format='%T %P' "$found")" = "$content" ]; then
      signed=$found
      break
    fi
    [ "$ref" != refs/jobpass/tag ] || refuse "$version is the tag of $found, which is not this release"
  done
  [ -n "$signed" ] || signed=$(create "$source" "$commit")
  # The branch first: a tagged commit is always on a branch.
  if ! git rev-parse --quiet --verify refs/remotes/origin/releases > /dev/null; then
    jq --null-input --arg sha "$signed" '{ref: "refs/heads/releases", $sha}' | api refs --silent
  elif [ "$(git rev-parse refs/remotes/origin/releases)" != "$signed" ]; then
    jq --null-input --arg sha "$signed" '{$sha, force: false}' | api refs/heads/releases --method PATCH --silent
  fi
  git rev-parse --quiet --verify refs/jobpass/tag > /dev/null ||
    jq --null-input --arg sha "$signed" --arg ref "refs/tags/$version" '{$ref, $sha}' | api refs --silent
  echo "$signed"
}

# Makes the files, the tree and the commit on GitHub.
create() {
  local source=$1 commit=$2 mode blob path entries made answer
  entries=$(mktemp)
  while read -r _ mode _ blob _ path; do
    made=$(git cat-file blob "$blob" | base64 --wrap 0 | jq --raw-input '{content: ., encoding: "base64"}' | api blobs --jq .sha)
    [ "$made" = "$blob" ] || refuse "GitHub made $made of $path, not $blob"
    jq --null-input --compact-output --arg path "$path" --arg mode "$mode" --arg sha "$blob" '{$path, $mode, type: "blob", $sha}' >> "$entries"
  done < <(git diff-tree -r --no-renames "$source" "$commit")
  made=$(jq --slurp --arg base "$(git rev-parse "$source^{tree}")" '{base_tree: $base, tree: .}' "$entries" | api trees --jq .sha)
  rm "$entries"
  [ "$made" = "$(git rev-parse "$commit^{tree}")" ] || refuse "GitHub made the tree $made, not that of $commit"
  answer=$(git show --no-patch --format=%B "$commit" |
    jq --raw-input --slurp --arg tree "$made" --arg parents "$(git show --no-patch --format=%P "$commit")" \
      '{message: rtrimstr("\n") | rtrimstr("\n"), $tree, parents: ($parents | split(" "))}' | api commits)
  jq --exit-status .verification.verified <<< "$answer" > /dev/null || refuse "GitHub did not sign the commit: $(jq .verification.reason <<< "$answer")"
  jq --raw-output .sha <<< "$answer"
}

notes() {
  local assets=$1 image compiler
  shift
  echo "[How to verify it](https://github.com/jobpass/jobpass/blob/main/docs/release.md#verify-one). [Changes](https://github.com/jobpass/jobpass/blob/main/CHANGELOG.md)."
  if [ $# -gt 0 ]; then
    printf '\n## Images\n\n```text\n'
    for image; do
      echo "ghcr.io/${GITHUB_REPOSITORY_OWNER:-jobpass}/${image%%=*}@${image#*=}"
    done
    echo '```'
  fi
  printf '\n## SHA256SUMS\n\n```text\n'
  cat "$assets/SHA256SUMS"
  printf '```\n\n## Compilers\n'
  for compiler in "$assets"/compiler-*.txt; do
    printf '\n```text\n'
    cat "$compiler"
    echo '```'
  done
}

# GitLab's catalog wants templates/ at the root of a project, a README, a licence, and a job that makes a release of each tag. It names versions
# without a `v`.
catalog() {
  local version=${1#v} repository=$2 folder links date
  folder=$(mktemp -d)
  git clone --quiet "$repository" "$folder" 2> /dev/null || refuse "cannot clone the project of the catalog"
  if git -C "$folder" rev-parse --quiet --verify "refs/tags/$version" > /dev/null; then
    rm -rf "$folder"
    echo "the catalog has $version"
    return
  fi
  git -C "$folder" symbolic-ref HEAD refs/heads/main
  git -C "$folder" rm --quiet -r --ignore-unmatch .
  mkdir -p "$folder/templates"
  cp gitlab-component/templates/*.yml "$folder/templates"
  cp LICENSE "$folder"
  cp dist/catalog.gitlab-ci.yml "$folder/.gitlab-ci.yml"
  # Links to other pages lead to the repository on GitHub, and `include: project` becomes a component of this version.
  links="https://github.com/jobpass/jobpass/blob/v$version"
  sed --regexp-extended "s#\]\(\.\./#]($links/#g" gitlab-component/README.md |
    sed --null-data --regexp-extended \
      "s#- project: your-group/jobpass\n( *)ref: [^\n]*\n *file: gitlab-component/templates/([a-z]+)\.yml#- component: \$CI_SERVER_FQDN/\jobpass/jobpass/\2@$version#g" \
      > "$folder/README.md"
  date=$(git show --no-patch --format=%cI HEAD)
  git -C "$folder" add --all
  GIT_AUTHOR_DATE=$date GIT_COMMITTER_DATE=$date git -C "$folder" -c user.name=jobpass -c user.email=jobpass@users.noreply.github.com \
    commit --quiet --allow-empty --message "Release $version"
  git -C "$folder" tag "$version"
  git -C "$folder" push --quiet --atomic origin main "refs/tags/$version"
  rm -rf "$folder"
}

case ${1-} in
  collect) collect "$2" "$3" "$4" ;;
  commit) commit "$2" ;;
  sign) sign "$2" "$3" ;;
  notes) notes "${@:2}" ;;
  catalog) catalog "$2" "$3" ;;
  *) refuse "usage: release.sh collect VERSION BUILT ASSETS | commit VERSION | sign VERSION COMMIT | notes ASSETS [NAME=DIGEST...] | catalog VERSION REPOSITORY" ;;
esac
