{{/*
What a profile says, as far as the policies hang on it, as JSON: its ancestors first, then
what is written about itself. Takes a dict:
  root  the root context
  file  what gapless export wrote: with the built-in profiles
  name  name of the profile
What is written is taken field by field: a merge of Helm would leave out false and [].
*/}}
{{- define "gapless.backstopProfile" -}}
{{- $written := get (.root.Values.config.profiles | default dict) .name | default dict -}}
{{- $profile := dict -}}
{{- if hasKey .file.profiles .name -}}
{{- $profile = get .file.profiles .name | deepCopy -}}
{{- else if eq .name "advisory" -}}
{{- /* production, as warnings. */ -}}
{{- $profile = include "gapless.backstopProfile" (merge (dict "name" "production") .) | fromJson -}}
{{- if eq $profile.mode "Enforce" -}}
{{- $_ := set $profile "mode" "Warn" -}}
{{- end -}}
{{- else -}}
{{- $profile = include "gapless.backstopProfile" (merge (dict "name" $written.extends) .) | fromJson -}}
{{- end -}}
{{- range $part := list
  (dict "into" $profile "from" $written "keys" (list "mode" "waivers"))
  (dict "into" $profile.rules "from" $written.rules "keys" (keys $profile.rules))
  (dict "into" $profile.settings "from" $written.settings "keys" (keys $profile.settings))
  (dict "into" (get $profile.defaults "pre-stop-sleep") "from" (get ($written.defaults | default dict) "pre-stop-sleep")
    "keys" (list "enabled" "seconds" "raiseGracePeriod"))
-}}
{{- range $key := $part.keys -}}
{{- $value := get ($part.from | default dict) $key -}}
{{- if and (hasKey ($part.from | default dict) $key) (not (kindIs "invalid" $value)) -}}
{{- $_ := set $part.into $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $profile -}}
{{- end -}}

{{/*
The rules by which a profile denies, as a sorted JSON array. A bare Off has become false.
*/}}
{{- define "gapless.backstopDenies" -}}
{{- $denies := list -}}
{{- if eq (toString .mode) "Enforce" -}}
{{- range $rule, $action := .rules -}}
{{- if eq (toString $action) "Deny" -}}
{{- $denies = append $denies $rule -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $denies -}}
{{- end -}}

{{/* Names as a list of CEL: that is what a JSON array of texts is. */}}
{{- define "gapless.backstopNames" -}}
{{- . | default list | uniq | sortAlpha | toRawJson -}}
{{- end -}}
