{{/*
Name of the namespaced objects. It is also the name of the Service, hence a DNS
label that starts with a letter, while a release may be called "1.2".
*/}}
{{- define "gapless.fullname" -}}
{{- $name := .Release.Name | replace "." "-" -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
{{- $name = printf "gapless-%s" $name -}}
{{- end -}}
{{- if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" $name .Chart.Name -}}
{{- end -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
Name of both webhook configurations. They have no namespace of their own, so the
one of the release is part of their name. The dot keeps "a-b" in "c" apart from
"a" in "b-c".
*/}}
{{- define "gapless.webhookConfigurationName" -}}
{{ include "gapless.fullname" . }}.{{ .Release.Namespace }}
{{- end -}}

{{/* What the API server calls gapless by: what its certificate has to be valid for. */}}
{{- define "gapless.host" -}}
{{ include "gapless.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* Not empty if cert-manager keeps the certificates. */}}
{{- define "gapless.certManager" -}}
{{- if and (eq .Values.certificates.mode "certManager") (not (include "gapless.url" .)) -}}
true
{{- end -}}
{{- end -}}

{{/* Not empty if gapless keeps its certificates itself. One outside the cluster is told so by its own arguments. */}}
{{- define "gapless.selfManaged" -}}
{{- if and (eq .Values.certificates.mode "selfManaged") (not (include "gapless.url" .)) -}}
true
{{- end -}}
{{- end -}}

{{/* Not empty if gapless follows what stands around workloads. One outside the cluster is told so by its own arguments. */}}
{{- define "gapless.clusterContext" -}}
{{- if and .Values.clusterContext.enabled (not (include "gapless.url" .)) -}}
true
{{- end -}}
{{- end -}}

{{/* Not empty if the pods have something to ask the API server. */}}
{{- define "gapless.asksApiServer" -}}
{{- if or (include "gapless.selfManaged" .) (include "gapless.clusterContext" .) -}}
true
{{- end -}}
{{- end -}}

{{/* Tag of the image. */}}
{{- define "gapless.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{/* Reference of the image. With a digest, runtimes ignore the tag. */}}
{{- define "gapless.image" -}}
{{ .Values.image.repository }}:{{ include "gapless.tag" . }}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The image's tag as a label value: at most 63 characters, alphanumeric at both ends. */}}
{{- define "gapless.version" -}}
{{- include "gapless.tag" . | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/* Labels that select the pods. A Deployment's selector is immutable: they never change. */}}
{{- define "gapless.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/*
Labels of every object except the pods: "helm.sh/chart" in the pod template would
restart the pods when only the chart changes.
*/}}
{{- define "gapless.labels" -}}
{{ include "gapless.selectorLabels" . }}
app.kubernetes.io/version: {{ include "gapless.version" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels of the pods. Those of the chart win over podLabels, else the selector would not match. */}}
{{- define "gapless.podLabels" -}}
{{- $version := include "gapless.version" . -}}
{{- $labels := include "gapless.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" $version -}}
{{- $_ := set $labels "version" $version -}}
{{- merge $labels (.Values.podLabels | default dict) | toYaml -}}
{{- end -}}

{{/* What every pod runs as: the nobody of an image without users. */}}
{{- define "gapless.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The values, if any, that are ports which only root may take by default. */}}
{{- define "gapless.privilegedPorts" -}}
{{- $ports := list -}}
{{- range $value, $port := dict "webhooks.port" .Values.webhooks.port "metrics.port" .Values.metrics.port -}}
{{- if lt (int $port) 1024 -}}
{{- $ports = append $ports (printf "%s (%d)" $value (int $port)) -}}
{{- end -}}
{{- end -}}
{{- $ports | reverse | join " and " -}}
{{- end -}}

{{/* What every container may do: nothing. */}}
{{- define "gapless.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Labels of the objects of helm test. With those of the pods, the Service would send calls there. */}}
{{- define "gapless.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Name of the CronJob that keeps reports, and of its ServiceAccount: at most 52 characters, its Jobs add to it. */}}
{{- define "gapless.reportsName" -}}
{{ include "gapless.fullname" . | trunc 44 | trimSuffix "-" }}-reports
{{- end -}}

{{/* Labels that select its pods. With those of the webhooks' pods, the Service would send calls there. */}}
{{- define "gapless.reportsSelectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-reports
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of its pods. Those of the chart win over podLabels. */}}
{{- define "gapless.reportsPodLabels" -}}
{{- $labels := include "gapless.reportsSelectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" (include "gapless.version" .) -}}
{{- merge $labels (.Values.podLabels | default dict) | toYaml -}}
{{- end -}}

{{/* Annotations of the objects of helm test: after a failure they stay until the next one, with the log. */}}
{{- define "gapless.testAnnotations" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/*
Name of the default profile. Helm reads YAML 1.1, where a bare off (or Off) is the
boolean false.
*/}}
{{- define "gapless.defaultProfile" -}}
{{- if kindIs "invalid" .Values.config.defaultProfile -}}
production
{{- else -}}
{{- .Values.config.defaultProfile | default "off" -}}
{{- end -}}
{{- end -}}

{{/* The GaplessConfiguration, with "off" and "Off" where a bare word has become false. */}}
{{- define "gapless.configuration" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "defaultProfile" (include "gapless.defaultProfile" .) -}}
{{- range $profile := $config.profiles | default dict -}}
{{- if kindIs "bool" $profile.mode -}}
{{- $_ := set $profile "mode" "Off" -}}
{{- end -}}
{{- range $rule, $action := $profile.rules | default dict -}}
{{- if kindIs "bool" $action -}}
{{- $_ := set $profile.rules $rule "Off" -}}
{{- end -}}
{{- end -}}
{{- end -}}
apiVersion: gapless.dev/v1alpha1
kind: GaplessConfiguration
{{ toYaml $config }}
{{- end -}}
