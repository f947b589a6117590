{{- define "streampipeline.daskOperator" -}}
streampipeline-dask-operator
{{- end }}

{{- define "streampipeline.release" -}}
streampipeline-release
{{- end }}

{{/* What selects the pods of one part: dict root, component. */}}
{{- define "streampipeline.selector" -}}
app.kubernetes.io/name: streampipeline
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of one part: dict root, component. */}}
{{- define "streampipeline.labels" -}}
{{ include "streampipeline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Reference of an image: dict root, name (of the image), override. */}}
{{- define "streampipeline.image" -}}
{{- with .root.Values.image -}}
{{- $tag := .tag | default $.root.Chart.AppVersion -}}
{{- $made := printf "%s/%s:%s" .repository $.name $tag -}}
{{- $.override | default (ternary (printf "%s/%s" .registry $made) $made (ne .registry "")) -}}
{{- end -}}
{{- end }}

{{/* What the pods of all operators have in common: dict root, account, grace. */}}
{{- define "streampipeline.pod" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "streampipeline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/*
Rights of a ServiceAccount of this release on what is in the pipelines' namespaces: cluster-wide, or by a Role in
each of watchNamespaces. dict root, component, account, rules (YAML), annotations (YAML, may be empty).
*/}}
{{- define "streampipeline.grant" -}}
{{- $namespaced := .root.Values.watchNamespaces }}
{{- range $namespaced | default (list "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "Role" "ClusterRole" (ne . "") }}
metadata:
  {{- include "streampipeline.grantMetadata" (dict "namespace" . "grant" $) | nindent 2 }}
rules: {{- $.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne . "") }}
metadata:
  {{- include "streampipeline.grantMetadata" (dict "namespace" . "grant" $) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "Role" "ClusterRole" (ne . "") }}
  name: {{ $.account }}
subjects:
  - kind: ServiceAccount
    name: {{ $.account }}
    namespace: {{ $.root.Release.Namespace }}
{{- end }}
{{- end }}

{{- define "streampipeline.grantMetadata" -}}
name: {{ .grant.account }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels: {{- include "streampipeline.labels" .grant | nindent 2 }}
{{- with .grant.annotations }}
annotations: {{- . | nindent 2 }}
{{- end }}
{{- end }}
