"""Concurrent reports of one job at two replicas: exactly one is applied."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sori.analysis.v1 import analysis_pb2 as pb
from tests.chaos.cluster_fixture import Cluster, eventually


def test_one_of_two_concurrent_reports_is_applied(cluster: Cluster) -> None:
    cluster.analysis_server.behave("is_silent")
    takes = cluster.upload_many(10)
    eventually(lambda: all(cluster.analysis_server.dispatches(take.job_id) for take in takes))
    replicas = ("analysis", "analysis-2")
    with ThreadPoolExecutor(2 * len(takes)) as pool:
        answers = {
            take.job_id: [pool.submit(cluster.report, take, replica) for replica in replicas]
            for take in takes
        }
    results = cluster.results(takes)
    for job_id, futures in answers.items():
        effects = [answer.result().effect for answer in futures]
        assert sorted(effects) == [pb.REPORT_EFFECT_APPLIED, pb.REPORT_EFFECT_REPEATED]
        winner = replicas[effects.index(pb.REPORT_EFFECT_APPLIED)]
        assert results[job_id] == {"replica": winner}
    assert {len(ends) for ends in cluster.final_transitions(takes).values()} == {1}
