// Watches a job with an EventSource in Chromium until the browser closes it:
// `node watch.mjs '{"browser": …, "url": …}'`. Prints a line when the first state has arrived, and
// at the end the statuses and the number of connections as JSON.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const wanted = JSON.parse(process.argv[2]);
const html = readFileSync(new URL("watch.html", import.meta.url));

// The page has another origin than the gateway.
const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "text/html" }).end(html);
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
  const query = new URLSearchParams({ url: wanted.url });
  await page.goto(`http://127.0.0.1:${server.address().port}/?${query}`);
  await page.waitForFunction(() => window.statuses.length > 0 || window.hasClosed);
  console.log("watching");
  await page.waitForFunction(() => window.hasClosed, null, { timeout: 90000 });
  const result = await page.evaluate(() => ({ statuses: window.statuses, opened: window.opened }));
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
  server.close();
}
