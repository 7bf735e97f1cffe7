// Uploads a file with tus-js-client in Node: `node upload.mjs '{"endpoint": …}'`.
// Prints what became of it as JSON.
import { createReadStream, statSync } from "node:fs";
import { PassThrough } from "node:stream";
import * as tus from "tus-js-client";

const asked = JSON.parse(process.argv[2]);

function started(options) {
  return new Promise((resolve, reject) => {
    const statuses = [];
    let jobId;
    const file = createReadStream(asked.file);
    // Of a file the client would know the size.
    const content = asked.deferred ? file.pipe(new PassThrough()) : file;
    const upload = new tus.Upload(content, {
      endpoint: asked.endpoint,
      uploadSize: asked.deferred ? undefined : statSync(asked.file).size,
      uploadLengthDeferred: asked.deferred ?? false,
      chunkSize: asked.chunkSize ?? Infinity,
      metadata: asked.metadata,
      retryDelays: [0, 200, 500, 1000],
      onAfterResponse: (request, response) => {
        statuses.push(`${request.getMethod()} ${response.getStatus()}`);
        jobId = response.getHeader("X-Job-Id") ?? jobId;
      },
      onError: reject,
      onSuccess: () => resolve({ url: upload.url, jobId, statuses }),
      ...options(() => upload, resolve, statuses),
    });
    upload.start();
  });
}

async function cutOnce() {
  const first = await started((upload, resolve, statuses) => ({
    onChunkComplete: async (size, accepted) => {
      if (accepted < asked.cutAt) return;
      await upload().abort();
      resolve({ url: upload().url, statuses });
    },
  }));
  const second = await started(() => ({ uploadUrl: first.url }));
  return { ...second, statuses: [...first.statuses, ...second.statuses] };
}

const result = asked.cutAt ? await cutOnce() : await started(() => ({}));
console.log(JSON.stringify(result));
