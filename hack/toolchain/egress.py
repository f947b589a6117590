"""What keeps a cluster's traffic on this machine.

A cluster built without a registry of images has all it needs; that nothing in it reaches the outside also
shows that what is installed there needs no internet.
"""

from __future__ import annotations

import json
import re
import subprocess

from toolchain.docker import Docker
from toolchain.kind_cluster import Cluster

NETWORK = "kind"
COMMENT = "streampipeline"
INSIDE = "cluster.local:53 in-addr.arpa:53 ip6.arpa:53"


def refuse(docker: Docker) -> None:
    """Refuse what containers of kind's network send to anything but each other and this machine."""
    rule = _rule(docker)
    if rule is not None and not _iptables("-C", *rule):
        _iptables("-I", *rule)


def allow(docker: Docker) -> None:
    """Take the rule away."""
    rule = _rule(docker)
    while rule is not None and _iptables("-D", *rule):
        pass


def close_names(cluster: Cluster) -> None:
    """Let the cluster's name server deny other names at once, instead of asking in vain for seconds.

    Raises:
        DockerError: the cluster refuses it.
    """
    space = ("--namespace", "kube-system")
    found = json.loads(cluster.kubectl("get", "configmap", "coredns", *space, "--output", "json"))
    found["data"]["Corefile"] = closed_corefile(found["data"]["Corefile"])
    cluster.kubectl("replace", "--filename", "-", stdin=json.dumps(found))
    cluster.kubectl(
        "delete", "pods", "--selector", "k8s-app=kube-dns", *space
    )  # it reads its file again late


def closed_corefile(text: str) -> str:
    """The Corefile that kubeadm writes, without forwarding: other names than the cluster's do not exist."""
    inside = re.sub(r"^ *forward [^{\n]*(\{[^}]*\})?\n", "", text, flags=re.MULTILINE)
    inside = inside.replace(".:53 {", INSIDE + " {", 1)
    return inside + ".:53 {\n    errors\n    template ANY ANY {\n        rcode NXDOMAIN\n    }\n}\n"


def _rule(docker: Docker) -> list[str] | None:
    network = docker.inspect("network", NETWORK)
    if network is None:
        return None
    bridge = f"br-{network['Id'][:12]}"  # docker's own name for it
    match = ["DOCKER-USER", "-i", bridge, "!", "-o", bridge, "-m", "comment", "--comment", COMMENT]
    return [*match, "-j", "REJECT", "--reject-with", "icmp-admin-prohibited"]


def _iptables(action: str, *rule: str) -> bool:
    answer = subprocess.run(["iptables", "-w", action, *rule], capture_output=True, check=False)
    return answer.returncode == 0
