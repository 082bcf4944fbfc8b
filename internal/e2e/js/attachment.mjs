// A file shared in an encrypted room, the way Element does it: the servers get what they
// can't read, the key goes with the message.
//
// https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments
import { webcrypto } from "node:crypto";
import { assert, eventually } from "./lib.mjs";

const { subtle } = webcrypto;
const base64 = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
const digest = async (bytes) => base64(await subtle.digest("SHA-256", bytes));

/** Encrypts a file, uploads it and tells the room. Resolves to what was uploaded. */
export async function send(client, room, plain, name) {
    const key = await subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
    const counter = new Uint8Array(16); // the lower half counts
    webcrypto.getRandomValues(counter.subarray(0, 8));
    const cipher = Buffer.from(await subtle.encrypt({ name: "AES-CTR", counter, length: 64 }, key, plain));
    const { content_uri } = await client.uploadContent(cipher, { type: "application/octet-stream", includeFilename: false });
    await client.sendMessage(room, {
        msgtype: "m.file",
        body: name,
        info: { mimetype: "image/png", size: plain.length },
        file: {
            v: "v2",
            url: content_uri,
            key: await subtle.exportKey("jwk", key),
            iv: base64(counter),
            hashes: { sha256: await digest(cipher) },
        },
    });
    return cipher;
}

/** Waits for the message, downloads the file from the client's own server and decrypts it. */
export async function receive(client, room, name) {
    const event = await eventually(`${client.getUserId()} sees ${name}`, () =>
        client.getRoom(room).getLiveTimeline().getEvents().find((ev) => ev.getContent().body === name));
    assert.equal(event.getWireType(), "m.room.encrypted");
    const { file } = event.getContent();
    const res = await fetch(client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true), {
        headers: { Authorization: `Bearer ${client.getAccessToken()}` },
    });
    assert.equal(res.status, 200);
    assert.equal(res.headers.get("content-type"), "application/octet-stream");
    assert.equal(res.headers.get("content-disposition"), "attachment");
    const cipher = Buffer.from(await res.arrayBuffer());
    assert.equal(await digest(cipher), file.hashes.sha256);
    const key = await subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, ["decrypt"]);
    const counter = Buffer.from(file.iv, "base64");
    return { cipher, plain: Buffer.from(await subtle.decrypt({ name: "AES-CTR", counter, length: 64 }, key, cipher)) };
}
