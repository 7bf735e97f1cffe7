// A session with the client that orval generates for fetch.
import {
  getAnalysisResult,
  getToken,
  getWatchAnalysisUrl,
  uploadAudioForm,
  type AnalysisOutput,
} from "./orval_client.js";
import { MISSING_TOKEN, progressOf, type Session } from "./sessions.js";

function scoreOf(result: AnalysisOutput | undefined) {
  return result && "overall_score" in result ? Number(result.overall_score) : undefined;
}

export async function run(baseUrl: string, recording: Blob): Promise<Session> {
  const token = await getToken(1);
  if (token.status !== 200) throw new Error(`Unexpected status ${token.status}`);
  const uploaded = await uploadAudioForm(
    token.data.id,
    { file: recording },
    { headers: { "Idempotency-Key": crypto.randomUUID(), "Accept-Language": "en" } },
  );
  if (uploaded.status !== 200) throw new Error(uploaded.data.message);
  const jobId = uploaded.data.job_id;
  // orval's function parses every body as JSON, which an event stream is not.
  const events = await (await fetch(getWatchAnalysisUrl(jobId))).text();
  const ended = await getAnalysisResult(jobId);
  if (ended.status !== 200) throw new Error(`Unexpected status ${ended.status}`);
  const missing = await getToken(MISSING_TOKEN);
  if (missing.status !== 404) throw new Error(`Unexpected status ${missing.status}`);
  return {
    jobId,
    progress: progressOf(events),
    status: ended.data.status,
    overallScore: scoreOf(ended.data.result),
    error: { status: missing.status, reason: missing.data.details[0]?.reason },
  };
}
