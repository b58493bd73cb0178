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

{{/* The ZeroMQ component of a sidecar. An init container that goes on running is there before the sidecar, which ends
     where it finds no component, and outlives it, which needs it to take its leave; Dapr's own injection gives neither. */}}
{{- define "dovecote.zeromq" -}}
- name: zeromq-pubsub
  restartPolicy: Always
  image: {{ include "dovecote.image" (dict "root" . "name" "zeromq-pubsub") }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [/app/serve, component, --sidecar-port=3500, /tmp/dapr-components-sockets/zeromq.sock]
  {{- if .Values.tokens.enabled }}
  env:
    - name: DAPR_API_TOKEN
      valueFrom: {secretKeyRef: {name: dovecote-api-token, key: token}}
  {{- end }}
  resources: {{- toYaml .Values.servers.zeromq.resources | nindent 4 }}
  securityContext: {{- include "dovecote.containerSecurity" . | nindent 4 }}
  startupProbe:
    exec: {command: [test, -S, /tmp/dapr-components-sockets/zeromq.sock]}
    periodSeconds: 1
    failureThreshold: 60
  volumeMounts:
    - {name: sockets, mountPath: /tmp/dapr-components-sockets}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
