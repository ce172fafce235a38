"""What every Kubernetes operator needs and none of our kinds: client, queue, cache, controller, lease, servers."""
