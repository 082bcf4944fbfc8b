// A shared picture: upload, authenticated download and thumbnail.
import { readFile } from "node:fs/promises";
import { allSee, assert, baseUrl, step } from "./lib.mjs";

export async function share({ alice, bob }, room) {
    const picture = await readFile(process.env.HEARTH_PICTURE);
    const mxc = await step("alice uploads a picture", async () => {
        const limits = await alice.getMediaConfig(true);
        assert.ok(limits["m.upload.size"] > picture.length);
        const { content_uri } = await alice.uploadContent(picture, { name: "hearth fire.png", type: "image/png" });
        assert.match(content_uri, /^mxc:\/\/[^/]+\/[A-Za-z0-9_-]+$/);
        return content_uri;
    });
    await step("alice shares it and both see the message", async () => {
        const info = { mimetype: "image/png", size: picture.length, w: 320, h: 200 };
        const { event_id } = await alice.sendMessage(room, { msgtype: "m.image", body: "hearth fire.png", url: mxc, info });
        await allSee([alice, bob], room, event_id, (ev) => assert.equal(ev.getContent().url, mxc));
    });
    await step("bob downloads the very same bytes", async () => {
        const res = await get(bob, bob.mxcUrlToHttp(mxc, undefined, undefined, undefined, false, true, true));
        assert.equal(res.status, 200);
        assert.equal(res.headers.get("content-type"), "image/png");
        assert.match(res.headers.get("content-disposition"), /^inline/);
        assert.deepEqual(Buffer.from(await res.arrayBuffer()), picture);
    });
    await step("bob sees a thumbnail", async () => {
        const res = await get(bob, bob.mxcUrlToHttp(mxc, 64, 64, "scale", false, true, true));
        assert.equal(res.status, 200);
        assert.match(res.headers.get("content-type"), /^image\/(png|jpeg|webp)$/);
        const size = (await res.arrayBuffer()).byteLength;
        assert.ok(size > 0 && size < picture.length, `thumbnail of ${size} bytes`);
    });
    await step("nobody sees it without a session", async () => {
        const url = bob.mxcUrlToHttp(mxc, undefined, undefined, undefined, false, true, true);
        const res = await fetch(url);
        assert.equal(res.status, 401);
        assert.equal((await res.json()).errcode, "M_MISSING_TOKEN");
        const old = await fetch(`${baseUrl}/_matrix/media/v3/download/${mxc.slice("mxc://".length)}`);
        assert.equal(old.status, 404, "the unauthenticated endpoints are frozen");
    });
}

const get = (client, url) => fetch(url, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
