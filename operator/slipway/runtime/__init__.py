"""Parts of any Kubernetes operator, with none of our kinds: client, queue, cache, controller, lease, servers."""
