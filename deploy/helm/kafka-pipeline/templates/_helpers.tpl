{{- define "kp.name" -}}
{{- .Chart.Name -}}
{{- end }}

{{- define "kp.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "kp.selector" -}}
app.kubernetes.io/name: {{ include "kp.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kp.labels" -}}
{{ include "kp.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "kp.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "kp.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "kp.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "kp.direct" -}}
{{- if eq (.Values.config.transfer_mode | default "cached") "direct" }}true{{ end -}}
{{- end }}

{{- define "kp.cacheClaim" -}}
{{ .Values.cache.existingClaim | default (printf "%s-cache" (include "kp.fullname" .)) }}
{{- end }}

{{/* Whether a worker mounts the cache: both in cached mode, the uploader alone while it works off what is left. */}}
{{- define "kp.usesCache" -}}
{{- $direct := include "kp.direct" .root -}}
{{- if or (eq .worker "uploader") (and (eq .worker "downloader") (not $direct)) }}true{{ end -}}
{{- end }}

{{/* SIGTERM drains for shutdown_timeout_seconds; the kubelet's kill must come after that. */}}
{{- define "kp.gracePeriod" -}}
{{ add (ceil (float64 (.Values.config.shutdown_timeout_seconds | default 30))) 15 }}
{{- end }}

{{/* What all pods have in common. Nothing may be written but the mounted folders. */}}
{{- define "kp.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "kp.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "kp.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* The environment overrules the settings file: places and ports belong to the pod, not to its user. */}}
{{- define "kp.env" -}}
- name: DATA_DIR
  value: /data
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $name, $from := .Values.secretEnv }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.secret }}
      key: {{ $from.key }}
{{- end }}
{{- end }}

{{- define "kp.podMeta" -}}
annotations:
  checksum/config: {{ toYaml .Values.config | sha256sum }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "kp.labels" . | nindent 2 }}
  {{- if .Values.workloadIdentity.clientId }}
  azure.workload.identity/use: "true"
  {{- end }}
{{- end }}
