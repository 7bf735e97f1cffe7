// Registers a passkey of Chromium's virtual authenticator, and logs in with it:
// `node passkeys.mjs '{"browser": …, "url": …, "functions": …, "email": …, "password": …}'`.
// functions: the JavaScript of docs/accounts.md. Prints the answers as JSON.
import { withUrl } from "./browser.mjs";

const wanted = JSON.parse(process.argv[2]);

await withUrl({ executablePath: wanted.browser, url: wanted.url }, async (page) => {
  const devTools = await page.context().newCDPSession(page);
  await devTools.send("WebAuthn.enable");
  await devTools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  const script = `(async ({ email, password }) => {
    let token = null
    const authorized = (path, options) => fetch(path, {
      ...options,
      headers: { ...options.headers, ...(token && { authorization: "Bearer " + token }) },
    })
    ${wanted.functions}
    const login = { email, password }
    token = (await post("/auth/login", login)).access_token
    const added = await addPasskey("Laptop", { password })
    token = null
    const alone = await post("/auth/login", login).catch((error) => error)
    const second = await post("/auth/login", { ...login, passkey: await passkeyAnswer(true) })
    await logInWithPasskey()
    const me = await (await authorized("/auth/me", {})).json()
    return { added, alone, second, me }
  })(${JSON.stringify(wanted)})`;
  console.log(JSON.stringify(await page.evaluate(script)));
});
