// Runs the session of a generated client: `node session.mjs SESSION BASE_URL FILE`.
// SESSION is a compiled module. Prints what the session returns as JSON.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [session, baseUrl, file] = process.argv.slice(2);
const { run } = await import(pathToFileURL(session).href);
console.log(JSON.stringify(await run(baseUrl, new Blob([readFileSync(file)]))));
