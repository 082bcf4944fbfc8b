// What a user keeps for herself: tags, account data, and direct-message lists.
import { assert, eventually, refused, step } from "./lib.mjs";

export async function organise({ alice, bob }, room) {
    await step("alice tags the room, and untags it", async () => {
        await alice.setRoomTag(room, "m.favourite", { order: 0.25 });
        await eventually("the tag", () => alice.getRoom(room).tags["m.favourite"]?.order === 0.25);
        assert.deepEqual((await alice.getRoomTags(room)).tags, { "m.favourite": { order: 0.25 } });
        assert.deepEqual(bob.getRoom(room).tags, {}, "tags are hers alone");
        await alice.deleteRoomTag(room, "m.favourite");
        await eventually("no tag", () => !alice.getRoom(room).tags["m.favourite"]);
        await alice.setRoomTag(room, "u.home", {});
        await eventually("another tag", () => alice.getRoom(room).tags["u.home"]);
    });
    await step("alice keeps account data", async () => {
        await alice.setAccountData("m.direct", { [bob.getUserId()]: [room] });
        assert.deepEqual(alice.getAccountData("m.direct").getContent(), { [bob.getUserId()]: [room] });
        assert.deepEqual(await alice.getAccountDataFromServer("m.direct"), { [bob.getUserId()]: [room] });
        assert.equal(bob.getAccountData("m.direct"), undefined, "account data is hers alone");
    });
    await step("alice keeps account data of the room", async () => {
        await alice.setRoomAccountData(room, "org.example.mood", { colour: "amber" });
        await eventually("it arrives", () => {
            return alice.getRoom(room).getAccountData("org.example.mood")?.getContent().colour === "amber";
        });
    });
    await step("bob can't write alice's account data", async () => {
        const path = `/user/${encodeURIComponent(alice.getUserId())}/account_data/org.example.x`;
        await refused(bob.http.authedRequest("PUT", path, undefined, {}), 403, "M_FORBIDDEN");
    });
}
