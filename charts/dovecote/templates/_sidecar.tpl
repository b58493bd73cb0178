{{/* The annotations by which Dapr's injector adds a sidecar. Takes root and name. */}}
{{- define "dovecote.sidecar" -}}
{{- $dapr := .root.Values.dapr -}}
{{- $stopping := .root.Values.stopping -}}
dapr.io/enabled: "true"
dapr.io/app-id: {{ .name }}
dapr.io/app-port: "8080"
dapr.io/app-protocol: http
dapr.io/config: {{ .name }}
dapr.io/enable-app-health-check: "true"
dapr.io/app-health-check-path: /healthz
dapr.io/app-health-probe-interval: "3"
dapr.io/app-health-probe-timeout: "3000"
dapr.io/app-health-threshold: "3"
dapr.io/app-max-concurrency: "1000"
dapr.io/max-body-size: 16Mi
dapr.io/block-shutdown-duration: {{ $stopping.block }}s
dapr.io/graceful-shutdown-seconds: {{ $stopping.graceful | quote }}
dapr.io/env: GOMAXPROCS=1 # two threads may mix up the outcomes of two deliveries
dapr.io/log-level: {{ $dapr.logLevel }}
dapr.io/log-as-json: "true"
dapr.io/enable-metrics: {{ $dapr.metrics | quote }}
dapr.io/metrics-port: "9090"
dapr.io/disable-builtin-k8s-secret-store: "true" # it would need a right to read Secrets
dapr.io/sidecar-seccomp-profile-type: RuntimeDefault
dovecote/state: {{ .root.Values.state.name }} # a sidecar reads where actors keep state only when it starts
{{- with $dapr.sidecar.resources }}
dapr.io/sidecar-cpu-request: {{ .requests.cpu }}
dapr.io/sidecar-memory-request: {{ .requests.memory }}
dapr.io/sidecar-cpu-limit: {{ .limits.cpu | quote }}
dapr.io/sidecar-memory-limit: {{ .limits.memory }}
{{- end }}
{{- with $dapr.sidecar.image }}
dapr.io/sidecar-image: {{ . }}
{{- end }}
{{- if $dapr.nativeSidecar }}
dapr.io/enable-native-sidecar: "true"
{{- end }}
{{- if .root.Values.tokens.enabled }}
dapr.io/api-token-secret: dovecote-api-token
dapr.io/app-token-secret: dovecote-app-token
{{- end }}
{{- if eq .root.Values.broker.name "zeromq" }}
dapr.io/volume-mounts-rw: sockets:/tmp/dapr-components-sockets # where a sidecar looks for components
{{- end }}
{{- end -}}
