// Looking back: pagination, lazily loaded members, and a device that is new.
import { assert, eventually, register, sdk, signIn, start, step } from "./lib.mjs";

const bodies = (client, room) =>
    client.getRoom(room).getLiveTimeline().getEvents()
        .filter((ev) => ev.getType() === "m.room.message")
        .map((ev) => ev.getContent().body);

/** Returns alice's second device, which is running. */
export async function lookBack({ alice, bob }, room) {
    const said = await step("bob says a lot", async () => {
        const lines = Array.from({ length: 60 }, (_, i) => `line ${i}`);
        for (const line of lines) await bob.sendTextMessage(room, line);
        return lines;
    });
    const phone = await step("alice signs in on her phone", async () => start(await signIn(alice.getUserId(), "phone")));
    await step("her phone knows the room, its people and her settings", async () => {
        const view = phone.getRoom(room);
        assert.equal(view.name, "The hearth");
        assert.equal(view.getMyMembership(), "join");
        assert.equal(view.getMember(bob.getUserId())?.membership, "join");
        assert.ok(view.tags["u.home"]);
        assert.equal(view.getAccountData("org.example.mood").getContent().colour, "amber");
        assert.deepEqual(phone.getAccountData("m.direct").getContent(), { [bob.getUserId()]: [room] });
        assert.deepEqual(bodies(phone, room), said.slice(-20), "the first sync brings the newest 20");
    });
    await step("her phone pages back to the very beginning", () => pageBack(phone, room, said));
    await step("both of alice's devices see what either sends", async () => {
        const { event_id } = await phone.sendTextMessage(room, "from my phone");
        for (const client of [alice, phone, bob]) {
            await eventually("the phone's message", () => client.getRoom(room).findEventById(event_id));
        }
    });
    await step("a big room's members load lazily", () => lazyMembers(alice, bob));
    return phone;
}

async function pageBack(phone, room, said) {
    const timeline = phone.getRoom(room).getLiveTimeline();
    for (let more = true, pages = 0; more; pages++) {
        assert.ok(pages < 50, "pagination ends");
        more = await phone.paginateEventTimeline(timeline, { backwards: true, limit: 17 });
    }
    const ids = timeline.getEvents().map((ev) => ev.getId());
    assert.equal(new Set(ids).size, ids.length, "no event twice");
    assert.equal(timeline.getEvents()[0].getType(), "m.room.create");
    assert.deepEqual(bodies(phone, room).slice(-said.length), said, "in the order they were said");
    const first = timeline.getEvents().find((ev) => ev.getContent().body?.includes("Hello dear Bob"));
    assert.ok(first, "the edited greeting is there");
}

async function lazyMembers(alice, bob) {
    const { room_id: hall } = await alice.createRoom({
        preset: sdk.Preset.PublicChat,
        name: "The hall",
        room_alias_name: "sdk-hall",
    });
    const alias = `#sdk-hall:${alice.getDomain()}`;
    for (let i = 0; i < 9; i++) {
        const guest = await register(`sdk-guest-${i}`);
        assert.equal((await guest.joinRoom(alias)).roomId, hall);
    }
    for (let i = 0; i < 25; i++) await alice.sendTextMessage(hall, `announcement ${i}`);

    await bob.joinRoom(alias);
    const tablet = await start(await signIn("sdk-bob", "tablet"));
    const view = tablet.getRoom(hall);
    assert.equal(view.getJoinedMemberCount(), 11, "the summary counts everybody");
    const known = () => view.currentState.getMembers().filter((m) => m.membership === "join").length;
    assert.ok(known() < 11, `only some of the members came with the first sync, not ${known()}`);
    assert.equal(view.getMember(alice.getUserId()).name, "Alice", "those who spoke came along");
    await view.loadMembersIfNeeded();
    assert.equal(known(), 11, "all of them on demand");
    await tablet.logout(true);
}
