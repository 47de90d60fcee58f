/**
 * The page at /toasts: gives the component what stands in the fragment of the address.
 *
 *   /toasts#token=<user token>&locale=fr&theme=dark      or just      /toasts#<user token>
 */

const WORDS = {
  en: {
    title: "Notifications",
    signedInAs: "Signed in as",
    in: "in",
    language: "Language",
    theme: "Theme",
    intro:
      "What happens pops up here and stays under the bell. Tabs keep in step, and what comes while you are away is there when you are back.",
    tryTitle: "See one arrive",
    tryWords: "Publish an event for this user with your tenant’s API key:",
    needToken:
      "This page shows one user’s notifications. It needs a user token, which your backend gets with its API key:",
    pasteToken: "User token",
    show: "Show notifications",
    copy: "Copy",
    copied: "Copied",
    auto: "As the system",
    light: "Light",
    dark: "Dark",
    noToken: "That is not a user token: it has three parts with dots between them.",
    expired: "This token is not valid any more. Get a new one and paste it below.",
    states: {
      connecting: "Connecting…",
      online: "Live",
      offline: "Reconnecting…",
      "signed-out": "Signed out",
    },
    sample: { name: "Sample Fan", preview: "Hello! When is the next video?" },
  },
  fr: {
    title: "Notifications",
    signedInAs: "Connecté en tant que",
    in: "chez",
    language: "Langue",
    theme: "Thème",
    intro:
      "Ce qui arrive s’affiche ici et reste sous la cloche. Les onglets restent synchronisés, et ce qui arrive en votre absence vous attend à votre retour.",
    tryTitle: "Faites-en arriver une",
    tryWords: "Publiez un événement pour cet utilisateur avec la clé d’API de votre compte\u00a0:",
    needToken:
      "Cette page montre les notifications d’un utilisateur. Il lui faut un jeton d’utilisateur, que votre serveur obtient avec sa clé d’API\u00a0:",
    pasteToken: "Jeton d’utilisateur",
    show: "Afficher les notifications",
    copy: "Copier",
    copied: "Copié",
    auto: "Comme le système",
    light: "Clair",
    dark: "Sombre",
    noToken:
      "Ce n’est pas un jeton d’utilisateur\u00a0: il a trois parties séparées par des points.",
    expired: "Ce jeton n’est plus valable. Obtenez-en un nouveau et collez-le ci-dessous.",
    states: {
      connecting: "Connexion…",
      online: "En direct",
      offline: "Reconnexion…",
      "signed-out": "Déconnecté",
    },
    sample: { name: "Fan d’exemple", preview: "Bonjour\u00a0! À quand la prochaine vidéo\u00a0?" },
  },
};

const find = (id) => document.getElementById(id);
const toasts = find("toasts");
let words = WORDS.en;
let token = null;

/** What the fragment says. */
function asked() {
  const text = location.hash.slice(1);
  if (/^[\w-]+\.[\w-]+\.[\w-]*$/.test(text)) return { token: text };
  const { token, locale, theme } = Object.fromEntries(new URLSearchParams(text));
  return { token, locale, theme };
}

function claimsOf(text) {
  try {
    const part = text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

/** Put a choice into the fragment, so that it survives a reload. */
function choose(changed) {
  const kept = Object.entries({ ...asked(), ...changed }).filter(([, value]) => value);
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
  show();
}

function show() {
  const { token: given, locale, theme } = asked();
  const language =
    locale === "fr" || locale === "en" ? locale : navigator.language.startsWith("fr") ? "fr" : "en";
  const look = theme === "light" || theme === "dark" ? theme : "";
  document.documentElement.lang = language;
  document.documentElement.dataset.theme = look;
  words = WORDS[language];
  for (const node of document.querySelectorAll("[data-word]"))
    node.textContent = words[node.dataset.word];
  find("locale").value = language;
  find("theme").value = look;
  toasts.locale = language;
  look ? toasts.setAttribute("theme", look) : toasts.removeAttribute("theme");
  signIn(given ?? null);
  showState();
  showCount();
}

function signIn(given) {
  const claims = given === null ? {} : claimsOf(given);
  const wrong = given !== null && typeof claims.sub !== "string";
  if (token !== (wrong ? null : given)) {
    token = wrong ? null : given;
    toasts.token = token;
  }
  complain(wrong ? words.noToken : null);
  const signedIn = given !== null && !wrong;
  find("hello").hidden = !signedIn;
  find("sign-in").hidden = signedIn;
  toasts.hidden = !signedIn;
  find("user").textContent = claims.sub ?? "";
  find("tenant").textContent = claims.tid ?? "";
  find("command").textContent = curl("/v1/events", {
    specversion: "1.0",
    id: "ID",
    source: "/try",
    type: "message.received",
    userid: claims.sub,
    data: { from: { name: words.sample.name }, preview: words.sample.preview },
  }).replace('"ID"', "\"try-'$(date +%s)'\"");
  find("token-command").textContent = curl("/v1/user-tokens", {
    userId: "ada",
    expiresInSeconds: 3600,
  });
}

/** A call as it is pasted into a shell. */
function curl(path, body) {
  const text = JSON.stringify(body, null, 1).replaceAll(/\n\s*/g, " ").replaceAll("'", "’");
  return [
    `curl ${location.origin}${path} \\`,
    `  -H "Authorization: Bearer $KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '${text}'`,
  ].join("\n");
}

function complain(why) {
  find("why").textContent = why ?? "";
  find("why").hidden = why === null;
}

function showState() {
  const state = find("state");
  state.hidden = token === null || find("hello").hidden;
  state.dataset.state = toasts.state;
  state.textContent = words.states[toasts.state] ?? "";
  if (toasts.state !== "signed-out" || token === null || find("hello").hidden) return;
  find("hello").hidden = true;
  find("sign-in").hidden = false;
  state.hidden = toasts.hidden = true;
  complain(words.expired);
}

let titleIsDue = false;

/** The count in the window's title, four times a second at most: browsers take their time with it. */
function showCount() {
  if (titleIsDue) return;
  titleIsDue = true;
  setTimeout(() => {
    titleIsDue = false;
    document.title = toasts.unread > 0 ? `(${toasts.unread}) ${words.title}` : words.title;
  }, 250);
}

async function copy(button, from) {
  await navigator.clipboard.writeText(find(from).textContent);
  button.textContent = words.copied;
  setTimeout(() => (button.textContent = words.copy), 2000);
}

await customElements.whenDefined("huntaze-toasts");
toasts.addEventListener("huntaze-state", showState);
toasts.addEventListener("huntaze-unread", showCount);
addEventListener("hashchange", show);
find("locale").addEventListener("change", ({ target }) => choose({ locale: target.value }));
find("theme").addEventListener("change", ({ target }) => choose({ theme: target.value }));
find("copy").addEventListener("click", ({ target }) => copy(target, "command"));
find("copy-token").addEventListener("click", ({ target }) => copy(target, "token-command"));
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = find("given").value.trim();
  find("given").value = "";
  choose({ token: given });
});
show();
