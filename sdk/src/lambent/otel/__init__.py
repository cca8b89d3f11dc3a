"""The bridge to OpenTelemetry: loaded only where something of OpenTelemetry's was given to lambent."""
