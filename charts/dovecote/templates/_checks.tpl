{{/* What the schema cannot say: values that do not go together. Rendered by secrets.yaml. */}}
{{- define "dovecote.checks" -}}
{{- if and .Values.broker.internal (not (hasKey .Values.servers .Values.broker.name)) -}}
{{- fail (printf "broker.internal: no server of %s can be started here: set it to false, and give broker.existingSecret" .Values.broker.name) -}}
{{- end -}}
{{- if and .Values.state.internal (eq .Values.state.name "sqlserver") -}}
{{- fail "state.internal: no server of sqlserver can be started here: set it to false, and give state.existingSecret" -}}
{{- end -}}
{{- if eq .Values.state.name "in-memory" -}}
{{- if .Values.autoscaling.enabled -}}
{{- fail "autoscaling.enabled: with state.name in-memory replicas share no state: set it to false, or choose another store" -}}
{{- end -}}
{{- range $name, $service := include "dovecote.services" . | fromYaml -}}
{{- if and $service.sidecar (gt (int $service.replicas) 1) -}}
{{- fail (printf "services.%s.replicas: with state.name in-memory replicas share no state: set it to 1, or choose another store" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $group := list "broker" "state" "model" -}}
{{- $settings := index $.Values $group -}}
{{- $ours := or $settings.internal (eq (dig "provider" "" $settings) "demo" ) (eq (dig "provider" "" $settings) "ollama") -}}
{{- if not (or $ours $settings.existingSecret $settings.secret) -}}
{{- fail (printf "%s.existingSecret: name a Secret with what components/ reads, or give %s.secret" $group $group) -}}
{{- end -}}
{{- if and $settings.existingSecret (or $ours $settings.secret) -}}
{{- fail (printf "%s.existingSecret: %q would not be used: unset it, or what it competes with" $group $settings.existingSecret) -}}
{{- end -}}
{{- end -}}
{{- with .Values.stopping -}}
{{- if le (int .block) (add .delay .drain | int) -}}
{{- fail (printf "stopping.block: %v must be more than delay and drain together, or a sidecar ends before its app" .block) -}}
{{- end -}}
{{- end -}}
{{- $apps := include "dovecote.apps" . | fromYamlArray -}}
{{- range $name, $service := .Values.services -}}
{{- range $caller, $paths := ($service | default dict).callers -}}
{{- if not (has $caller (append $apps "*")) -}}
{{- fail (printf "services.%s.callers: there is no app %s" $name $caller) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (eq .Values.autoscaling.by "keda") (hasPrefix "kafka" .Values.broker.name) (not .Values.broker.internal) (not .Values.autoscaling.kafkaBrokers) -}}
{{- fail "autoscaling.kafkaBrokers: KEDA takes the addresses of Kafka from here only" -}}
{{- end -}}
{{- end -}}
