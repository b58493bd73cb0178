{{/* KEDA's trigger for what waits on a topic for an app; nothing for brokers that KEDA does not know (MQTT, ZeroMQ),
     where the processor's use is all there is to go by. Takes root, app and topic. */}}
{{- define "dovecote.trigger" -}}
{{- $broker := include "dovecote.broker" .root -}}
{{- $separator := "" -}}
{{- range .root.Files.Get "files/components/capabilities.yaml" | fromYaml -}}
{{- if eq .broker $broker }}{{ $separator = .separator }}{{ end -}}
{{- end -}}
{{- $topic := .topic | default "" | replace "/" $separator -}}
{{- if eq $broker "redis" -}}
- type: redis-streams
  metadata: {stream: {{ $topic }}, consumerGroup: {{ .app }}, pendingEntriesCount: "20"}
{{- else if eq $broker "kafka" -}}
- type: kafka
  metadata:
    bootstrapServers: {{ ternary "broker:9092" .root.Values.autoscaling.kafkaBrokers .root.Values.broker.internal }}
    topic: {{ $topic }}
    consumerGroup: {{ .app }}
    lagThreshold: "20"
    {{- if eq .root.Values.broker.name "kafka" }}
    sasl: plaintext
    {{- else }}
    tls: enable
    {{- end }}
{{- else if eq $broker "rabbitmq" -}}
- type: rabbitmq
  metadata: {queueName: {{ .app }}-{{ $topic }}, mode: QueueLength, value: "20"}
{{- else if eq $broker "servicebus" -}}
- type: azure-servicebus
  metadata: {topicName: {{ $topic }}, subscriptionName: {{ .app }}, messageCount: "20"}
{{- end -}}
{{- end -}}

{{/* The trigger's parameters, and the keys of the broker's Secret that have them. */}}
{{- define "dovecote.triggerSecrets" -}}
{{- $secrets := dict
  "redis" (dict "address" "REDIS_HOST" "password" "REDIS_PASSWORD")
  "redis-tls" (dict "address" "REDIS_TLS_HOST" "password" "REDIS_TLS_PASSWORD")
  "kafka" (dict "username" "KAFKA_USERNAME" "password" "KAFKA_PASSWORD")
  "kafka-tls" (dict "ca" "KAFKA_CA_CERT" "cert" "KAFKA_CLIENT_CERT" "key" "KAFKA_CLIENT_KEY")
  "rabbitmq" (dict "host" "RABBITMQ_URL")
  "rabbitmq-tls" (dict "host" "RABBITMQ_URL" "ca" "RABBITMQ_CA_CERT" "cert" "RABBITMQ_CLIENT_CERT" "key" "RABBITMQ_CLIENT_KEY")
  "servicebus" (dict "connection" "SERVICEBUS_CONNECTION_STRING") -}}
{{- index $secrets .Values.broker.name | toYaml -}}
{{- end -}}
