"""A real Kubernetes on one bare Debian 12 machine: a control plane and two nodes, each in namespaces of its own."""
