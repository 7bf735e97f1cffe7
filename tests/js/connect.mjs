// Calls rpcs from a page in Chromium by gRPC-Web or Connect:
// `node connect.mjs '{"browser": …, "baseUrl": …, "protocol": …, "services": […], "descriptors": …}'`.
// Prints the outcome of each rpc as JSON.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { withPage } from "./browser.mjs";

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

await withPage({ executablePath: wanted.browser, files }, async (page) => {
  console.log(JSON.stringify(await page.evaluate((given) => window.callAll(given), wanted)));
});
