"""Storage of artifacts: URIs, object stores, and folders published whole or not at all."""

from workloads.storage.uris import (
    PVC_ROOT,
    check_output,
    digests_of,
    fetch,
    fetch_beside,
    local_path,
    name_below,
    publishing,
    remove_downloads,
    sha256_of,
    sync_tree,
    tree_digest,
    verify,
)

__all__ = [
    "PVC_ROOT",
    "check_output",
    "digests_of",
    "fetch",
    "fetch_beside",
    "local_path",
    "name_below",
    "publishing",
    "remove_downloads",
    "sha256_of",
    "sync_tree",
    "tree_digest",
    "verify",
]
