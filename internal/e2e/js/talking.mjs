// A room, and everything people do to messages in it. Every step asserts what
// both clients hold after their own sync loops brought it.
import { allSee, assert, eventually, sdk, sees, step } from "./lib.mjs";

const { EventType, MsgType, RelationType } = sdk;

/** Alice makes a room, Bob joins it, they talk; returns the room's id. */
export async function talk({ alice, bob }) {
    const both = [alice, bob];
    const room = await meet(alice, bob);

    const hello = await step("alice's text reaches both", async () => {
        const { event_id } = await alice.sendTextMessage(room, "Hello Bob");
        await allSee(both, room, event_id, (ev) => {
            assert.equal(ev.getContent().body, "Hello Bob");
            assert.equal(ev.getSender(), alice.getUserId());
        });
        return event_id;
    });
    await step("alice's own echo is matched by its transaction id", async () => {
        const copies = alice.getRoom(room).getLiveTimeline().getEvents().filter((ev) => ev.getContent().body === "Hello Bob");
        assert.equal(copies.length, 1);
    });
    await step("bob replies", async () => {
        const { event_id } = await bob.sendMessage(room, {
            "msgtype": MsgType.Text,
            "body": "Hello Alice",
            "m.relates_to": { "m.in_reply_to": { event_id: hello } },
            "m.mentions": { user_ids: [alice.getUserId()] },
        });
        await allSee(both, room, event_id, (ev) => assert.equal(ev.replyEventId, hello));
    });
    await step("alice edits her text", () => edit(both, room, hello));
    await step("bob reacts, and takes it back", () => react(both, room, hello));
    await step("alice redacts a slip", () => redact(both, room));
    return room;
}

async function meet(alice, bob) {
    const room = await step("alice creates a room and invites bob", async () => {
        const { room_id } = await alice.createRoom({
            name: "The hearth",
            topic: "Warm words",
            preset: sdk.Preset.PrivateChat,
            invite: [bob.getUserId()],
            is_direct: true,
        });
        return room_id;
    });
    await step("bob sees who invites him where, and joins", async () => {
        const invited = await eventually("bob's invite", () => bob.getRoom(room));
        assert.equal(invited.getMyMembership(), "invite");
        assert.equal(invited.name, "The hearth");
        const mine = invited.getMember(bob.getUserId());
        assert.equal(mine.events.member.getSender(), alice.getUserId());
        assert.equal(mine.getDMInviter(), alice.getUserId());
        await bob.joinRoom(room);
        await eventually("bob has joined by his own view", () => bob.getRoom(room).getMyMembership() === "join");
    });
    await step("both know the room's name, topic, version and members", async () => {
        for (const client of [alice, bob]) {
            const view = client.getRoom(room);
            await eventually("two members", () => view.getJoinedMemberCount() === 2);
            assert.equal(view.name, "The hearth");
            assert.equal(view.currentState.getStateEvents(EventType.RoomTopic, "").getContent().topic, "Warm words");
            assert.equal(view.getVersion(), "12");
            assert.equal(view.getMember(alice.getUserId()).name, "Alice");
        }
    });
    return room;
}

async function edit(clients, room, target) {
    const [alice] = clients;
    await alice.sendMessage(room, {
        "msgtype": MsgType.Text,
        "body": "* Hello dear Bob",
        "m.new_content": { msgtype: MsgType.Text, body: "Hello dear Bob" },
        "m.relates_to": { rel_type: RelationType.Replace, event_id: target },
    });
    for (const client of clients) {
        await eventually(`${client.getUserId()} sees the edit`, () => {
            return client.getRoom(room).findEventById(target).getContent().body === "Hello dear Bob";
        });
    }
}

async function react(clients, room, target) {
    const [, bob] = clients;
    const content = { "m.relates_to": { rel_type: RelationType.Annotation, event_id: target, key: "👍" } };
    const { event_id } = await bob.sendEvent(room, EventType.Reaction, content);
    const reactions = (client) =>
        client.getRoom(room).relations.getChildEventsForEvent(target, RelationType.Annotation, EventType.Reaction)
            ?.getSortedAnnotationsByKey()?.filter(([, events]) => events.size > 0) ?? [];
    for (const client of clients) {
        await eventually(`${client.getUserId()} counts the reaction`, () => reactions(client).length === 1);
        const [key, events] = reactions(client)[0];
        assert.equal(key, "👍");
        assert.equal(events.size, 1);
    }
    await bob.redactEvent(room, event_id);
    for (const client of clients) {
        await eventually(`${client.getUserId()} sees it withdrawn`, () => reactions(client).length === 0);
    }
}

async function redact(clients, room) {
    const [alice] = clients;
    const { event_id } = await alice.sendTextMessage(room, "My password is hunter2");
    await allSee(clients, room, event_id);
    await alice.redactEvent(room, event_id, undefined, { reason: "not meant for here" });
    for (const client of clients) {
        const ev = await sees(client, room, event_id);
        await eventually(`${client.getUserId()} sees the redaction`, () => ev.isRedacted());
        assert.deepEqual(ev.getContent(), {});
        assert.equal(ev.getRedactionEvent().content.reason, "not meant for here");
    }
    const raw = await clients[1].fetchRoomEvent(room, event_id);
    assert.deepEqual(raw.content, {}, "the server itself forgot the words");
    assert.equal(raw.unsigned.redacted_because.content.reason, "not meant for here");
}
