"""The rights that the chart gives: those that the code uses and no others."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.rendered import (
    ALL_VALUES,
    CLUSTER,
    DASK,
    NAMESPACE,
    NAMESPACED,
    OPERATOR,
    RELEASE,
    named,
    of_kind,
    rights,
    template,
)

from streampipeline_operator import cleanup, kube, leader, release, watch
from streampipeline_operator.resolve import not_granted
from streampipeline_operator.settings import Settings


def needs() -> dict[tuple[str, str], set[str]]:
    """What the operator's code asks of a pipeline's namespace, Secrets aside."""
    found: dict[tuple[str, str], set[str]] = {}

    def need(kind: kube.Kind, *verbs: str, part: str = "") -> None:
        group = kind.api_version.rpartition("/")[0]
        found.setdefault((group, kind.plural + part), set()).update(verbs)

    for kind in watch.WATCHED:
        need(kind, "list", "watch")
    for kind in cleanup.CHILDREN:
        need(kind, "list", "patch", "delete")
        need(kind, "create")  # applied or created where it is missing
    need(kube.PIPELINE, "get", "list", "watch", "patch")  # kopf's watch and finalizer; a fresh look
    need(kube.PIPELINE, "update", part="/status")
    need(kube.PIPELINE, "update", part="/finalizers")
    need(kube.DASK_CLUSTER, "get")
    need(kube.CONFIG_MAP, "get")
    found["", "events"] = {"create"}
    return found


SECRETS = {("", "secrets"): {"get", "create", "patch"}}


def test_the_operator_has_the_rights_that_its_code_uses_and_no_others() -> None:
    objects = template(CLUSTER)
    assert rights(named(objects, "ClusterRole", OPERATOR)["rules"]) == needs()
    assert rights(named(objects, "ClusterRole", f"{OPERATOR}-secrets")["rules"]) == SECRETS


def test_with_namespaces_it_has_them_by_a_role_in_each() -> None:
    roles = [r for r in of_kind(template(NAMESPACED), "Role") if r["metadata"]["name"] == OPERATOR]
    assert [role["metadata"]["namespace"] for role in roles] == ["wards", "clinics"]
    for role in roles:
        assert rights(role["rules"]) == needs() | SECRETS


@pytest.mark.parametrize("values", ALL_VALUES)
def test_the_lease_is_that_of_the_code(values: dict[str, Any]) -> None:
    role = named(template(values), "Role", f"{OPERATOR}-lease")
    assert role["metadata"]["namespace"] == NAMESPACE
    assert rights(role["rules"]) == {("coordination.k8s.io", "leases"): {"get", "update", "create"}}
    limited = [rule for rule in role["rules"] if "create" not in rule["verbs"]]
    assert [rule["resourceNames"] for rule in limited] == [[leader.LEASE_NAME]]


@pytest.mark.parametrize("values", ALL_VALUES)
def test_no_rule_has_a_wildcard(values: dict[str, Any]) -> None:
    for role in of_kind(template(values), "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
            assert not [text for texts in rule.values() for text in texts if "*" in text]


@pytest.mark.parametrize("values", ALL_VALUES)
def test_nobody_may_use_secrets_of_the_whole_cluster(values: dict[str, Any]) -> None:
    objects = template(values)
    bound = {body["roleRef"]["name"] for body in of_kind(objects, "ClusterRoleBinding")}
    aggregated = {
        role["metadata"]["name"]
        for role in of_kind(objects, "ClusterRole")
        if any("aggregate-to" in label for label in role["metadata"]["labels"])
    }
    for role in of_kind(objects, "ClusterRole"):
        resources = {resource for _, resource in rights(role["rules"])}
        if role["metadata"]["name"] in bound | aggregated:
            assert "secrets" not in resources
    assert f"{OPERATOR}-secrets" not in bound | aggregated


def test_with_namespaces_only_definitions_are_of_the_whole_cluster() -> None:
    objects = template(NAMESPACED | {"replicas": 2, "networkPolicy": {"enabled": True}})
    outside = [body for body in objects if "namespace" not in body["metadata"]]
    assert {body["kind"] for body in outside} == {"CustomResourceDefinition"}
    assert {b["metadata"]["namespace"] for b in objects if b not in outside} == {
        NAMESPACE,
        "wards",
        "clinics",
    }


def test_every_role_is_bound_to_an_account_of_the_release() -> None:
    for values in ALL_VALUES:
        objects = template(values)
        accounts = {(NAMESPACE, b["metadata"]["name"]) for b in of_kind(objects, "ServiceAccount")}
        names = {(b["kind"], b["metadata"]["name"]) for b in of_kind(objects, "Role", "ClusterRole")}
        for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
            assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in names
            subject = binding["subjects"][0]
            assert (subject["namespace"], subject["name"]) in accounts


def test_what_a_condition_says_about_secrets_grants_them() -> None:
    binding = named(template(CLUSTER), "RoleBinding", f"{OPERATOR}-secrets")
    assert binding["metadata"]["namespace"] == "wards"
    settings = Settings(namespace=NAMESPACE, identity="a", images={})
    remedy = not_granted(settings, "wards")
    assert f"rolebinding {binding['metadata']['name']} -n wards" in remedy
    assert f"--clusterrole={binding['roleRef']['name']} " in remedy
    assert f"--serviceaccount={NAMESPACE}:{binding['subjects'][0]['name']}`" in remedy


@pytest.mark.parametrize("values", [{}, NAMESPACED])
def test_the_hook_before_an_uninstall_may_do_its_work(values: dict[str, Any]) -> None:
    objects = template(values)
    hooks = [b for b in objects if "helm.sh/hook" in b["metadata"].get("annotations", {})]
    for body in hooks:
        assert body["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    job = named(hooks, "Job", RELEASE)
    for body in hooks:
        weight = int(body["metadata"]["annotations"]["helm.sh/hook-weight"])
        assert body is job or weight < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
    role = named(hooks, "Role" if values else "ClusterRole", RELEASE)
    kinds = (kube.PIPELINE, *release.DASK_KINDS)
    assert rights(role["rules"]) == {
        (kind.api_version.split("/")[0], kind.plural): {"list", "patch"} for kind in kinds
    }
    own = named(hooks, "Role", f"{RELEASE}-operators")
    assert rights(own["rules"]) == {
        ("apps", "deployments"): {"get"},
        ("apps", "deployments/scale"): {"patch"},
        ("", "pods"): {"list"},
        ("coordination.k8s.io", "leases"): {"delete"},
    }
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    named_there = {each.split("=")[1] for each in arguments if "operator=" in each}
    assert named_there == {b["metadata"]["name"] for b in of_kind(objects, "Deployment")}
    assert [e for e in arguments if "watched" in e] == [
        f"--watched={n}" for n in values.get("watchNamespaces", [])
    ]
    limited = [rule["resourceNames"] for rule in own["rules"] if rule["apiGroups"] == ["apps"]]
    assert limited == [[OPERATOR, DASK]] * 2


DASKS_OWN = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/templates/clusterrole.yaml"
NOT_NEEDED = {
    # What kopf looks for: other operators, new namespaces and definitions, webhooks.
    ("kopf.dev", "clusterkopfpeerings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("", "namespaces"),
    ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io/v1beta1", "validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io/v1beta1", "mutatingwebhookconfigurations"),
    # Pipelines have no jobs of Dask's, and their workers are not scaled by it.
    ("kubernetes.dask.org", "daskjobs/status"),
    ("kubernetes.dask.org", "daskworkergroups/scale"),
    # Parts that it reads with the whole.
    ("", "pods/status"),
    ("", "services/status"),
    ("apps", "deployments/status"),
    # Its events are switched off.
    ("", "events"),
    ("events.k8s.io", "events"),
}
"""What the chart in dask-kubernetes' wheel lets its operator do and this one does not."""


def test_rights_of_daskoperator_are_those_that_its_own_chart_gives_it_as_far_as_pipelines_need_them() -> None:
    """Fails when a new version of it asks for something else: look whether it is needed here."""
    text = Path(str(metadata.distribution("dask-kubernetes").locate_file(DASKS_OWN))).read_text()
    plain = "\n".join(line for line in text.splitlines() if "{{" not in line)
    theirs = rights(yaml.safe_load(plain)["rules"])
    ours = rights(named(template(CLUSTER), "ClusterRole", DASK)["rules"])
    assert theirs.keys() - ours.keys() == NOT_NEEDED
    # To own objects in a way that blocks the owner's end, where the API server asks for this right.
    more = {what: verbs for what, verbs in ours.items() if not what[1].endswith("/finalizers")}
    assert {
        what: beyond
        for what, verbs in more.items()
        if "*" not in theirs[what] and (beyond := verbs - theirs[what])
    } == {}
