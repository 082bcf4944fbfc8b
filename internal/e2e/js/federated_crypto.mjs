// Two people on two servers talk in an encrypted room by way of the Rust crypto that
// Element uses. Run by the Go test, which passes HEARTH_URL, HEARTH_OTHER_URL and
// HEARTH_PICTURE, and the accounts that are there already; HEARTH_PEER if one of the
// servers is another program.
import { readFile } from "node:fs/promises";
import { receive, send } from "./attachment.mjs";
import { assert, eventually, password, sdk, start, step, tell } from "./lib.mjs";
import { share } from "./media.mjs";

/** Who has no network at the moment, by user id. */
const away = new Set();

/** Starts a client with encryption on one of the servers. */
async function encrypted(baseUrl, user, deviceName) {
    const anybody = sdk.createClient({ baseUrl });
    const session = await anybody.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password,
        initial_device_display_name: deviceName,
    });
    const client = sdk.createClient({
        baseUrl,
        userId: session.user_id,
        deviceId: session.device_id,
        accessToken: session.access_token,
        fetchFn: (...request) => (away.has(session.user_id) ? Promise.reject(new TypeError("no network")) : fetch(...request)),
    });
    await client.initRustCrypto({ useIndexedDB: false });
    return client;
}

/*
 * What is going on with verification. The SDK itself holds it by weak references only: without these it may be
 * collected as garbage in the midst of it, with all that waits for it.
 */
const verifying = [];

/** The texts of a room as the client has decrypted them. */
const texts = (client, room) =>
    (client.getRoom(room)?.getLiveTimeline().getEvents() ?? []).map((ev) => ev.getContent().body).filter(Boolean);

const reads = (client, room, body) => eventually(`${client.getUserId()} reads ${body}`, () => texts(client, room).includes(body));

await tell(async () => {
    const here = process.env.HEARTH_URL;
    const there = process.env.HEARTH_OTHER_URL;
    const alice = await step("alice starts on one server", () => encrypted(here, "alice", "laptop"));
    const bob = await step("bob starts on the other", () => encrypted(there, "bob", "laptop"));
    await Promise.all([start(alice), start(bob)]);
    const room = await step("alice makes an encrypted room with bob", async () => {
        const { room_id } = await alice.createRoom({
            invite: [bob.getUserId()],
            initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
        });
        await eventually("bob is invited", () => bob.getRoom(room_id)?.getMyMembership() === "invite");
        await bob.joinRoom(room_id);
        await eventually("alice sees bob", () => alice.getRoom(room_id)?.getMember(bob.getUserId())?.membership === "join");
        await eventually("both know it is encrypted", () => alice.isRoomEncrypted(room_id) && bob.isRoomEncrypted(room_id));
        return room_id;
    });
    await step("they read each other", async () => {
        await alice.sendTextMessage(room, "our secret");
        await reads(bob, room, "our secret");
        await bob.sendTextMessage(room, "is safe");
        await reads(alice, room, "is safe");
    });
    await step("bob opens a picture that no server can read", async () => {
        const picture = await readFile(process.env.HEARTH_PICTURE);
        const sent = await send(alice, room, picture, "fire.png");
        const got = await receive(bob, room, "fire.png");
        assert.deepEqual(got.cipher, sent);
        assert.deepEqual(got.plain, picture);
        assert.notDeepEqual(got.cipher, picture);
    });
    // What Hearth answers about pictures in the open isn't what every other server does.
    if (!process.env.HEARTH_PEER) {
        const open = await step("alice makes a room that isn't encrypted", async () => {
            const { room_id } = await alice.createRoom({ invite: [bob.getUserId()] });
            await eventually("bob is invited", () => bob.getRoom(room_id)?.getMyMembership() === "invite");
            await bob.joinRoom(room_id);
            await eventually("alice sees bob", () => alice.getRoom(room_id)?.getMember(bob.getUserId())?.membership === "join");
            return room_id;
        });
        await share({ alice, bob }, open);
    }
    await step("bob's new phone reads what alice says next", async () => {
        const phone = await encrypted(there, "bob", "phone");
        await start(phone);
        await eventually("alice knows the phone", async () => {
            const devices = await alice.getCrypto().getUserDeviceInfo([bob.getUserId()]);
            return devices.get(bob.getUserId())?.has(phone.getDeviceId());
        });
        await alice.sendTextMessage(room, "hello phone");
        await reads(phone, room, "hello phone");
        await reads(bob, room, "hello phone");
    });
    await step("a device that was away reads everything", async () => {
        away.add(bob.getUserId());
        for (let n = 0; n < 3; n++) await alice.sendTextMessage(room, `while you were away ${n}`);
        away.delete(bob.getUserId());
        bob.retryImmediately();
        for (let n = 0; n < 3; n++) await reads(bob, room, `while you were away ${n}`);
    });
    await step("bob's cross-signing is seen and signed by alice", async () => {
        for (const [client, user] of [[alice, "alice"], [bob, "bob"]]) {
            await client.getCrypto().bootstrapCrossSigning({
                authUploadDeviceSigningKeys: (make) =>
                    make({ type: "m.login.password", identifier: { type: "m.id.user", user }, password }),
            });
        }
        await eventually("alice knows bob's keys", () => alice.getCrypto().userHasCrossSigningKeys(bob.getUserId(), true));
    });
    await step("they verify one another by comparing emoji", async () => {
        const shown = new Map();
        const compare = (request, name) => new Promise((done, fail) => {
            const begin = async () => {
                const verifier = request.verifier;
                if (!verifier || shown.has(name)) return;
                shown.set(name, null);
                verifying.push(verifier);
                verifier.on("show_sas", (sas) => {
                    shown.set(name, JSON.stringify(sas.sas.emoji));
                    sas.confirm().catch(fail);
                });
                verifier.verify().then(done, fail);
            };
            request.on("change", begin);
            begin();
        });
        const asked = new Promise((resolve) => bob.once("crypto.verificationRequestReceived", resolve));
        const request = await alice.getCrypto().requestVerificationDM(bob.getUserId(), room);
        const received = await asked;
        verifying.push(request, received);
        await received.accept();
        await eventually("bob is ready", () => request.phase === 3);
        const both = Promise.all([compare(request, "alice"), compare(received, "bob")]);
        await request.startVerification("m.sas.v1");
        await both;
        assert.equal(shown.get("alice"), shown.get("bob"));
        await eventually("alice trusts bob", async () => (await alice.getCrypto().getUserVerificationStatus(bob.getUserId())).isCrossSigningVerified());
        await eventually("bob trusts alice", async () => (await bob.getCrypto().getUserVerificationStatus(alice.getUserId())).isCrossSigningVerified());
    });
});
