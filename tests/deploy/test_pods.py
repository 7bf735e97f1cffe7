"""Every pod is restricted, probed, and shuts down without losing calls."""

from __future__ import annotations

import pytest

from gateway.drain import parser as gateway_arguments
from services.registry import MIGRATED_SERVICES, SERVICES
from services.runtime.health import LIVENESS
from services.version import product_version
from tests.deploy.rendering import Pod, Rendering

HEALTH_NAMES = {LIVENESS} | {name for service in SERVICES for name in service.proto_services}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
LONG_RUNNING = ("Deployment", "StatefulSet")
# Time after the last call to close connections, clean up and write logs.
MARGIN_SECONDS = 5


def test_images_have_the_product_version(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for container in pod.containers:
            name, _, tag = container["image"].rpartition(":")
            assert name
            assert tag != "latest"
            assert tag == product_version() or not name.startswith("sori/")


def test_pods_pass_pod_security_restricted(rendering: Rendering) -> None:
    namespace = rendering.named("Namespace", "sori")["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in rendering.pods:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not any("hostPort" in port for port in container.get("ports", []))
        for volume in pod.spec.get("volumes", []):
            assert volume.keys() & {"emptyDir", "secret", "configMap"}


def test_no_pod_has_an_api_server_token(rendering: Rendering) -> None:
    for pod in rendering.pods:
        assert pod.spec["automountServiceAccountToken"] is False
    for account in rendering.of_kind("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    named = {pod.spec["serviceAccountName"] for pod in rendering.own_pods}
    assert named == {each["metadata"]["name"] for each in rendering.of_kind("ServiceAccount")}


def test_every_container_has_requests_and_a_memory_limit(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for container in pod.containers:
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys()
            assert bytes_of(resources["requests"]["memory"]) <= bytes_of(
                resources["limits"]["memory"]
            )


def test_empty_dirs_have_a_size_limit(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"]


def test_every_long_running_pod_is_probed_on_a_port_it_listens_on(rendering: Rendering) -> None:
    for pod in rendering.pods:
        if pod.kind not in LONG_RUNNING:
            continue
        for name in PROBES:
            probe = pod.container[name]
            if "exec" in probe:
                continue
            (how,) = (probe[kind] for kind in ("grpc", "httpGet", "tcpSocket") if kind in probe)
            assert pod.resolved(how["port"]) in listened(rendering, pod)


def test_probes_use_health_names_of_the_services(rendering: Rendering) -> None:
    for pod in rendering.services:
        probes = {name: pod.container[name]["grpc"]["service"] for name in PROBES}
        assert set(probes.values()) <= HEALTH_NAMES
        # A restart neither repairs a dependency nor speeds up a start.
        assert probes["livenessProbe"] == probes["startupProbe"] == LIVENESS
        assert probes["readinessProbe"] != LIVENESS


def test_pods_have_enough_time_to_shut_down(rendering: Rendering) -> None:
    for pod in rendering.services:
        environment = rendering.environment(pod.container)
        seconds = sum(
            float(environment[name])
            for name in ("SHUTDOWN_DELAY_SECONDS", "SHUTDOWN_GRACE_SECONDS")
        )
        assert pod.spec["terminationGracePeriodSeconds"] >= seconds + MARGIN_SECONDS
    gateway = rendering.pod("gateway")
    given = gateway_arguments("gateway", None).parse_known_args(gateway.container["args"])[0]
    seconds = given.delay_seconds + given.drain_seconds
    assert gateway.spec["terminationGracePeriodSeconds"] >= seconds + MARGIN_SECONDS


def test_services_delay_their_shutdown_until_gateways_notice(rendering: Rendering) -> None:
    # Gateways notice by health, checked every second, or by DNS, cached for 5 s.
    for pod in rendering.services:
        assert float(rendering.environment(pod.container)["SHUTDOWN_DELAY_SECONDS"]) > 5


def test_a_gateway_drains_as_long_as_the_upload_service(rendering: Rendering) -> None:
    upload = rendering.environment(rendering.pod("upload").container)
    arguments = rendering.pod("gateway").container["args"]
    given = gateway_arguments("gateway", None).parse_known_args(arguments)[0]
    assert given.drain_seconds >= float(upload["SHUTDOWN_GRACE_SECONDS"])


def test_selectors_match_pods(rendering: Rendering) -> None:
    for service in rendering.of_kind("Service"):
        (pod,) = rendering.selected(service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert pod.resolved(port.get("targetPort", port["port"])) in pod.ports.values()
    for workload in rendering.of_kind("Deployment", "StatefulSet"):
        selector = workload["spec"]["selector"]["matchLabels"]
        assert [str(pod) for pod in rendering.selected(selector)] == [str(Pod(workload))]
    for budget in rendering.of_kind("PodDisruptionBudget"):
        assert len(rendering.selected(budget["spec"]["selector"]["matchLabels"])) == 1
    for monitor in rendering.of_kind("PodMonitor"):
        pods = rendering.selected(monitor["spec"]["selector"]["matchLabels"])
        assert pods
        for pod, endpoint in (
            (pod, endpoint) for pod in pods for endpoint in monitor["spec"]["podMetricsEndpoints"]
        ):
            assert endpoint["port"] in pod.ports


def test_replicas_are_spread_by_labels_that_exist(rendering: Rendering) -> None:
    for pod in (*rendering.services, rendering.pod("gateway")):
        for constraint in pod.spec["topologySpreadConstraints"]:
            selector = constraint["labelSelector"]["matchLabels"]
            assert selector.items() <= pod.labels.items()
            assert set(constraint["matchLabelKeys"]) - {"pod-template-hash"} <= pod.labels.keys()


@pytest.mark.parametrize("topology", ["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
def test_production_survives_the_loss_of_a_node_and_of_a_zone(
    rendering: Rendering, topology: str
) -> None:
    if rendering.name == "local":
        pytest.skip("the local overlay runs on one node")
    for pod in (*rendering.services, rendering.pod("gateway")):
        keys = {each["topologyKey"] for each in pod.spec["topologySpreadConstraints"]}
        assert topology in keys


def test_a_node_can_always_be_drained(rendering: Rendering) -> None:
    budgets = {
        pod.name: budget["spec"]["maxUnavailable"]
        for budget in rendering.of_kind("PodDisruptionBudget")
        for pod in rendering.selected(budget["spec"]["selector"]["matchLabels"])
    }
    for pod in (*rendering.services, rendering.pod("gateway")):
        assert 1 <= budgets[pod.name] < replicas(rendering, pod)


def test_autoscalers_target_deployments_with_at_least_three_replicas(rendering: Rendering) -> None:
    if rendering.name == "local":
        pytest.skip("the local overlay does not scale")
    targets = set()
    for scaler in rendering.of_kind("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        deployment = rendering.named(target["kind"], target["name"])
        # Otherwise every release would reset the number.
        assert "replicas" not in deployment["spec"]
        assert scaler["spec"]["minReplicas"] >= 3
        targets.add(target["name"])
    assert targets == {pod.name for pod in (*rendering.services, rendering.pod("gateway"))}


def test_migrations_run_first_and_pods_wait_for_them(rendering: Rendering) -> None:
    jobs = {
        job["metadata"]["name"]: int(job["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for job in rendering.of_kind("Job")
    }
    assert jobs.keys() == {f"migrate-{name}" for name in MIGRATED_SERVICES}
    assert max(jobs.values()) < 0
    for pod in rendering.services:
        (waiting,) = pod.spec["initContainers"]
        module, flag, service = waiting["args"]
        assert (module, flag) == ("services.runtime.migrations", "--wait")
        assert service == pod.container["args"][0].removeprefix("services.")
        # The init container is of the same release.
        assert waiting["image"] == pod.container["image"]


def listened(rendering: Rendering, pod: Pod) -> set[int]:
    """The ports that a pod listens on: the named ones, and the one for health checks."""
    health = rendering.environment(pod.container).get("HEALTH_LISTEN", "")
    return {*pod.ports.values(), *(int(port) for port in [health.rpartition(":")[2]] if port)}


def replicas(rendering: Rendering, pod: Pod) -> int:
    scalers = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]["minReplicas"]
        for scaler in rendering.of_kind("HorizontalPodAutoscaler")
    }
    return int(scalers.get(pod.name) or pod.owner["spec"]["replicas"])


def bytes_of(quantity: str) -> int:
    units = {"Mi": 1024**2, "Gi": 1024**3}
    return int(quantity[:-2]) * units[quantity[-2:]]
