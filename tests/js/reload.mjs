// Uploads a file from a page in Chromium, which is reloaded during the upload:
// `node reload.mjs '{"browser": …, "endpoint": …, "file": …, "tokenId": …}'`.
// Prints the URL of the upload, the job id and the offsets as JSON.
import { readFileSync } from "node:fs";
import { withPage } from "./browser.mjs";

const wanted = JSON.parse(process.argv[2]);
const read = (name) => readFileSync(new URL(name, import.meta.url));
const files = {
  "/": ["text/html", read("page.html")],
  "/tus.js": ["text/javascript", read("node_modules/tus-js-client/dist/tus.min.js")],
  "/take": ["audio/wav", readFileSync(wanted.file)],
};

const { browser: executablePath, endpoint, tokenId, chunkSize, parallelUploads } = wanted;
const query = { endpoint, tokenId, chunkSize, parallelUploads };

await withPage({ executablePath, files, query }, async (page) => {
  if (wanted.reloadAt) {
    await page.waitForFunction((size) => window.accepted >= size, wanted.reloadAt);
    await page.reload();
  }
  await page.waitForFunction(() => window.done || window.failed, null, { timeout: 60000 });
  const result = await page.evaluate(() => ({
    url: window.done,
    failed: window.failed,
    jobId: window.jobId,
    offsets: window.offsets,
  }));
  console.log(JSON.stringify(result));
});
