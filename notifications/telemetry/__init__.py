"""Where traces, metrics and logs go, if anywhere: by OpenTelemetry's SDK."""
