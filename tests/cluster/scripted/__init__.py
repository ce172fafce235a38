"""A scripted kubelet and scheduler: pods of a bare control plane live and die as a test wants."""
