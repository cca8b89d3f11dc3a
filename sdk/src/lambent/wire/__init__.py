"""Finished spans as bytes: OTLP in protobuf and in JSON."""
