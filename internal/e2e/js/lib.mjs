// What the chapters of the story share: clients, waiting, and telling.
import "./polyfill.mjs";
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import * as sdk from "matrix-js-sdk";

export { assert, sdk, sleep };

export const baseUrl = process.env.HEARTH_URL;
export const password = "correct horse battery staple";

// The SDK narrates every request on the console. What matters fails a step.
for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};

const running = new Set();

/** How long a step may take, so that one that stands still fails. */
const stepLimit = 180_000;

/** Runs one named step and says how it went; a failure ends the story. */
export async function step(name, run) {
    const begun = performance.now();
    let timer;
    const standstill = new Promise((_, fail) => {
        timer = setTimeout(() => fail(new Error(`it stands still for ${stepLimit} ms`)), stepLimit);
    });
    try {
        const result = await Promise.race([run(), standstill]);
        console.log(`ok   ${name} (${Math.round(performance.now() - begun)} ms)`);
        return result;
    } catch (err) {
        console.log(`FAIL ${name}`);
        throw err;
    } finally {
        clearTimeout(timer);
    }
}

/** Waits until check returns something truthy, and returns it. */
export async function eventually(what, check, limit = 20_000) {
    for (const end = Date.now() + limit; Date.now() < end; await sleep(20)) {
        const value = await check();
        if (value) return value;
    }
    throw new Error(`waited ${limit} ms in vain for: ${what}`);
}

/** Expects promise to be refused by the server with the given status and code. */
export async function refused(promise, status, errcode) {
    const err = await promise.then(
        () => assert.fail(`expected ${status} ${errcode}, got success`),
        (e) => e,
    );
    assert.equal(err.errcode, errcode, `${err}`);
    assert.equal(err.httpStatus, status);
    return err;
}

/** A client without a session. */
export const anonymous = () => sdk.createClient({ baseUrl });

/** A client of the session that register or login answered with. */
export function clientOf(session) {
    return sdk.createClient({
        baseUrl,
        userId: session.user_id,
        deviceId: session.device_id,
        accessToken: session.access_token,
        timelineSupport: true,
    });
}

/** Registers an account the way Element does, by way of the 401. */
export async function register(username) {
    const asked = await refused(anonymous().registerRequest({ username, password }), 401, undefined);
    const stages = asked.data.flows.map((flow) => flow.stages.join());
    assert.ok(stages.includes("m.login.dummy"), `flows: ${stages}`);
    return clientOf(
        await anonymous().registerRequest({
            username,
            password,
            initial_device_display_name: "laptop",
            auth: { type: "m.login.dummy", session: asked.data.session },
        }),
    );
}

/** Logs user in on another device. */
export async function signIn(user, deviceName) {
    return clientOf(
        await anonymous().loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user },
            password,
            initial_device_display_name: deviceName,
        }),
    );
}

/** Starts the sync loop as Element starts it, and waits for the first answer. */
export async function start(client) {
    running.add(client);
    await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, threadSupport: true });
    await eventually(`first sync of ${client.getUserId()}`, () => client.isInitialSyncComplete());
    return client;
}

/** Tells a story, and ends the program with it. */
export async function tell(story) {
    try {
        await story();
    } catch (err) {
        console.log(err);
        process.exitCode = 1;
    } finally {
        for (const client of running) client.stopClient();
    }
    // The SDK leaves timers of its own behind.
    process.exit();
}

/** Waits until the client's own sync has brought the event. */
export function sees(client, roomId, eventId) {
    return eventually(`${client.getUserId()} sees ${eventId}`, () => client.getRoom(roomId)?.findEventById(eventId));
}

/** Waits until every client has the event, and checks each view of it. */
export async function allSee(clients, roomId, eventId, check = () => {}) {
    for (const client of clients) check(await sees(client, roomId, eventId));
}
