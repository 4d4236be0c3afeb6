{{- define "kedge.name" -}}
{{- printf "%s" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "kedge.selector" -}}
app.kubernetes.io/name: kedge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kedge.labels" -}}
{{ include "kedge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* A pod. `root` is the chart's context, `role` what its process does, `component` its label. */}}
{{- define "kedge.pod" -}}
{{- $role := .role -}}
{{- $component := .component -}}
{{- with .root -}}
metadata:
  labels:
    {{- include "kedge.labels" . | nindent 4 }}
    app.kubernetes.io/component: {{ $component }}
  annotations:
    checksum/config: {{ .Values.config | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 60
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: kedge
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: ["run", "--config", "/etc/kedge/kedge.toml", "--role", {{ $role | quote }}]
      env:
        - {name: KEDGE_SERVICE__HOST, value: "0.0.0.0"}
        - {name: KEDGE_SERVICE__PORT, value: "8321"}
        {{- with .Values.publicUrl }}
        - {name: KEDGE_SERVICE__PUBLIC_URL, value: {{ . | quote }}}
        {{- end }}
        - name: KEDGE_SERVICE__DATABASE
          {{- if eq .Values.database.kind "sqlite" }}
          value: "sqlite:////var/lib/kedge/kedge.db"
          {{- else }}
          valueFrom:
            secretKeyRef: {name: {{ .Values.database.existingSecret }}, key: {{ .Values.database.key }}}
          {{- end }}
        - name: KEDGE_TOKEN
          valueFrom:
            secretKeyRef: {name: {{ .Values.token.existingSecret }}, key: {{ .Values.token.key }}}
      {{- with .Values.envFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: http, containerPort: 8321}
      # The first start compiles kernels and migrates tables.
      startupProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 20
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
      resources: {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/kedge, readOnly: true}
        - {name: data, mountPath: /var/lib/kedge}
        - {name: tmp, mountPath: /tmp}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "kedge.name" . }}}
    - name: tmp
      emptyDir: {}
    {{- if ne .Values.database.kind "sqlite" }}
    - name: data
      emptyDir: {}
    {{- end }}
{{- end -}}
{{- end -}}
