{{/*
Profiles that have webhook entries, as a sorted JSON array: the built-in ones and
those of the operator. "off" never has an entry: that is what it means.
*/}}
{{- define "gapless.profiles" -}}
{{- $builtIn := list "production" "advisory" "development" -}}
{{- $own := keys (.Values.config.profiles | default dict) -}}
{{- without (concat $builtIn $own) "off" | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/*
What a namespace can ask for in place of the default profile, as a sorted JSON
array: every other profile, and "off".
*/}}
{{- define "gapless.profilesBesidesDefault" -}}
{{- $profiles := append (include "gapless.profiles" . | fromJsonArray) "off" -}}
{{- without $profiles (include "gapless.defaultProfile" .) | sortAlpha | toJson -}}
{{- end -}}

{{/* Namespaces that no entry selects, as a sorted JSON array. */}}
{{- define "gapless.excludedNamespaces" -}}
{{- append .Values.webhooks.excludedNamespaces .Release.Namespace | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Base URL of a gapless outside the cluster, without a slash at its end; empty if it runs inside. */}}
{{- define "gapless.url" -}}
{{- regexReplaceAll "/+$" (.Values.webhooks.url | default "") "" -}}
{{- end -}}

{{/*
The CA certificates in base64, or nothing. The key caBundle must then be left out:
an empty one would wipe what another controller filled in, or gapless itself.
*/}}
{{- define "gapless.caBundle" -}}
{{- $given := .Values.webhooks.caBundle | default "" | trim -}}
{{- if $given -}}
{{- printf "%s\n" $given | b64enc -}}
{{- else if not (or (include "gapless.url" .) (include "gapless.selfManaged" .) (include "gapless.certManager" .)) -}}
{{- /* Empty without access to the cluster: helm template, --dry-run=client, Argo CD. */ -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace .Values.certificates.secretName | default dict -}}
{{- get ($secret.data | default dict) "ca.crt" -}}
{{- end -}}
{{- end -}}

{{/* Not empty if the API server rejects requests when it cannot reach gapless. */}}
{{- define "gapless.failsClosed" -}}
{{- range list .Values.webhooks.mutating .Values.webhooks.validating -}}
{{- if eq (.failurePolicy | default $.Values.webhooks.failurePolicy) "Fail" -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The resources of the kinds in config.workloads, as rules of a webhook entry. The kinds
of Kubernetes itself come in one rule, in the order in which gapless lists them.
*/}}
{{- define "gapless.rules" -}}
{{- $workloads := .Values.config.workloads | default (list "Deployment") -}}
{{- $apps := list -}}
{{- range list "Deployment" "StatefulSet" "DaemonSet" -}}
{{- if has . $workloads -}}
{{- $apps = append $apps (printf "%ss" (lower .)) -}}
{{- end -}}
{{- end -}}
{{- with $apps }}
- apiGroups: [apps]
  apiVersions: [v1]
  resources: [{{ join ", " . }}]
  operations: [CREATE, UPDATE]
  scope: Namespaced
{{- end }}
{{- if has "Rollout" $workloads }}
- apiGroups: [argoproj.io]
  apiVersions: [v1alpha1]
  resources: [rollouts]
  operations: [CREATE, UPDATE]
  scope: Namespaced
{{- end }}
{{- end -}}

{{/*
Which namespaces have a profile: a missing or misspelt label falls back to the default
one, never to nothing; hence NotIn for that one. Takes a dict: root, profile.
*/}}
{{- define "gapless.namespaceSelector" -}}
namespaceSelector:
  matchExpressions:
    - key: gapless.dev/profile
      {{- if eq .profile (include "gapless.defaultProfile" .root) }}
      operator: NotIn
      values:
        {{- include "gapless.profilesBesidesDefault" .root | fromJsonArray | toYaml | nindent 8 }}
      {{- else }}
      operator: In
      values:
        {{- list .profile | toYaml | nindent 8 }}
      {{- end }}
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
        {{- include "gapless.excludedNamespaces" .root | fromJsonArray | toYaml | nindent 8 }}
{{- end -}}

