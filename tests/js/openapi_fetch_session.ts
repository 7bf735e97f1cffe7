// A session with openapi-fetch and the types that openapi-typescript generates.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";
import { MISSING_TOKEN, present, progressOf, type Session } from "./sessions.js";

function scoreOf(result: components["schemas"]["AnalysisOutput"] | undefined) {
  return result && "overall_score" in result ? Number(result.overall_score) : undefined;
}

// openapi-typescript gives binary data the type of a string.
function form(recording: Blob) {
  return {
    body: { file: recording as unknown as string },
    bodySerializer: () => {
      const data = new FormData();
      data.append("file", recording, "take.wav");
      return data;
    },
  };
}

export async function run(baseUrl: string, recording: Blob): Promise<Session> {
  const client = createClient<paths>({ baseUrl });
  const token = present(
    (await client.GET("/tokens/{id}", { params: { path: { id: 1 } } })).data,
  );
  const uploaded = await client.POST("/tokens/{token_id}/upload-audio", {
    params: {
      path: { token_id: token.id },
      header: { "Idempotency-Key": crypto.randomUUID(), "Accept-Language": "en" },
    },
    ...form(recording),
  });
  const path = { job_id: present(uploaded.data).job_id };
  const events = await client.GET("/tokens/analysis-progress/{job_id}", {
    params: { path },
    parseAs: "text",
  });
  const ended = present(
    (await client.GET("/tokens/analysis-result/{job_id}", { params: { path } })).data,
  );
  const missing = await client.GET("/tokens/{id}", { params: { path: { id: MISSING_TOKEN } } });
  return {
    jobId: path.job_id,
    progress: progressOf(present(events.data)),
    status: ended.status,
    overallScore: scoreOf(ended.result),
    error: { status: missing.response.status, reason: missing.error?.details[0]?.reason },
  };
}
