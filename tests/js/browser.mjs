// Chromium on a page of its own origin, which is not that of the gateway.
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// Opens the page "/" with this query and calls `use` with it.
// executablePath: of the browser; files: [media type, content] by path.
export async function withPage({ executablePath, files, query = {} }, use) {
  const server = createServer((request, response) => {
    const found = files[new URL(request.url, "http://page").pathname];
    if (!found) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": found[0] }).end(found[1]);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/?${new URLSearchParams(query)}`;
  try {
    await withUrl({ executablePath, url }, use);
  } finally {
    server.close();
  }
}

// Opens a URL and calls `use` with the page.
export async function withUrl({ executablePath, url }, use) {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    const page = await browser.newPage();
    await page.goto(url);
    await use(page);
  } finally {
    await browser.close();
  }
}