{{/*
One webhook entry. Takes a dict:
  root      the root context
  profile   name of the profile
  phase     "mutate" or "validate": part of the entry's name and of the path
  overrides .Values.webhooks.mutating or .Values.webhooks.validating
  services  true for the entry about Services, "validate" only

rules: the workloads themselves only. Calls for their subresources scale and status,
or for ReplicaSets, would get in the way of controllers.

matchConditions: whoever removes the last finalizer of an object must not be
stopped. The object of CREATE and UPDATE is never null. An update that changes nothing
that gapless looks at, such as a server-side apply of what is there, which GitOps tools
send all the time, or a storage migration, is no business of its: it would fill nothing in.

Services: their update is judged if their selector changes, which is seldom. No call
that fails may ever hold one up.
*/}}
{{- define "gapless.webhook" -}}
{{- $root := .root -}}
{{- $path := printf "/%s/%s" .phase .profile -}}
name: {{ .profile }}.{{ if .services }}services.{{ end }}{{ .phase }}.gapless.dev
admissionReviewVersions: [v1]
sideEffects: None
matchPolicy: Equivalent
failurePolicy: {{ if .services }}Ignore{{ else }}{{ .overrides.failurePolicy | default $root.Values.webhooks.failurePolicy }}{{ end }}
timeoutSeconds: {{ .overrides.timeoutSeconds | default $root.Values.webhooks.timeoutSeconds }}
{{- if eq .phase "mutate" }}
reinvocationPolicy: IfNeeded
{{- end }}
clientConfig:
  {{- with include "gapless.caBundle" $root }}
  caBundle: {{ . }}
  {{- end }}
  {{- with include "gapless.url" $root }}
  url: {{ . }}{{ $path }}
  {{- else }}
  service:
    name: {{ include "gapless.fullname" $root }}
    namespace: {{ $root.Release.Namespace | quote }}
    path: {{ $path }}
    port: 443
  {{- end }}
{{ include "gapless.namespaceSelector" . }}
rules:
  {{- if .services }}
  - apiGroups: [""]
    apiVersions: [v1]
    resources: [services]
    operations: [UPDATE]
    scope: Namespaced
  {{- else }}
  {{- include "gapless.rules" $root | nindent 2 }}
  {{- end }}
matchConditions:
  - name: not-being-deleted
    expression: "!has(object.metadata.deletionTimestamp)"
  {{- if not .services }}
  - name: changes-something
    expression: >-
      request.operation != 'UPDATE' || object.spec != oldObject.spec ||
      object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({}) ||
      object.metadata.?annotations.orValue({}) != oldObject.metadata.?annotations.orValue({}) ||
      object.metadata.?ownerReferences.orValue([]) != oldObject.metadata.?ownerReferences.orValue([])
  {{- else }}
  - name: selector-changes
    expression: >-
      has(object.spec.selector) &&
      (!has(oldObject.spec.selector) || object.spec.selector != oldObject.spec.selector)
  {{- end }}
{{- end -}}

{{/*
Annotations of both webhook configurations.

On AKS, the admissions enforcer adds selectors of its own to every webhook
configuration and owns the field from then on: Helm 4 would report a conflict at
the next upgrade, GitOps tools a drift for ever. What it protects, kube-system, is
excluded here anyway.
https://learn.microsoft.com/azure/aks/faq#can-admission-controller-webhooks-impact-kube-system-and-internal-aks-namespaces
*/}}
{{- define "gapless.webhookConfigurationAnnotations" -}}
admissions.enforcer/disabled: "true"
{{- if not (include "gapless.url" .) }}
gapless.dev/configuration: {{ .Release.Namespace }}/{{ include "gapless.fullname" . }}
{{- end }}
{{- if include "gapless.certManager" . }}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "gapless.fullname" . }}
{{- end }}
{{- end -}}
