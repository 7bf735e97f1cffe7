// A real OpenID provider for tests. Argument: JSON with issuer, port, jwks, clients, and whether
// id tokens have the claims of scopes (claimsInIdToken).
//
// `PUT /person` chooses the person who logs in next: claims with `sub`, or {"declines": true}.
// `GET /key-requests` returns how often the keys were requested.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const options = JSON.parse(process.argv[2]);
const people = new Map();
let person = { declines: true };

const provider = new Provider(options.issuer, {
  clients: options.clients,
  jwks: options.jwks,
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  conformIdTokenClaims: !options.claimsInIdToken,
  cookies: { keys: ["a secret of the tests"] },
  features: { devInteractions: { enabled: false } },
  findAccount: (context, sub) => ({ accountId: sub, claims: () => people.get(sub) }),
  interactions: { url: (context, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
});

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

async function choosePerson(request, response) {
  person = await readBody(request);
  if (person.sub) people.set(person.sub, person);
  response.writeHead(204).end();
}

// Logs in without a page, and consents to everything.
async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  let result;
  if (person.declines) {
    result = { error: "access_denied" };
  } else if (prompt.name === "login") {
    result = { login: { accountId: person.sub } };
  } else {
    const grant = new provider.Grant({
      accountId: session.accountId,
      clientId: params.client_id,
    });
    grant.addOIDCScope(params.scope);
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(request, response, result, {
    mergeWithLastSubmission: true,
  });
}

const respond = provider.callback();
let keyRequests = 0;
createServer((request, response) => {
  if (request.url === "/jwks") keyRequests += 1;
  if (request.method === "PUT" && request.url === "/person") choosePerson(request, response);
  else if (request.url === "/key-requests") response.end(String(keyRequests));
  else if (request.url.startsWith("/interaction/")) interact(request, response);
  else respond(request, response);
}).listen(options.port, "127.0.0.1", () => console.log("ready"));

// The provider ends with the test that started it.
process.stdin.on("end", () => process.exit(0)).resume();
