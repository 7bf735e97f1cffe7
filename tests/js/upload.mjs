// Uploads a file with tus-js-client in Node: `node upload.mjs '{"endpoint": …}'`.
// Prints the URL of the upload, the job id and the HTTP statuses as JSON.
import { createReadStream, statSync } from "node:fs";
import { PassThrough } from "node:stream";
import * as tus from "tus-js-client";

const wanted = JSON.parse(process.argv[2]);

function upload(options) {
  return new Promise((resolve, reject) => {
    const statuses = [];
    let jobId;
    const file = createReadStream(wanted.file);
    // The client knows the size of a file, but not of a stream.
    const content = wanted.deferred ? file.pipe(new PassThrough()) : file;
    const tusUpload = new tus.Upload(content, {
      endpoint: wanted.endpoint,
      uploadSize: wanted.deferred ? undefined : statSync(wanted.file).size,
      uploadLengthDeferred: wanted.deferred ?? false,
      chunkSize: wanted.chunkSize ?? Infinity,
      metadata: wanted.metadata,
      retryDelays: [0, 200, 500, 1000],
      onAfterResponse: (request, response) => {
        statuses.push(`${request.getMethod()} ${response.getStatus()}`);
        jobId = response.getHeader("X-Job-Id") ?? jobId;
      },
      onError: reject,
      onSuccess: () => resolve({ url: tusUpload.url, jobId, statuses }),
      ...options(() => tusUpload, resolve, statuses),
    });
    tusUpload.start();
  });
}

async function interruptOnce() {
  const first = await upload((current, resolve, statuses) => ({
    onChunkComplete: async (size, accepted) => {
      if (accepted < wanted.interruptAt) return;
      await current().abort();
      resolve({ url: current().url, statuses });
    },
  }));
  const second = await upload(() => ({ uploadUrl: first.url }));
  return { ...second, statuses: [...first.statuses, ...second.statuses] };
}

const result = wanted.interruptAt ? await interruptOnce() : await upload(() => ({}));
console.log(JSON.stringify(result));
