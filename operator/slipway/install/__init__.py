"""An installation: the objects of manifests/base for a registry, a namespace and the namespaces to work in."""
