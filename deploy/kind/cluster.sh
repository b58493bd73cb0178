#!/bin/sh
# A cluster of one node on this machine, with Dovecote's images in it: no registry takes part.
#   CLUSTER    the cluster's name: dovecote
#   PRELOAD    more images of this machine to put into it, such as Dapr's, separated by spaces
#   REGISTRY, TAG   as `make images` takes them
set -eu
cd "$(dirname "$0")/../.."

cluster="${CLUSTER:-dovecote}"
for command in docker kind kubectl helm; do
  command -v "$command" >/dev/null || missing="${missing:-} $command"
done
[ -z "${missing:-}" ] || { echo "$0: needed, and not on the PATH:$missing" >&2; exit 1; }
docker info >/dev/null || { echo "$0: no engine answers docker; start it" >&2; exit 1; }

if kind get clusters --quiet | grep --quiet --line-regexp "$cluster"; then
  echo "Cluster $cluster is there already"
  kind export kubeconfig --quiet --name "$cluster"
else
  echo "Making cluster $cluster (a minute or two; the node's image is fetched the first time) ..."
  kind create cluster --name "$cluster" --wait 2m
fi

make images
tag="${TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)}"
images=$(docker images --format '{{.Repository}}:{{.Tag}}' --filter "reference=${REGISTRY:-}dovecote/*:$tag")
[ -n "$images" ] || { echo "$0: make images left no image ${REGISTRY:-}dovecote/*:$tag" >&2; exit 1; }
echo "Putting the images into the cluster ..."
# shellcheck disable=SC2086 # one argument for each image
kind load docker-image --name "$cluster" $images ${PRELOAD:-}
