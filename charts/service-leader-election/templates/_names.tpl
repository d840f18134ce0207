{{/* What every object of the webhook is called. */}}
{{- define "sle.webhook" -}}
service-leader-election-webhook
{{- end }}

{{/* The ClusterRole that sidecars are bound to. */}}
{{- define "sle.sidecarRole" -}}
service-leader-election-sidecar
{{- end }}

{{/* Where the API server finds the webhook: a path, of the chart as root. */}}
{{- define "sle.clientConfig" -}}
{{- $url := .root.Values.webhook.url -}}
{{- if $url -}}
url: {{ printf "%s/%s" (trimSuffix "/mutate" $url) .path | quote }}
{{- else -}}
service:
  name: {{ include "sle.webhook" .root }}
  namespace: {{ .root.Release.Namespace }}
  path: /{{ .path }}
  port: 443
{{- end }}
{{- end }}

{{- define "sle.selector" -}}
app.kubernetes.io/name: service-leader-election
app.kubernetes.io/component: webhook
{{- end }}

{{- define "sle.labels" -}}
{{ include "sle.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The host of webhook.url, without brackets. */}}
{{- define "sle.host" -}}
{{- $host := regexReplaceAll "^https://(\\[[^\\]]+\\]|[^/:]+).*$" .Values.webhook.url "${1}" -}}
{{- $host | trimPrefix "[" | trimSuffix "]" -}}
{{- end }}
