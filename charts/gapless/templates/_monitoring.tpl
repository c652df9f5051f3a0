{{/*
Labels of an object of monitoring. Takes a dict:
  root   the root context
  labels those of the operator; the chart's own win
  extra  what the operator may replace (optional)
*/}}
{{- define "gapless.monitoringLabels" -}}
{{- $own := include "gapless.labels" .root | fromYaml -}}
{{- merge $own (.labels | default dict) (.extra | default dict) | toYaml -}}
{{- end -}}

{{/*
Which entries a counter of the API server has grown for, in this time. Takes a dict:
  counter selector of the counter
  window  how far to look back

The API server only has a series once something has happened, so that the first time
is the appearance of a series with 1, which increase() does not see. A series that
was not there before counts, provided that the API server was scraped before.
*/}}
{{- define "gapless.hasGrown" -}}
sum by (name) (increase({{ .counter }}[{{ .window }}])) > 0
or
sum by (name) (
  {{ .counter }}
  unless {{ .counter }} offset {{ .window }}
  and on (job, instance) up offset {{ .window }} == 1
)
{{- end -}}

{{/*
What is slow for calls with this timeout: the longest time up to half of it that is
also a bucket of apiserver_admission_webhook_admission_duration_seconds (5 ms to
0.1 s, 0.5 s, 1 s, 2.5 s, 10 s, 25 s), so that nothing has to be guessed between two
of them.
https://github.com/kubernetes/kubernetes/blob/v1.37.2/staging/src/k8s.io/apiserver/pkg/admission/metrics/metrics.go
*/}}
{{- define "gapless.slowSeconds" -}}
{{- if ge . 20 }}10{{ else if ge . 5 }}2.5{{ else if ge . 2 }}1{{ else }}0.5{{ end -}}
{{- end -}}
