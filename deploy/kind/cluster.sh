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

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
make images SAVE="$folder/images.tar"
echo "Putting the images into the cluster ..."
kind load image-archive --name "$cluster" "$folder/images.tar"
for image in ${PRELOAD:-}; do
  kind load docker-image --name "$cluster" "$image"
done
