// Calls rpcs from a page in Chromium by gRPC-Web or Connect:
// `node connect.mjs '{"browser": …, "baseUrl": …, "protocol": …, "services": […], "descriptors": …}'`.
// Prints the outcome of each rpc as JSON.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const wanted = JSON.parse(process.argv[2]);
const bundle = await build({
  entryPoints: [fileURLToPath(new URL("connect_page.js", import.meta.url))],
  bundle: true,
  format: "iife",
  write: false,
});
const files = {
  "/": ["text/html", '<!doctype html><title>rpcs</title><script src="/page.js"></script>'],
  "/page.js": ["text/javascript", bundle.outputFiles[0].contents],
  "/descriptors": ["application/octet-stream", readFileSync(wanted.descriptors)],
};

// The page has another origin than the gateway.
const server = createServer((request, response) => {
  const found = files[request.url];
  if (!found) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": found[0] }).end(found[1]);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: wanted.browser,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  console.log(JSON.stringify(await page.evaluate((given) => window.callAll(given), wanted)));
} finally {
  await browser.close();
  server.close();
}
