#!/bin/sh
# Dapr's control plane in the cluster that kubectl talks to, by Dapr's own chart. What is there is left alone.
#   DAPR_CHART     a chart's archive or folder, where the public one cannot be reached
#   DAPR_REGISTRY  where the images lie, if not where the chart says
set -eu

version="${DAPR_VERSION:-1.18.2}" # what the launcher builds, and all tests ran with
for command in kubectl helm; do
  command -v "$command" >/dev/null || { echo "$0: $command is needed, and not on the PATH" >&2; exit 1; }
done
kubectl version >/dev/null || { echo "$0: no cluster answers; set KUBECONFIG, or make one: deploy/kind/cluster.sh" >&2; exit 1; }

if [ -n "$(kubectl get deployments --all-namespaces --selector app=dapr-sidecar-injector --output name)" ]; then
  echo "Dapr is there already"
else
  set -- --namespace dapr-system --create-namespace --set "global.tag=$version" --wait --timeout 10m
  [ -z "${DAPR_REGISTRY:-}" ] || set -- "$@" --set "global.registry=$DAPR_REGISTRY"
  # Chart and images are of one version; a pod must not come up without its sidecar.
  set -- "$@" --set dapr_sidecar_injector.webhookFailurePolicy=Fail
  # But where the injector is away, its own pods, and those of the cluster, must come up without asking it.
  expression='dapr_sidecar_injector.namespaceSelector.matchExpressions[0]'
  set -- "$@" --set "$expression.key=kubernetes.io/metadata.name,$expression.operator=NotIn,$expression.values={kube-system,dapr-system}"
  # With this, pods fit the Pod Security Standard "restricted".
  set -- "$@" --set dapr_sidecar_injector.sidecarDropALLCapabilities=true
  # By default they ask for no processor time, get none on a node whose cores are busy, and the schedulers lose their quorum,
  # and end ("runner manager already started").
  for part in scheduler placement sentry operator sidecar_injector; do
    set -- "$@" --set "dapr_$part.resources.requests.cpu=50m"
  done
  if [ -n "${DAPR_CHART:-}" ]; then
    set -- "$DAPR_CHART" "$@"
  else
    set -- dapr --repo https://dapr.github.io/helm-charts --version "$version" "$@"
  fi
  echo "Installing Dapr $version (a minute or two) ..."
  helm upgrade --install dapr "$@" >/dev/null
  echo "Dapr $version is installed"
fi
