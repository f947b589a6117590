{{/* What the operator does in a pipeline's namespace. tests/unit/test_chart.py holds it against the code. */}}
{{- define "streampipeline.operatorRules" -}}
- apiGroups: [streampipeline.io]
  resources: [streampipelines]
  verbs: [get, list, watch, patch]
- apiGroups: [streampipeline.io]
  resources: [streampipelines/status]
  verbs: [update]
# To own objects in a way that blocks the pipeline's end, where the API server asks for this right.
- apiGroups: [streampipeline.io]
  resources: [streampipelines/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods, services]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* Not to list them: only those that a spec names, and the pipelines' own. */}}
{{- define "streampipeline.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
{{- end }}

{{/*
What Dask's operator does for DaskClusters and their workers. Its other kinds, DaskJob and DaskAutoscaler, it only
watches: it would not start otherwise, and pipelines use neither.
*/}}
{{- define "streampipeline.daskRules" -}}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [get, list, watch, patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskworkergroups]
  verbs: [get, list, watch, create, patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/finalizers, daskworkergroups/finalizers]
  verbs: [update]
- apiGroups: [kubernetes.dask.org]
  resources: [daskjobs, daskautoscalers]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, create, delete]
{{- end }}

{{/* What the hook before an uninstall does in pipelines' namespaces: take finalizers off. */}}
{{- define "streampipeline.releaseRules" -}}
- apiGroups: [streampipeline.io]
  resources: [streampipelines]
  verbs: [list, patch]
{{- if .Values.daskOperator.enabled }}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters, daskworkergroups, daskautoscalers]
  verbs: [list, patch]
{{- end }}
{{- end }}
