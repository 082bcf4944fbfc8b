// Typing, receipts, unread counts, read markers and presence.
import { assert, eventually, sdk, sees, step } from "./lib.mjs";

const total = (client, room) => client.getRoom(room).getUnreadNotificationCount(sdk.NotificationCountType.Total);
const highlights = (client, room) => client.getRoom(room).getUnreadNotificationCount(sdk.NotificationCountType.Highlight);

export async function read({ alice, bob }, room) {
    await step("alice sees bob typing, and stop", async () => {
        const typing = () => alice.getRoom(room).getMember(bob.getUserId()).typing;
        await bob.sendTyping(room, true, 20_000);
        await eventually("bob typing", typing);
        await bob.sendTyping(room, false, 0);
        await eventually("bob silent", () => !typing());
    });
    await step("messages and mentions raise bob's counts", () => unread(alice, bob, room));
    await step("bob's receipt clears his counts and alice sees it", () => receipts(alice, bob, room));
    await step("bob's read marker is kept", async () => {
        const { event_id } = await alice.sendTextMessage(room, "Read up to here");
        const ev = await sees(bob, room, event_id);
        await bob.setRoomReadMarkers(room, event_id, ev);
        await eventually("m.fully_read", () => {
            return bob.getRoom(room).getAccountData("m.fully_read")?.getContent().event_id === event_id;
        });
        await eventually("the receipt that came with it", () => alice.getRoom(room).hasUserReadEvent(bob.getUserId(), event_id));
    });
    await step("alice sees bob's presence change", async () => {
        await bob.setSyncPresence(sdk.SetPresence.Unavailable);
        await bob.setPresence({ presence: "unavailable", status_msg: "at lunch" });
        const seen = () => alice.getUser(bob.getUserId());
        await eventually("bob away", () => seen()?.presence === "unavailable" && seen().presenceStatusMsg === "at lunch");
        await bob.setSyncPresence(sdk.SetPresence.Online);
        await bob.setPresence({ presence: "online", status_msg: "" });
        await eventually("bob back", () => seen().presence === "online");
    });
}

async function unread(alice, bob, room) {
    const newest = bob.getRoom(room).getLiveTimeline().getEvents().at(-1);
    await bob.sendReadReceipt(newest);
    await eventually("bob has read all", () => total(bob, room) === 0);
    for (const body of ["one", "two"]) await alice.sendTextMessage(room, body);
    await eventually("two unread", () => total(bob, room) === 2);
    assert.equal(highlights(bob, room), 0);
    await alice.sendMessage(room, {
        "msgtype": "m.text",
        "body": "three, Bob!",
        "m.mentions": { user_ids: [bob.getUserId()] },
    });
    await eventually("three unread", () => total(bob, room) === 3);
    await eventually("one highlight", () => highlights(bob, room) === 1);
    assert.equal(total(alice, room), 0, "one's own messages aren't unread");
}

async function receipts(alice, bob, room) {
    const last = bob.getRoom(room).getLiveTimeline().getEvents().at(-1);
    await bob.sendReadReceipt(last);
    await eventually("alice sees bob's receipt", () => alice.getRoom(room).hasUserReadEvent(bob.getUserId(), last.getId()));
    await eventually("bob's counts are cleared", () => total(bob, room) === 0 && highlights(bob, room) === 0);

    // A private receipt counts for bob and stays with bob.
    const { event_id } = await alice.sendTextMessage(room, "for your eyes only");
    const ev = await sees(bob, room, event_id);
    await eventually("unread again", () => total(bob, room) === 1);
    await bob.sendReadReceipt(ev, sdk.ReceiptType.ReadPrivate);
    await eventually("cleared in private", () => total(bob, room) === 0);
    assert.ok(!alice.getRoom(room).hasUserReadEvent(bob.getUserId(), event_id), "alice can't tell");
}
