// Logging in by OAuth 2.0 as Element does it, through its own engine; the pages are filled in as a
// browser would. Run by the Go test, which passes HEARTH_URL; exits 0 if every step held.
import { anonymous, assert, baseUrl, password, refused, register, sdk, step, tell } from "./lib.mjs";

const redirectUri = "https://chat.example.org/back";

/** What the forms of a page hold. */
function formOf(page) {
    const form = new URLSearchParams();
    for (const [, name, value] of page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)) {
        form.set(name, value.replaceAll("&#43;", "+").replaceAll("&amp;", "&"));
    }
    return form;
}

const post = (url, form, cookie = "") => fetch(url, { method: "POST", body: form, redirect: "manual", headers: { cookie } });

/** Agrees on the page for it with a password, and returns the code. */
async function agree(url, state) {
    const form = formOf(await (await fetch(url)).text());
    form.set("user", "oauth-alice");
    form.set("password", password);
    const answer = await post(new URL("authorize", url), form);
    assert.equal(answer.status, 303, await answer.text());
    const back = new URL(answer.headers.get("location"));
    assert.equal(back.origin + back.pathname, redirectUri);
    const params = new URLSearchParams(back.hash.slice(1));
    assert.equal(params.get("state"), state);
    return params.get("code");
}

const clientOf = (tokens) => sdk.createClient({ baseUrl, accessToken: tokens.access_token });

async function logIn(metadata, clientId) {
    const oauth = new sdk.OAuth2(metadata, { clientId });
    const tokens = await step("alice agrees and the code becomes a session", async () => {
        const code = await agree(await oauth.generateAuthorizationCodeGrantUrl("st&ate", redirectUri), "st&ate");
        return oauth.completeAuthorizationCodeGrant(code, redirectUri);
    });
    await step("the session is hers, on the device that the client has chosen", async () => {
        const me = await clientOf(tokens).whoami();
        assert.equal(me.user_id, "@oauth-alice:hearth.test");
        assert.equal(me.device_id, oauth.context.deviceId);
    });
    const newer = await step("the tokens are refreshed", () => oauth.performRefreshTokenGrant(tokens.refresh_token));
    await step("the session is revoked", async () => {
        await clientOf(newer).whoami();
        await oauth.revokeToken(newer.refresh_token, "refresh_token");
        await refused(clientOf(newer).whoami(), 401, "M_UNKNOWN_TOKEN");
        await assert.rejects(oauth.performRefreshTokenGrant(newer.refresh_token), sdk.OAuth2HTTPError);
    });
}

async function link(metadata, clientId) {
    const oauth = new sdk.OAuth2(metadata, { clientId });
    const session = await step("an app without a browser shows a code", () => oauth.startDeviceAuthorizationGrant());
    await step("alice signs in elsewhere and lets it in", async () => {
        const asked = await fetch(session.verification_uri_complete);
        const form = formOf(await asked.text());
        form.set("user", "oauth-alice");
        form.set("password", password);
        const signedIn = await post(asked.url.split("?")[0], form);
        const cookie = signedIn.headers.getSetCookie().map((c) => c.split(";")[0]).join("; ");
        const page = await (await fetch(signedIn.headers.get("location"), { headers: { cookie } })).text();
        assert.ok(page.includes(session.user_code), page);
        const answer = await post(session.verification_uri, formOf(page), cookie);
        assert.equal(answer.status, 200, await answer.text());
    });
    await step("the app is in", async () => {
        const tokens = await oauth.waitForDeviceAuthorizationGrant(session);
        assert.equal((await clientOf(tokens).whoami()).device_id, oauth.context.deviceId);
    });
}

await tell(async () => {
    await step("alice registers", () => register("oauth-alice"));
    const metadata = await step("the server is discovered", () => anonymous().getAuthMetadata());
    const clientId = await step("the client registers itself", () =>
        sdk.OAuth2.registerClient(metadata, {
            client_name: "Chat",
            client_uri: "https://chat.example.org/",
            redirect_uris: [redirectUri],
            application_type: "web",
        }),
    );
    await logIn(metadata, clientId);
    await link(metadata, clientId);
});
