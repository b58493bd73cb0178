{{/* Names, labels and everything that more than one template asks for. */}}

{{/* Every service that is deployed, with what it has by default: a YAML map of name to settings. */}}
{{- define "dovecote.services" -}}
{{- $services := dict -}}
{{- range $name, $own := .Values.services -}}
{{- if or (ne $name "demo-model") (eq $.Values.model.provider "demo") -}}
{{- $_ := set $services $name (mergeOverwrite (deepCopy $.Values.defaults) (deepCopy ($own | default dict))) -}}
{{- end -}}
{{- end -}}
{{- toYaml $services -}}
{{- end -}}

{{/* The app-ids: services with a sidecar, in order. */}}
{{- define "dovecote.apps" -}}
{{- $apps := list -}}
{{- range $name, $service := include "dovecote.services" . | fromYaml -}}
{{- if $service.sidecar }}{{ $apps = append $apps $name }}{{ end -}}
{{- end -}}
{{- toYaml $apps -}}
{{- end -}}

{{/* The image of a service. Takes root and name. */}}
{{- define "dovecote.image" -}}
{{ .root.Values.image.registry }}dovecote/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- define "dovecote.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "dovecote.labels" -}}
{{ include "dovecote.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of pods: without versions, so that an upgrade restarts only what it changes. */}}
{{- define "dovecote.podLabels" -}}
{{ include "dovecote.selector" . }}
app.kubernetes.io/part-of: dovecote
{{- end -}}

{{/* The broker without the ending that says how it is reached: kafka of kafka-tls. */}}
{{- define "dovecote.broker" -}}
{{ trimSuffix "-tls" .Values.broker.name }}
{{- end -}}

{{/* The Secret of a group of variables: broker, state or model. Takes root and group. */}}
{{- define "dovecote.secret" -}}
{{ (index .root.Values .group).existingSecret | default (printf "dovecote-%s" .group) }}
{{- end -}}

{{/* A password that stays what it is over upgrades. Takes root, given, secret and key. */}}
{{- define "dovecote.password" -}}
{{- $kept := dig "data" .key "" (lookup "v1" "Secret" .root.Release.Namespace .secret | default dict) -}}
{{- .given | default ($kept | b64dec) | default (randAlphaNum 24) -}}
{{- end -}}

{{/* What a pod may do, by the standard "restricted". */}}
{{- define "dovecote.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dovecote.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "dovecote.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}
