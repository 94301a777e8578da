{{- define "busway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters: names made of it have to fit into 63. It begins Services' names, which are stricter than a release's. */}}
{{- define "busway.fullname" -}}
{{- $name := include "busway.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- $full = $full | trunc 40 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "%q cannot begin the names of Services: they begin with a letter and have no dots. Set fullnameOverride, or name the release otherwise." $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "busway.operator" -}}
{{- include "busway.fullname" . }}-operator
{{- end -}}

{{- define "busway.selector" -}}
app.kubernetes.io/name: {{ include "busway.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Call with (list . COMPONENT). */}}
{{- define "busway.labels" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
app.kubernetes.io/name: {{ include "busway.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "busway.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}@{{ $image.digest }}{{- else -}}:{{ default .Chart.AppVersion $image.tag }}{{- end -}}
{{- end -}}

{{- define "busway.serviceAccount" -}}
{{- default (include "busway.operator" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* Those of an operator that does not look after all, as JSON. */}}
{{- define "busway.namespaces" -}}
{{- if eq .Values.scope.mode "own" -}}
{{- list .Release.Namespace | toJson -}}
{{- else -}}
{{- .Values.scope.namespaces | toJson -}}
{{- end -}}
{{- end -}}

{{- define "busway.testNamespace" -}}
{{- $namespaces := include "busway.namespaces" . | fromJsonArray -}}
{{- if .Values.test.namespace -}}
{{- if and (ne .Values.scope.mode "all") (not (has .Values.test.namespace $namespaces)) -}}
{{- fail (printf "test.namespace %q is not one that the operator looks after: %s" .Values.test.namespace (join ", " $namespaces)) -}}
{{- end -}}
{{- .Values.test.namespace -}}
{{- else if and (eq .Values.scope.mode "list") (not (has .Release.Namespace .Values.scope.namespaces)) -}}
{{- first .Values.scope.namespaces -}}
{{- else -}}
{{- .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* What Pod Security "restricted" asks of a container. No uid: the image has one, and OpenShift chooses its own. */}}
{{- define "busway.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end -}}

{{- define "busway.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}
