"""Open Inference Protocol v2 over gRPC: server, messages, flow control, health."""
