// Accounts, sessions and devices.
import { anonymous, assert, eventually, password, refused, register, signIn, start, step } from "./lib.mjs";

/** Alice and Bob make accounts and start to sync. */
export async function arrive() {
    const alice = await step("alice registers", () => register("sdk-alice"));
    const bob = await step("bob registers", () => register("sdk-bob"));
    await step("a taken name and a wrong password are refused", async () => {
        await refused(anonymous().registerRequest({ username: "sdk-alice", password }), 400, "M_USER_IN_USE");
        const login = { type: "m.login.password", identifier: { type: "m.id.user", user: "sdk-alice" } };
        await refused(anonymous().loginRequest({ ...login, password: "wrong" }), 403, "M_FORBIDDEN");
    });
    await step("each token is known to be whose it is", async () => {
        for (const client of [alice, bob]) {
            const me = await client.whoami();
            assert.equal(me.user_id, client.getUserId());
            assert.equal(me.device_id, client.getDeviceId());
        }
    });
    await step("both sync loops start", () => Promise.all([start(alice), start(bob)]));
    await step("alice names herself", async () => {
        await alice.setDisplayName("Alice");
        assert.equal((await bob.getProfileInfo(alice.getUserId())).displayname, "Alice");
    });
    return { alice, bob };
}

/** Devices are listed, renamed and ended. */
export async function depart({ alice, bob }, phone, room) {
    await step("alice lists and renames her devices", async () => {
        await alice.setDeviceDetails(phone.getDeviceId(), { display_name: "pocket" });
        const { devices } = await alice.getDevices();
        assert.deepEqual(devices.map((d) => d.display_name).sort(), ["laptop", "pocket"]);
    });
    await step("alice's phone logs out and her laptop stays", async () => {
        await phone.logout(true);
        await refused(phone.whoami(), 401, "M_UNKNOWN_TOKEN");
        await alice.whoami();
        assert.equal((await alice.getDevices()).devices.length, 1);
    });
    await step("alice removes a lost device with her password", async () => {
        const lost = await signIn("sdk-alice", "lost");
        const asked = await refused(alice.deleteDevice(lost.getDeviceId()), 401, undefined);
        await alice.deleteDevice(lost.getDeviceId(), {
            type: "m.login.password",
            identifier: { type: "m.id.user", user: alice.getUserId() },
            password,
            session: asked.data.session,
        });
        await refused(lost.whoami(), 401, "M_UNKNOWN_TOKEN");
    });
    await step("bob leaves the room and logs out", async () => {
        await bob.leave(room);
        await eventually("alice sees bob gone", () => !alice.getRoom(room).getMember(bob.getUserId()).isKicked() &&
            alice.getRoom(room).getMember(bob.getUserId()).membership === "leave");
        await bob.logout(true);
        await refused(bob.whoami(), 401, "M_UNKNOWN_TOKEN");
    });
}
