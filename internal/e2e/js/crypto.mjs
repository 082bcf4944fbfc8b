// Two people talk in an encrypted room by way of the Rust crypto that Element
// uses. Run by the Go test.
import { assert, eventually, password, register, sdk, signIn, start, step, tell } from "./lib.mjs";

/** Starts a client with encryption. */
async function encrypted(username) {
    const client = await register(username);
    await client.initRustCrypto({ useIndexedDB: false });
    await start(client);
    return client;
}

/** The texts of a room as the client has decrypted them. */
const texts = (client, room) =>
    (client.getRoom(room)?.getLiveTimeline().getEvents() ?? []).map((ev) => ev.getContent().body).filter(Boolean);

await tell(async () => {
    const alice = await step("alice starts with encryption", () => encrypted("crypto-alice"));
    const bob = await step("bob starts with encryption", () => encrypted("crypto-bob"));
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
    await step("an encrypted text reaches bob", async () => {
        await alice.sendTextMessage(room, "our secret");
        await eventually("bob reads it", () => texts(bob, room).includes("our secret"));
        const sent = bob.getRoom(room).getLiveTimeline().getEvents().at(-1);
        assert.equal(sent.getWireType(), "m.room.encrypted");
    });
    await step("and his answer reaches alice", async () => {
        await bob.sendTextMessage(room, "is safe");
        await eventually("alice reads it", () => texts(alice, room).includes("is safe"));
    });
    await step("alice sets up cross-signing, which bob sees", async () => {
        await alice.getCrypto().bootstrapCrossSigning({
            authUploadDeviceSigningKeys: (make) =>
                make({ type: "m.login.password", identifier: { type: "m.id.user", user: alice.getUserId() }, password }),
        });
        assert.ok(await alice.getCrypto().isCrossSigningReady());
        await eventually("bob knows her keys", async () => bob.getCrypto().userHasCrossSigningKeys(alice.getUserId(), true));
    });
    const backup = await step("alice backs her keys up", async () => {
        await alice.getCrypto().resetKeyBackup();
        await eventually("the server has keys", async () => {
            const { count } = await alice.http.authedRequest("GET", "/room_keys/version", undefined, undefined, { prefix: "/_matrix/client/v3" });
            return count > 0;
        });
        return alice.getCrypto().getSessionBackupPrivateKey();
    });
    await step("and reads everything on a new device", async () => {
        const laptop = await signIn(alice.getUserId(), "laptop");
        await laptop.initRustCrypto({ useIndexedDB: false });
        const { version } = await laptop.getCrypto().getKeyBackupInfo();
        await laptop.getCrypto().storeSessionBackupPrivateKey(backup, version);
        const { imported } = await laptop.getCrypto().restoreKeyBackup();
        assert.ok(imported > 0);
        await start(laptop);
        await eventually("she reads both", () => {
            const read = texts(laptop, room);
            return read.includes("our secret") && read.includes("is safe");
        });
    });
});
