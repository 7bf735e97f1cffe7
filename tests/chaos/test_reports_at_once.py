"""Reports of one job that reach two replicas at once: one wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx

from services.analysis.webhook import Webhook
from sori.analysis.v1 import analysis_pb2 as pb
from sori.analysis.v1 import analysis_pb2_grpc
from tests.chaos.world import World, client_channel, eventually


def test_one_of_two_reports_at_once_wins(world: World) -> None:
    world.double.behave("is_silent")
    takes = world.upload_many(10)
    eventually(lambda: all(world.double.dispatches(take.job_id) for take in takes))
    key = world.stack.environment["WEBHOOK_SIGNING_KEY"]
    webhook = Webhook("http://localhost", key, signature_required=True)

    def report(job_id: str, replica: str) -> pb.ReportAnalysisResponse:
        request = pb.ReportAnalysisRequest(job_id=job_id)
        request.signature = httpx.URL(webhook.url_for(UUID(job_id))).params["signature"]
        request.report.analysis_results["replica"] = replica
        with client_channel(world.stack.address(replica)) as channel:
            return analysis_pb2_grpc.AnalysisServiceStub(channel).ReportAnalysis(request)

    replicas = ("analysis", "analysis-2")
    with ThreadPoolExecutor(2 * len(takes)) as pool:
        answers = {
            take.job_id: [pool.submit(report, take.job_id, replica) for replica in replicas]
            for take in takes
        }
    results = world.results(takes)
    for job_id, both in answers.items():
        effects = [answer.result().effect for answer in both]
        assert sorted(effects) == [pb.REPORT_EFFECT_APPLIED, pb.REPORT_EFFECT_REPEATED]
        winner = replicas[effects.index(pb.REPORT_EFFECT_APPLIED)]
        assert results[job_id] == {"replica": winner}
    assert {len(ends) for ends in world.ends_of(takes).values()} == {1}
