#!/usr/bin/env bash
# The images of a release, for both architectures, from the release's files. It needs buildah, and compiles nothing.
#
#     images.sh build ASSETS VERSION REVISION DATE   builds the images as VERSION; DATE is in seconds since 1970
#     images.sh push REGISTRY VERSION [OPTION...]    pushes them to REGISTRY/NAME:VERSION, and prints NAME=DIGEST for each
#                                                    (buildah's options, for example --tls-verify=false)
#
# The same files give the same digests, so a second run pushes nothing new.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

images=(jobpass jobpass-gitlab)

build() {
  local assets=$1 version=$2 revision=$3 date=$4 image arch
  for image in "${images[@]}"; do
    buildah manifest rm "localhost/$image:$version" > /dev/null 2>&1 || true
    buildah manifest create "localhost/$image:$version" > /dev/null
    for arch in amd64 arm64; do
      # BUSYBOX is for a machine that cannot pull it.
      buildah build --quiet --file dist/Dockerfile --target "$image" --platform "linux/$arch" --timestamp "$date" --identity-label=false \
        --build-arg TARGETARCH="$arch" --build-arg VERSION="$version" --build-arg REVISION="$revision" \
        ${BUSYBOX:+--build-arg BUSYBOX="$BUSYBOX"} --manifest "localhost/$image:$version" "$assets" > /dev/null
    done
  done
}

push() {
  local registry=$1 version=$2 image digest
  shift 2
  digest=$(mktemp)
  for image in "${images[@]}"; do
    : > "$digest"
    buildah manifest push --quiet --all --digestfile "$digest" "$@" "localhost/$image:$version" "$registry/$image:$version" > /dev/null
    # Some versions of buildah exit with 0 after a failure.
    [ -s "$digest" ] || { echo "::error::buildah pushed no $image to $registry" >&2; exit 1; }
    echo "$image=$(cat "$digest")"
  done
  rm "$digest"
}

case ${1-} in
  build) build "$2" "$3" "$4" "$5" ;;
  push)
    shift
    push "$@"
    ;;
  *)
    echo "usage: images.sh build ASSETS VERSION REVISION DATE | push REGISTRY VERSION [OPTION...]" >&2
    exit 2
    ;;
esac
