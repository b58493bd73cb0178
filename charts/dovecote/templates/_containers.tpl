{{/* The volume of documents, if there is one. */}}
{{- define "dovecote.documents" -}}
{{- with .Values.documents -}}
{{- if .claim -}}
- {name: documents, persistentVolumeClaim: {claimName: {{ .claim }}, readOnly: true}}
{{- else if .configMap -}}
- {name: documents, configMap: {name: {{ .configMap }}}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The ZeroMQ component of a sidecar, in a container beside it: Dapr's injector gives both the folder of its socket. */}}
{{- define "dovecote.zeromq" -}}
- name: zeromq-pubsub
  image: {{ include "dovecote.image" (dict "root" . "name" "zeromq-pubsub") }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [/app/serve, component, /tmp/dapr-components-sockets/zeromq.sock]
  resources: {{- toYaml .Values.servers.zeromq.resources | nindent 4 }}
  securityContext: {{- include "dovecote.containerSecurity" . | nindent 4 }}
  lifecycle:
    preStop:
      sleep: {seconds: {{ .Values.stopping.block }}} # the sidecar takes its leave through it
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
{{- end -}}
