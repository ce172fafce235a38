{{- /* An image of the release: (list $ "trainer"). */ -}}
{{- define "slipway.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $registry := required "image.registry is needed: where `make push REGISTRY=...` has put the images, as --set image.registry=registry.example.com/slipway" $root.Values.image.registry -}}
{{- with index ($root.Values.image.digests | default dict) $name -}}
{{ $registry }}/{{ $name }}@{{ . }}
{{- else -}}
{{ $registry }}/{{ $name }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* Ends the names of what has no namespace, where several installations may be in one cluster. */ -}}
{{- define "slipway.suffix" -}}
{{- if .Values.watchNamespaces }}-{{ .Release.Namespace }}{{- end -}}
{{- end -}}

{{- define "slipway.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
