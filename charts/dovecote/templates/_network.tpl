{{/* A peer: the pods of this release that have a label. Takes root, label and value. */}}
{{- define "dovecote.peer" -}}
- podSelector:
    matchLabels: {app.kubernetes.io/instance: {{ .root.Release.Name }}, app.kubernetes.io/{{ .label }}: {{ .value }}}
{{- end -}}

{{/* The policy that pods of that label are under, up to its rules. Takes root, name, label and value. */}}
{{- define "dovecote.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels: {{- include "dovecote.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {app.kubernetes.io/instance: {{ .root.Release.Name }}, app.kubernetes.io/{{ .label }}: {{ .value }}}
{{- end -}}

{{/* Ports of a rule. Takes a list of numbers. */}}
{{- define "dovecote.ports" -}}
{{- range . }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end -}}

{{/* What a kind of server listens on, in this namespace. */}}
{{- define "dovecote.serverPorts" -}}
{{- $ports := list (index .root.Values.servers .kind).port -}}
{{- if eq .kind "zeromq" }}{{ $ports = append $ports 5556 }}{{ end -}}
{{- include "dovecote.ports" $ports -}}
{{- end -}}
