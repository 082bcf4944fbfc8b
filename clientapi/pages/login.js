
const form = document.querySelector("form");
const message = document.querySelector("[role=alert]");
const given = new URLSearchParams(location.search);

async function logIn(proof) {
    const body = { ...proof };
    for (const name of ["device_id", "initial_device_display_name"]) {
        if (given.has(name)) body[name] = given.get(name);
    }
    if (given.get("refresh_token") === "true") body.refresh_token = true;
    message.textContent = "";
    let answer;
    try {
        const sent = await fetch("/_matrix/client/v3/login", { method: "POST", body: JSON.stringify(body) });
        answer = await sent.json();
        if (!sent.ok) throw new Error(answer.error);
    } catch (e) {
        message.textContent = e.message;
        return;
    }
    form.hidden = true;
    if (window.matrixLogin && window.matrixLogin.onLogin) {
        window.matrixLogin.onLogin(answer);
    } else {
        message.textContent = "You are logged in. Go back to your app now.";
    }
}

form.addEventListener("submit", (event) => {
    event.preventDefault();
    logIn({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: form.elements.user.value.trim() },
        password: form.elements.password.value,
    });
});

const token = given.get("loginToken");
if (token) {
    given.delete("loginToken");
    history.replaceState(null, "", "?" + given);
    logIn({ type: "m.login.token", token });
}
for (const link of document.querySelectorAll("a[data-provider]")) {
    link.search = "?" + new URLSearchParams({ redirectUrl: location.href.split("#")[0] });
}
