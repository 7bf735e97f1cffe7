// Watches a job with an EventSource in Chromium until the browser closes it:
// `node watch.mjs '{"browser": …, "url": …}'`. Prints a line when the first state has arrived, and
// at the end the statuses and the number of connections as JSON.
import { readFileSync } from "node:fs";
import { withPage } from "./browser.mjs";

const wanted = JSON.parse(process.argv[2]);
const files = { "/": ["text/html", readFileSync(new URL("watch.html", import.meta.url))] };
const options = { executablePath: wanted.browser, files, query: { url: wanted.url } };

await withPage(options, async (page) => {
  await page.waitForFunction(() => window.statuses.length > 0 || window.hasClosed);
  console.log("watching");
  await page.waitForFunction(() => window.hasClosed, null, { timeout: 90000 });
  const result = await page.evaluate(() => ({ statuses: window.statuses, opened: window.opened }));
  console.log(JSON.stringify(result));
});
