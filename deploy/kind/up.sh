#!/bin/sh
# Dovecote on a cluster of this machine, from nothing: a cluster by kind, images without a registry, Dapr, the chart, and
# a first question. Once more, it upgrades what is there. Variables: see cluster.sh and dapr.sh; BROKER is redis.
set -eu
cd "$(dirname "$0")"

./cluster.sh
./dapr.sh
cd ../..
echo "Installing Dovecote (its pods take a minute or two) ..."
helm upgrade --install dovecote charts/dovecote --namespace dovecote --create-namespace --wait --timeout 8m \
  --values "charts/dovecote/values-${BROKER:-redis}.yaml" --set-string "image.registry=${REGISTRY:-},image.tag=${TAG:-}"
helm test dovecote --namespace dovecote --logs
