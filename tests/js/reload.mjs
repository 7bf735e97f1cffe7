// Uploads a file from a page in Chromium, which is reloaded during the upload:
// `node reload.mjs '{"browser": …, "endpoint": …, "file": …, "tokenId": …}'`.
// Prints the URL of the upload, the job id and the offsets as JSON.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const wanted = JSON.parse(process.argv[2]);
const read = (name) => readFileSync(new URL(name, import.meta.url));
const files = {
  "/": ["text/html", read("page.html")],
  "/tus.js": ["text/javascript", read("node_modules/tus-js-client/dist/tus.min.js")],
  "/take": ["audio/wav", readFileSync(wanted.file)],
};

// The page has another origin than the gateway.
const server = createServer((request, response) => {
  const found = files[new URL(request.url, "http://page").pathname];
  if (!found) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": found[0] }).end(found[1]);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: wanted.browser,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = await browser.newPage();
  const { endpoint, tokenId, chunkSize, parallelUploads } = wanted;
  const query = new URLSearchParams({ endpoint, tokenId, chunkSize, parallelUploads });
  await page.goto(`http://127.0.0.1:${server.address().port}/?${query}`);
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
} finally {
  await browser.close();
  server.close();
}
