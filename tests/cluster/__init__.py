"""The clusters that Slipway is tried on.

From a shell, in the repository's root:

    python -m tests.cluster up | down | status | images

From a test that needs a whole cluster, with real pods:

    from tests.cluster.choose import choose

    cluster = choose()                                     # KUBE_CONTEXT, else kind, else the local one
    cluster.up()                                           # a second when it is up already
    cluster.kubeconfig, cluster.context                    # for kubectl and clients; context None = the current one
    cluster.fail_node("slipway-node-1")                    # the local one only: power cut; recover_node boots it again
    cluster.isolate_node("slipway-node-1")                 # the local one only: its pods run on, unseen; rejoin_node

From a test, a control plane without nodes (needs no root once the caches are warm; start 5 to 10 s, stop at once):

    from tests.cluster.local.control_plane import ControlPlane

    with ControlPlane(tmp_path, audit=True) as plane:      # start it in the main thread: it dies with that thread
        plane.kubeconfig                                   # Path, the administrator's
        plane.kubeconfig_for_user("eve", ["devs"])         # Path; holds only what RBAC grants
        plane.kubeconfig_for_service_account("ns", "sa")   # Path, carries a fresh token
        plane.token("ns", "sa", ["audience"], pod=pod)     # str, as the kubelet projects it
        plane.audit_events("slipway")                      # finished requests, by a part of their user agent
        plane.client.get("/api/v1/nodes")                  # small synchronous client
        plane.process("kube-apiserver").stop()             # then plane.start() brings back what is missing

    ControlPlane(tmp_path, controller_manager=["--kube-api-qps=1000", "--kube-api-burst=2000"])
    ControlPlane(tmp_path, controller_manager=None)        # without controller manager: the fastest start

Pods on such a control plane are moved by tests.cluster.scripted.kubelet.ScriptedKubelet (its docstring shows how).
"""
