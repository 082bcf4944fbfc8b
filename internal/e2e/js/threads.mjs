// What is unread in threads and beside them, and how receipts of each kind clear it.
// Run by the Go test.
import { assert, eventually, register, sdk, sees, start, step, tell } from "./lib.mjs";

/** A room in which alice talks and bob reads. */
class Scene {
    constructor(alice, bob, room) {
        Object.assign(this, { alice, bob, room });
    }

    async say(body, relation, mentions = [], who = this.alice) {
        const content = { "msgtype": "m.text", body, "m.mentions": { user_ids: mentions } };
        if (relation) content["m.relates_to"] = relation;
        return this.put("send/m.room.message/", content, who);
    }

    /** Sends without a local echo: the SDK trips over one in a thread if the sync is faster than the answer. */
    async put(path, content, who = this.alice) {
        const room = encodeURIComponent(this.room);
        const { event_id } = await who.http.authedRequest("PUT", `/rooms/${room}/${path}${who.makeTxnId()}`, {}, content);
        return event_id;
    }

    reply = (root, body, ...more) => this.say(body, { rel_type: "m.thread", event_id: root }, ...more);

    react = (event_id) => this.put("send/m.reaction/", { "m.relates_to": { rel_type: "m.annotation", event_id, key: "+" } });

    redact = (event_id) => this.put(`redact/${encodeURIComponent(event_id)}/`, {});

    edit = (event_id) =>
        this.put("send/m.room.message/", {
            "msgtype": "m.text",
            "body": "* edited",
            "m.new_content": { msgtype: "m.text", body: "edited" },
            "m.relates_to": { rel_type: "m.replace", event_id },
        });

    async read(eventId, wholeRoom = false) {
        await this.bob.sendReadReceipt(await sees(this.bob, this.room, eventId), sdk.ReceiptType.Read, wholeRoom);
    }

    /** Waits until bob's client counts as said, and expects the same of a client that begins. */
    async unread(main, threads = {}) {
        const expected = JSON.stringify({ main, threads });
        let counted;
        await eventually(`${expected} unread`, () => {
            counted = JSON.stringify(this.counted(Object.keys(threads)));
            return counted === expected;
        }).catch((err) => assert.fail(`${err.message} but ${counted}`));
        assert.equal(JSON.stringify(await this.fromTheStart(Object.keys(threads))), expected, "from the start");
    }

    counted(roots) {
        const room = this.bob.getRoom(this.room);
        const { Total, Highlight } = sdk.NotificationCountType;
        const of = (root) => [Total, Highlight].map((type) => room.getThreadUnreadNotificationCount(root, type));
        const main = [Total, Highlight].map((type) => room.getRoomUnreadNotificationCount(type));
        return { main, threads: Object.fromEntries(roots.map((root) => [root, of(root)])) };
    }

    /** What a client that begins is told of the room. */
    async begun(client) {
        const filter = { room: { rooms: [this.room], timeline: { limit: 1, unread_thread_notifications: true } } };
        const answer = await client.http.authedRequest("GET", "/sync", { filter: JSON.stringify(filter) });
        return answer.rooms.join[this.room];
    }

    async fromTheStart(roots) {
        const found = await this.begun(this.bob);
        const pair = (n) => [n?.notification_count ?? 0, n?.highlight_count ?? 0];
        const threads = found.unread_thread_notifications ?? {};
        const others = Object.keys(threads).filter((root) => !roots.includes(root));
        assert.deepEqual(others, [], "other threads are unread");
        return { main: pair(found.unread_notifications), threads: Object.fromEntries(roots.map((r) => [r, pair(threads[r])])) };
    }
}

async function apart(s) {
    const root = await s.say("root");
    const first = await s.reply(root, "first");
    const second = await s.reply(root, "second");
    await s.unread([1, 0], { [root]: [2, 0] });
    await s.read(root);
    await s.unread([0, 0], { [root]: [2, 0] });
    await s.read(first);
    await s.unread([0, 0], { [root]: [1, 0] });
    await s.read(second);
    await s.unread([0, 0], { [root]: [0, 0] });
    const { ephemeral } = await s.begun(s.alice);
    const told = ephemeral.events.find((e) => e.type === "m.receipt").content[second]["m.read"][s.bob.getUserId()];
    assert.equal(told.thread_id, root, "alice is told how far bob is in the thread");
}

async function oneOfTwo(s) {
    const [one, two] = [await s.say("one"), await s.say("two")];
    const last = await s.reply(one, "in one");
    await s.reply(two, "in two");
    await s.read(two);
    await s.unread([0, 0], { [one]: [1, 0], [two]: [1, 0] });
    await s.read(last);
    await s.unread([0, 0], { [one]: [0, 0], [two]: [1, 0] });
}

async function everything(s) {
    const root = await s.say("new root");
    await s.reply(root, "in the thread");
    const last = await s.say("beside it");
    await s.read(last, true);
    await s.unread([0, 0], { [root]: [0, 0] });
    const more = await s.reply(root, "after that");
    await s.unread([0, 0], { [root]: [1, 0] });
    await s.read(more);
    await s.unread([0, 0]);
}

async function relations(s) {
    const root = await s.say("root of reactions");
    const answer = await s.reply(root, "answer");
    await s.read(root);
    await s.read(answer);
    await s.unread([0, 0]);
    for (const event of [root, answer]) {
        await s.react(event);
        await s.edit(event);
    }
    await s.say("seen");
    await s.unread([1, 0], { [root]: [0, 0] });
    const mention = await s.reply(root, "bob!", [s.bob.getUserId()]);
    await s.edit(mention);
    await s.unread([1, 0], { [root]: [1, 1] });
    await s.read(mention, true);
    await s.unread([0, 0]);
}

async function redactions(s) {
    const root = await s.say("root to redact");
    const [one, two] = [await s.reply(root, "one"), await s.reply(root, "two", [s.bob.getUserId()])];
    await s.unread([1, 0], { [root]: [2, 1] });
    await s.redact(two);
    await s.unread([1, 0], { [root]: [1, 0] });
    await s.redact(one);
    await s.unread([1, 0], { [root]: [0, 0] });
    await s.redact(root);
    await s.unread([0, 0]);
}

async function answers(s) {
    const root = await s.say("a question");
    await s.reply(root, "or two");
    await s.unread([1, 0], { [root]: [1, 0] });
    await s.reply(root, "an answer", [], s.bob);
    await s.unread([1, 0], { [root]: [0, 0] });
    await s.say("and one beside it", undefined, [], s.bob);
    await s.unread([0, 0]);
}

await tell(async () => {
    const alice = await step("alice starts", async () => start(await register("thread-alice")));
    const bob = await step("bob starts", async () => start(await register("thread-bob")));
    const { room_id: room } = await alice.createRoom({ preset: "private_chat", invite: [bob.getUserId()] });
    await bob.joinRoom(room);
    await eventually("bob in the room", () => bob.getRoom(room)?.getMyMembership() === "join");
    const scene = new Scene(alice, bob, room);
    await step("a thread's messages are counted by themselves", () => apart(scene));
    await step("a receipt for one thread leaves the others", () => oneOfTwo(scene));
    await step("a receipt for the room reads its threads", () => everything(scene));
    await step("reactions and edits aren't unread, mentions are highlights of their thread", () => relations(scene));
    await step("what is redacted isn't unread", () => redactions(scene));
    await step("an answer reads its thread", () => answers(scene));
});
