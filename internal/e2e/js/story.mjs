// Two people, three devices and one homeserver: the conversation that Element
// has with it, told through Element's own engine. Run by the Go test, which
// passes HEARTH_URL and HEARTH_PICTURE; exits 0 if every step held.
import { tell } from "./lib.mjs";
import { arrive, depart } from "./sessions.mjs";
import { talk } from "./talking.mjs";
import { read } from "./reading.mjs";
import { organise } from "./organising.mjs";
import { share } from "./media.mjs";
import { lookBack } from "./history.mjs";

await tell(async () => {
    const cast = await arrive();
    const room = await talk(cast);
    await read(cast, room);
    await organise(cast, room);
    await share(cast, room);
    const phone = await lookBack(cast, room);
    await depart(cast, phone, room);
});
