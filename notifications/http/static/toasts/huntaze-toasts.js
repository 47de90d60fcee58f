/**
 * <huntaze-toasts>: toasts, a bell with the unread count, and the inbox of one user of the hub.
 *
 * One file, no dependency, nothing to build. It loads as a module and defines the element:
 *
 *   <script type="module" src="https://hub.example/toasts/huntaze-toasts.js"></script>
 *   <huntaze-toasts token="…"></huntaze-toasts>
 *
 * docs/toasts.md tells of attributes, events, styling and React; huntaze-toasts.d.ts has the types.
 *
 * How it stays right: every change of an inbox has the next `seq`. What is pushed is taken if its
 * `seq` is new for its item. `after=<seq>` fetches what was missed whenever the socket opens, and
 * whenever a number was skipped. Nothing that comes from the hub is ever read as markup.
 */

const PROTOCOL = "json.webpubsub.azure.v1";
const PAGE = 50;
const CATCH_UP_PAGE = 200;
const CATCH_UP_PAGES = 3; // More than this was missed: the newest page is read instead.
const SEEN = 2000; // Items whose last `seq` is remembered.
const REQUEST_MS = 15_000;
const CONNECT_MS = 10_000;
const PING_MS = 20_000;
const PONG_MS = 10_000;
const HURRIED_PONG_MS = 3_000; // When something says that the connection may be gone.
const TICK_MS = 5_000;
const STEADY_MS = 10_000; // A connection that held so long makes the next wait short again.
const LONGEST_WAIT_MS = 30_000;
const GAP_MS = 1_500; // How long a skipped number may still be on its way.
const BRIEF_MS = 60_000; // Away for no longer than this, what was missed still pops up.
const EXPIRES_SOON_MS = 60_000;
const STALLED_MS = 120_000; // A job that says nothing for so long takes its toast down.
const BURST_MS = 250; // Toasts that follow each other so closely come without a movement.
const LONGEST_TIMER_MS = 0x7fffffff;

// ------------------------------------------------------------------------------------- words

const WORDS = {
  en: {
    bell: (n) => (n === 0 ? "Notifications" : `Notifications, ${n} unread`),
    heading: "Notifications",
    inbox: "All",
    unread: "Unread",
    archived: "Archived",
    filter: "Show",
    readAll: "Mark all as read",
    markRead: "Mark as read",
    markUnread: "Mark as unread",
    archive: "Archive",
    restore: "Move back to the inbox",
    now: "just now",
    close: "Close",
    dismiss: (title) => `Dismiss: ${title}`,
    older: "Show older",
    newest: "Back to the newest",
    loading: "Loading…",
    empty: {
      inbox: "Nothing here yet",
      unread: "You’re all caught up",
      archived: "Nothing archived",
    },
    emptyHint: {
      inbox: "What happens in your account will show up here.",
      unread: "New notifications will show up here.",
      archived: "What you archive is kept here.",
    },
    isUnread: "Unread",
    archivedNow: "Archived",
    undo: "Undo",
    more: (n) => (n === 1 ? "1 more notification" : `${n} more notifications`),
    missed: (n) =>
      n === 1
        ? "1 new notification while you were away"
        : `${n} new notifications while you were away`,
    offline: "Connection lost. Reconnecting…",
    signedOut: "Your session has ended. Sign in again to see what is new.",
    failed: "That did not work. Please try again.",
    progress: (n) => `${n}% done`,
    toasts: "New notifications",
  },
  fr: {
    bell: (n) =>
      n === 0 ? "Notifications" : `Notifications, ${n} non ${n === 1 ? "lue" : "lues"}`,
    heading: "Notifications",
    inbox: "Toutes",
    unread: "Non lues",
    archived: "Archivées",
    filter: "Afficher",
    readAll: "Tout marquer comme lu",
    markRead: "Marquer comme lue",
    markUnread: "Marquer comme non lue",
    archive: "Archiver",
    restore: "Remettre dans la liste",
    now: "à l’instant",
    close: "Fermer",
    dismiss: (title) => `Masquer\u00a0: ${title}`,
    older: "Afficher les plus anciennes",
    newest: "Revenir aux plus récentes",
    loading: "Chargement…",
    empty: { inbox: "Rien pour le moment", unread: "Vous êtes à jour", archived: "Rien d’archivé" },
    emptyHint: {
      inbox: "Ce qui se passe dans votre compte s’affichera ici.",
      unread: "Les nouvelles notifications s’afficheront ici.",
      archived: "Ce que vous archivez est conservé ici.",
    },
    isUnread: "Non lue",
    archivedNow: "Notification archivée",
    undo: "Annuler",
    more: (n) => (n === 1 ? "1 autre notification" : `${n} autres notifications`),
    missed: (n) =>
      n === 1
        ? "1 nouvelle notification en votre absence"
        : `${n} nouvelles notifications en votre absence`,
    offline: "Connexion perdue. Reconnexion…",
    signedOut: "Votre session est terminée. Reconnectez-vous pour voir les nouveautés.",
    failed: "Cela n’a pas fonctionné. Veuillez réessayer.",
    progress: (n) => `${n}\u00a0% effectués`,
    toasts: "Nouvelles notifications",
  },
};

// ------------------------------------------------------------------------------------- looks

const STYLE = `
:host {
  --_accent: var(--huntaze-accent, light-dark(#4f46e5, #a5b4fc));
  --_on-accent: var(--huntaze-on-accent, light-dark(#fff, #16172b));
  --_surface: var(--huntaze-surface, light-dark(#fff, #1b1d26));
  --_hover: var(--huntaze-hover, light-dark(#f4f5f8, #252834));
  --_text: var(--huntaze-text, light-dark(#171a21, #f1f3f7));
  --_muted: var(--huntaze-muted, light-dark(#5b6270, #a4abba));
  --_border: var(--huntaze-border, light-dark(#e3e6ec, #343846));
  --_success: var(--huntaze-success, light-dark(#0f7b4f, #5fd3a0));
  --_warning: var(--huntaze-warning, light-dark(#9a5b00, #f2b95c));
  --_failure: var(--huntaze-failure, light-dark(#c02b3c, #ff8a94));
  --_badge: var(--huntaze-badge, light-dark(#d1293d, #f0566a));
  --_on-badge: var(--huntaze-on-badge, light-dark(#fff, #24070c));
  --_radius: var(--huntaze-radius, 14px);
  --_shadow: var(--huntaze-shadow,
    0 1px 2px light-dark(#1018280f, #0006), 0 12px 32px light-dark(#10182826, #000a));
  --_width: var(--huntaze-width, 380px);
  color-scheme: light dark;
  display: inline-block;
  position: relative;
  font: 400 14px/1.45 var(--huntaze-font, ui-sans-serif, system-ui, -apple-system, "Segoe UI",
    Roboto, "Helvetica Neue", Arial, sans-serif);
  color: var(--_text);
  text-align: start;
}
:host([hidden]) { display: none; }
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
*, ::before, ::after { box-sizing: border-box; }
[hidden] { display: none !important; }
button, a { font: inherit; color: inherit; -webkit-tap-highlight-color: transparent; }
button {
  margin: 0; padding: 0; border: 0; background: none; cursor: pointer; text-align: inherit;
}
a { text-decoration: none; }
:focus { outline: none; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
svg { display: block; width: 20px; height: 20px; flex: none; }
p, h2, ul { margin: 0; padding: 0; }
ul { list-style: none; }
.said {
  position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap;
}

.bell {
  position: relative; display: grid; place-items: center; width: 40px; height: 40px;
  border-radius: 50%;
}
.bell:hover, .bell[aria-expanded="true"] { background: var(--_hover); }
.bell svg { width: 22px; height: 22px; }
.badge {
  position: absolute; inset-block-start: 1px; inset-inline-end: -1px; min-width: 18px;
  height: 18px; padding: 0 5px; border-radius: 9px; background: var(--_badge);
  color: var(--_on-badge); font-size: 11px; line-height: 18px; font-weight: 650;
  text-align: center; font-variant-numeric: tabular-nums; pointer-events: none;
  box-shadow: 0 0 0 2px var(--_surface);
}

[popover] { inset: auto; margin: 0; border: 0; padding: 0; background: none; color: inherit; }
.panel[popover]:popover-open {
  position: fixed; display: flex; flex-direction: column; width: min(400px, calc(100vw - 24px));
  max-height: min(620px, calc(100dvh - 24px)); background: var(--_surface); color: var(--_text);
  border: 1px solid var(--_border); border-radius: var(--_radius); box-shadow: var(--_shadow);
  overflow: hidden; font-size: 14px;
}
.head { display: flex; align-items: center; gap: 8px; padding: 13px 10px 7px 18px; }
.head h2 { flex: 1; font-size: 16px; line-height: 24px; font-weight: 650; }
.icon { display: grid; place-items: center; width: 32px; height: 32px; border-radius: 8px;
  color: var(--_muted); }
.icon:hover { background: var(--_hover); color: var(--_text); }
.icon svg { width: 18px; height: 18px; }
.bar { display: flex; align-items: center; gap: 4px; padding: 0 12px 10px 9px;
  border-bottom: 1px solid var(--_border); }
.bar .filters { display: flex; gap: 2px; }
.filter { padding: 4px 9px; border-radius: 8px; color: var(--_muted); font-weight: 550;
  font-size: 13px; line-height: 20px; white-space: nowrap; }
.filter:hover { color: var(--_text); }
.filter[aria-pressed="true"] { background: var(--_hover); color: var(--_text); }
.notice { display: flex; align-items: center; gap: 10px; padding: 9px 18px; font-size: 13px;
  background: var(--_hover); color: var(--_text); border-bottom: 1px solid var(--_border); }
.notice > span { flex: 1; min-width: 0; }
.notice svg { width: 16px; height: 16px; color: var(--_warning); }
.text-button { flex: none; white-space: nowrap; color: var(--_accent); font-weight: 600;
  font-size: 13px; border-radius: 6px;
  padding: 2px 4px; }
.text-button:hover { text-decoration: underline; text-underline-offset: 3px; }
.scroll { overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin; flex: 1 1 auto; }
.item { position: relative; display: flex; gap: 12px; padding: 13px 14px 7px 18px; }
.item + .item { border-top: 1px solid var(--_border); }
.item:hover, .item:has(:focus-visible) { background: var(--_hover); }
.tone { display: grid; place-items: center; width: 34px; height: 34px; border-radius: 50%;
  flex: none; color: var(--_tone);
  background: color-mix(in srgb, var(--_tone) 13%, transparent); }
.tone svg { width: 18px; height: 18px; }
[data-tone] { --_tone: var(--_accent); }
[data-tone="success"] { --_tone: var(--_success); }
[data-tone="warning"] { --_tone: var(--_warning); }
[data-tone="failure"] { --_tone: var(--_failure); }
.words { flex: 1; min-width: 0; display: flex; flex-direction: column; gap: 2px;
  align-items: stretch; }
.title { font-weight: 600; line-height: 20px; border-radius: 4px; }
.item[data-state="read"] .title, .item[data-state="archived"] .title { font-weight: 450; }
.title, .body { overflow-wrap: anywhere; unicode-bidi: isolate; display: -webkit-box;
  -webkit-box-orient: vertical; overflow: hidden; -webkit-line-clamp: 3; line-clamp: 3; }
.body { color: var(--_muted); -webkit-line-clamp: 6; line-clamp: 6; white-space: pre-line; }
.open::after { content: ""; position: absolute; inset: 0; border-radius: inherit; }
.open:focus-visible { outline: none; }
.open:focus-visible::after { outline: 2px solid var(--_accent); outline-offset: -2px; }
.foot { display: flex; align-items: center; min-height: 32px; gap: 2px; margin-inline-end: -6px; }
.when { flex: 1; color: var(--_muted); font-size: 12px; line-height: 18px; }
.foot .icon { position: relative; z-index: 1; width: 30px; height: 30px; }
.foot .icon:hover { background: color-mix(in srgb, var(--_text) 8%, transparent); }
.dot { width: 8px; height: 8px; border-radius: 50%; background: var(--_accent);
  margin: 6px 2px 0 0; flex: none; }
.item:not([data-state="unread"]) .dot { visibility: hidden; }
.empty { padding: 46px 28px 52px; text-align: center; color: var(--_muted); display: grid;
  justify-items: center; gap: 4px; }
.empty svg { width: 32px; height: 32px; margin-bottom: 8px; opacity: .75; }
.empty strong { color: var(--_text); font-weight: 600; }
.turn { display: block; width: 100%; padding: 12px; text-align: center; font-weight: 600;
  font-size: 13px; color: var(--_accent); border-top: 1px solid var(--_border); }
.turn.newest { border-top: 0; border-bottom: 1px solid var(--_border); }
.turn:hover { background: var(--_hover); }
.turn:focus-visible { outline-offset: -2px; }
.turn[aria-disabled="true"] { color: var(--_muted); cursor: default; }

.track { height: 6px; margin: 7px 0 3px; border-radius: 3px; overflow: hidden;
  background: color-mix(in srgb, var(--_accent) 18%, transparent); }
.fill { height: 100%; border-radius: 3px; background: var(--_accent); width: var(--_done, 0%); }

.toasts[popover]:popover-open {
  position: fixed; display: flex; flex-direction: column; gap: 10px; padding: 4px;
  width: min(calc(var(--_width) + 8px), calc(100vw - 16px)); max-height: calc(100dvh - 16px);
  overflow: visible; pointer-events: none;
  inset-block-end: max(16px, env(safe-area-inset-bottom)); inset-inline-end: 16px;
  color: var(--_text); font-size: 14px;
}
:host([position^="top"]) .toasts { inset-block: max(16px, env(safe-area-inset-top)) auto;
  flex-direction: column-reverse; justify-content: flex-end; }
:host([position$="left"]) .toasts { inset-inline: 16px auto; }
.toast {
  position: relative; display: flex; gap: 12px; align-items: flex-start; padding: 13px 10px 13px 14px;
  background: var(--_surface); border: 1px solid var(--_border); border-radius: var(--_radius);
  box-shadow: var(--_shadow); pointer-events: auto; max-width: 100%;
}
.toast[data-tone="failure"] { border-color: color-mix(in srgb, var(--_failure) 55%, var(--_border)); }
.toast .words { padding: 1px 0; }
.toast .tone { width: 32px; height: 32px; }
.toast .icon { position: relative; z-index: 1; margin: -3px 0 0; width: 28px; height: 28px; }
.toast:not(:has(.body:not(:empty))) { align-items: center; }
.toast:not(:has(.body:not(:empty))) .icon { margin: 0; }
.more { align-self: center; padding: 7px 15px; border-radius: 999px; background: var(--_surface);
  border: 1px solid var(--_border); box-shadow: var(--_shadow); pointer-events: auto;
  font-weight: 600; font-size: 13px; }
.more:hover { background: var(--_hover); }

@media (max-width: 480px) {
  .toasts[popover]:popover-open, :host([position]) .toasts[popover]:popover-open {
    inset-inline: 8px; width: auto; inset-block-end: max(8px, env(safe-area-inset-bottom)); }
  :host([position^="top"]) .toasts[popover]:popover-open {
    inset-block: max(8px, env(safe-area-inset-top)) auto; }
  .panel[popover]:popover-open { width: calc(100vw - 16px); max-height: calc(100dvh - 16px); }
  .icon, .foot .icon { width: 36px; height: 36px; }
  .foot { min-height: 38px; }
}
@media (hover: hover) {
  .item:not(:hover, :has(:focus-visible)) .foot .icon { opacity: 0; }
}
@media (prefers-reduced-motion: no-preference) {
  .toast:not(.at-once) { animation: arrive .22s cubic-bezier(.2, .8, .2, 1); }
  .toast.leaving { animation: leave .14s ease-in forwards; }
  .panel { animation: appear .14s ease-out; }
  .fill { transition: width .3s ease-out; }
  .bell, .icon, .item, .turn { transition: background-color .12s; }
  .turning { animation: turn 1.6s linear infinite; }
}
@keyframes arrive { from { opacity: 0; transform: translateY(10px) scale(.98); } }
@keyframes leave { to { opacity: 0; transform: scale(.97); } }
@keyframes appear { from { opacity: 0; transform: translateY(-4px); } }
@keyframes turn { to { transform: rotate(360deg); } }
@media (forced-colors: active) {
  .fill, .dot, .badge { background: Highlight; forced-color-adjust: none; }
  .track { border: 1px solid; }
}
`;

const ICONS = {
  bell: [
    "M6 9a6 6 0 1 1 12 0c0 5 2 6.5 2.5 7.5h-17C4 15.5 6 14 6 9Z",
    "M9.7 20a2.6 2.6 0 0 0 4.6 0",
  ],
  check: ["m5 12.5 4.5 4.5L19 7.5"],
  alert: ["M12 7.5v5.5", "M12 16.5v.01", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z"],
  warning: [
    "M12 9.5v4",
    "M12 17v.01",
    "M10.3 4.2 2.7 17.5a2 2 0 0 0 1.7 3h15.2a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z",
  ],
  message: ["M4 5.5h16v11H10l-4.5 3.5v-3.5H4Z"],
  money: [
    "M3.5 6.5h17v11h-17Z",
    "M12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5Z",
    "M6.5 12v.01",
    "M17.5 12v.01",
  ],
  working: [
    "M12 3.5v3",
    "M12 17.5v3",
    "M3.5 12h3",
    "M17.5 12h3",
    "m6 6 2.1 2.1",
    "m15.9 15.9 2.1 2.1",
    "m6 18 2.1-2.1",
    "m15.9 8.1 2.1-2.1",
  ],
  stopped: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z", "M8.5 12h7"],
  close: ["m6 6 12 12", "M18 6 6 18"],
  envelope: ["M3.5 6h17v12h-17Z", "m4 7 8 6 8-6"],
  opened: ["M3.5 10 12 4l8.5 6v9.5h-17Z", "m4 10.5 8 5.5 8-5.5"],
  archive: ["M3.5 4.5h17v4h-17Z", "M5 8.5v11h14v-11", "M10 12.5h4"],
  restore: ["M4 9h10a5.5 5.5 0 0 1 0 11H8", "m8 5-4 4 4 4"],
};

const LOOKS = {
  "job.queued": ["info", "working"],
  "job.started": ["info", "working"],
  "job.progress": ["info", "working"],
  "job.retrying": ["warning", "working"],
  "job.succeeded": ["success", "check"],
  "job.failed": ["failure", "alert"],
  "job.expired": ["failure", "alert"],
  "job.cancelled": ["info", "stopped"],
  "payment.received": ["success", "money"],
  "message.received": ["info", "message"],
  "budget.threshold": ["warning", "warning"],
  "endpoint.disabled": ["failure", "alert"],
};

/** The tone and icon of an event type; types to come are judged by how their name ends. */
function lookOf(type) {
  if (Object.hasOwn(LOOKS, type)) return LOOKS[type];
  if (/\.(failed|expired|disabled)$/.test(type)) return ["failure", "alert"];
  return /\.succeeded$/.test(type) ? ["success", "check"] : ["info", "bell"];
}

const isUnderWay = (item) => item.type.startsWith("job.") && lookOf(item.type)[1] === "working";

// ------------------------------------------------------------------------------------- values

const STATES = new Set(["unread", "read", "archived"]);

/** By time, then by number. RFC 3339 in UTC sorts as text. */
function newestFirst(a, b) {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? 1 : -1;
  return b.seq - a.seq;
}

/** Whether nobody has touched it since it came: not an old one that was marked unread again. */
const isFresh = (item) => Date.parse(item.updatedAt) - Date.parse(item.createdAt) < BRIEF_MS;

function shortText(value, longest) {
  if (typeof value !== "string") return "";
  return value.length <= longest ? value : `${value.slice(0, longest - 1).toWellFormed()}…`;
}

/** An inbox item as the hub sent it, or null where it is none. */
function readItem(raw) {
  if (raw === null || typeof raw !== "object") return null;
  if (typeof raw.id !== "string" || raw.id === "" || !Number.isSafeInteger(raw.seq)) return null;
  const progress = Number.isFinite(raw.progress) ? Math.min(Math.max(raw.progress, 0), 100) : null;
  return Object.freeze({
    id: raw.id,
    seq: raw.seq,
    eventId: shortText(raw.eventId, 200),
    type: shortText(raw.type, 100),
    title: shortText(raw.title, 300),
    body: shortText(raw.body, 1000),
    url: safeUrl(raw.url),
    state: STATES.has(raw.state) ? raw.state : "unread",
    progress: progress === null ? null : Math.round(progress),
    createdAt: shortText(raw.createdAt, 40),
    updatedAt: shortText(raw.updatedAt, 40),
  });
}

/** A link that may be followed: http, https, or a path of this very site; else null. */
function safeUrl(raw) {
  if (typeof raw !== "string" || raw.length > 2048 || /[\s\\\u0000-\u001f\u007f]/.test(raw))
    return null;
  const isPath = raw.startsWith("/");
  if (!isPath && !/^https?:\/\//i.test(raw)) return null;
  const url = URL.parse?.(raw, location.origin) ?? parseUrl(raw);
  if (url === null || url.username !== "" || url.password !== "") return null;
  if (isPath) return url.origin === location.origin ? raw : null;
  return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
}

function parseUrl(raw) {
  try {
    return new URL(raw, location.origin);
  } catch {
    return null;
  }
}

/** What a token says of itself; the hub checks it, the browser need not. */
function claimsOf(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    const user = typeof claims.sub === "string" ? `${claims.tid}/${claims.sub}` : null;
    return { user, expiresAt: Number.isFinite(claims.exp) ? claims.exp * 1000 : Infinity };
  } catch {
    return { user: null, expiresAt: Infinity };
  }
}

function el(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  const { text, on, ...attributes } = options;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  for (const [name, handler] of Object.entries(on ?? {})) made.addEventListener(name, handler);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

const drawn = new Map();

function icon(name) {
  if (!drawn.has(name)) drawn.set(name, draw(ICONS[name]));
  return drawn.get(name).cloneNode(true);
}

function draw(lines) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const settings = {
    viewBox: "0 0 24 24",
    fill: "none",
    stroke: "currentColor",
    "aria-hidden": "true",
    "stroke-width": "1.8",
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
    focusable: "false",
  };
  for (const [key, value] of Object.entries(settings)) made.setAttribute(key, value);
  for (const line of lines) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", line);
    made.append(path);
  }
  return made;
}

const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

function remember(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
}

// ------------------------------------------------------------------------------------- the hub

class SignedOut extends Error {}

class HubError extends Error {
  constructor(status, retryAfterMs) {
    super(status === 0 ? "the hub does not answer" : `the hub answers ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The token, and where the next one comes from. */
class Tokens {
  #token = null;
  #ask;
  #asking = null;
  #askedFor = null;
  #askedAt = 0;

  /** @param {(reason: string) => Promise<string | null | undefined>} ask for a fresh token */
  constructor(ask) {
    this.#ask = ask;
  }

  get current() {
    return this.#token;
  }

  set(token) {
    this.#token = token || null;
  }

  /** A token; a fresh one where this one was `refused` or is about to expire. */
  async get(refused) {
    const token = this.#token;
    if (token === null) return this.#fresh("missing");
    if (refused === token) return this.#fresh("refused");
    const runsOut = claimsOf(token).expiresAt - Date.now() < EXPIRES_SOON_MS;
    // Once a minute for the same token: this browser's clock may be wrong, and the token good.
    const asked = this.#askedFor === token && performance.now() - this.#askedAt < EXPIRES_SOON_MS;
    if (runsOut && (!asked || this.#asking?.before === token)) {
      return (await this.#fresh("expiring").catch(() => null)) ?? token;
    }
    return token;
  }

  async #fresh(reason) {
    const before = this.#token;
    this.#askedFor = before;
    this.#askedAt = performance.now();
    // Requests that lack the same token share one question.
    if (this.#asking?.before !== before) {
      const asking = { before, answer: (async () => this.#ask(reason))() };
      this.#asking = asking;
      const done = () => {
        if (this.#asking === asking) this.#asking = null;
      };
      asking.answer.then(done, done);
    }
    const given = await this.#asking.answer;
    if (typeof given === "string" && given !== "" && this.#token === before) this.#token = given;
    return this.#token === before ? null : this.#token;
  }
}

/** The hub's routes that a user's token opens. */
class Hub {
  constructor(base, tokens, signal) {
    this.base = base;
    this.tokens = tokens;
    this.signal = signal;
  }

  negotiate() {
    return this.#json("POST", "v1/realtime/negotiate");
  }

  page(query) {
    const given = Object.entries(query).filter(
      ([, value]) => value !== null && value !== undefined,
    );
    return this.#json("GET", `v1/inbox?${new URLSearchParams(given)}`);
  }

  async unread() {
    return (await this.#json("GET", "v1/inbox/count")).unread;
  }

  async mark(id, action) {
    return readItem(await this.#json("POST", `v1/inbox/${encodeURIComponent(id)}/${action}`));
  }

  async readAll() {
    await this.#call("POST", "v1/inbox/read-all");
  }

  async #json(method, path) {
    try {
      return await (await this.#call(method, path)).json();
    } catch (error) {
      throw error instanceof HubError || error instanceof SignedOut ? error : new HubError(0, 0);
    }
  }

  async #call(method, path) {
    let refused = null;
    for (let turn = 0; turn < 2; turn += 1) {
      const token = await this.tokens.get(refused);
      this.signal.throwIfAborted();
      if (token === null) throw new SignedOut();
      const answer = await this.#send(method, path, token);
      if (answer.ok) return answer;
      if (answer.status !== 401) {
        throw new HubError(answer.status, Number(answer.headers.get("retry-after")) * 1000 || 0);
      }
      refused = token;
    }
    throw new SignedOut();
  }

  async #send(method, path, token) {
    try {
      return await fetch(new URL(path, this.base), {
        method,
        headers: { authorization: `Bearer ${token}` },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        signal: AbortSignal.any([this.signal, AbortSignal.timeout(REQUEST_MS)]),
      });
    } catch {
      throw new HubError(0, 0);
    }
  }
}

/** The socket: opened, watched, and opened again for as long as it is wanted. */
class Link {
  #hub;
  #on;
  #socket = null;
  #wake = () => {};
  #attempt = 0;
  #pingedAt = null;
  #quietSince = 0;
  #end = () => {};

  /** @param on { open, message, state } */
  constructor(hub, on) {
    this.#hub = hub;
    this.#on = on;
    this.#run();
  }

  /** When the hub was last heard, by the wall clock: that of the page stands still in its sleep. */
  heardAt = Date.now();

  /** Look after the connection now: the page is back, the network is, or there is a token. */
  hurry() {
    if (this.#socket === null) {
      this.#wake();
      return;
    }
    this.#ping();
    const [end, pingedAt] = [this.#end, this.#pingedAt];
    setTimeout(() => {
      if (pingedAt !== null && this.#pingedAt === pingedAt) end();
    }, HURRIED_PONG_MS);
  }

  /** End this connection; where the link is still wanted, there will be another. */
  drop() {
    this.#end();
  }

  async #run() {
    const stopped = this.#hub.signal;
    stopped.addEventListener("abort", () => {
      this.#wake();
      this.drop();
    });
    while (!stopped.aborted) {
      let wait = 0;
      try {
        await this.#session((await this.#hub.negotiate()).url);
        if (stopped.aborted) return;
        this.#on.state("offline");
      } catch (error) {
        if (stopped.aborted) return;
        const signedOut = error instanceof SignedOut;
        this.#on.state(signedOut ? "signed-out" : "offline");
        wait = signedOut ? LONGEST_TIMER_MS : (error.retryAfterMs ?? 0);
      }
      await this.#pause(Math.max(wait, this.#backoff()));
    }
  }

  /** Half a second doubling to thirty; half of it by chance, so that not all come at once. */
  #backoff() {
    const longest = Math.min(500 * 2 ** this.#attempt, LONGEST_WAIT_MS);
    this.#attempt = Math.min(this.#attempt + 1, 10);
    return longest * (0.5 + Math.random() / 2);
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER_MS));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One connection, to its end. */
  #session(url) {
    return new Promise((resolve) => {
      if (typeof url !== "string" || !/^wss?:/.test(url)) throw new HubError(0, 0);
      const socket = new WebSocket(url, PROTOCOL);
      let openedAt = null;
      let ended = false;
      const end = () => {
        if (ended) return;
        ended = true;
        clearInterval(ticking);
        clearTimeout(opening);
        if (this.#socket === socket) {
          this.#socket = null;
          this.#end = () => {};
        }
        if (openedAt !== null && performance.now() - openedAt > STEADY_MS) this.#attempt = 0;
        socket.close();
        resolve();
      };
      const opening = setTimeout(end, CONNECT_MS);
      const ticking = setInterval(() => this.#look(end), TICK_MS);
      this.#socket = socket;
      this.#end = end;
      this.#pingedAt = null;
      this.#quietSince = performance.now();
      socket.addEventListener("close", end);
      socket.addEventListener("message", ({ data }) => {
        if (ended) return;
        this.#quietSince = performance.now();
        this.heardAt = Date.now();
        this.#pingedAt = null;
        const frame = parsed(data);
        if (frame?.type === "message") this.#on.message(frame.data);
        else if (frame?.type === "system" && frame.event === "connected") {
          clearTimeout(opening);
          openedAt = performance.now();
          this.#on.state("online");
          this.#on.open();
        }
      });
      if (this.#hub.signal.aborted) end();
    });
  }

  #look(end) {
    // Timers of hidden pages run late. A ping that was sent and not answered is a fact, though.
    const now = performance.now();
    if (this.#pingedAt !== null) {
      if (now - this.#pingedAt > PONG_MS) end();
    } else if (now - this.#quietSince > PING_MS) this.#ping();
  }

  #ping() {
    if (this.#pingedAt !== null || this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#pingedAt = performance.now();
    this.#socket.send('{"type":"ping"}');
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// ------------------------------------------------------------------------------------- the inbox

/** What is in the inbox, as far as it is held here: a window of at most `limit` items. */
class Inbox {
  unread = 0;
  filter = "inbox";
  loaded = false;
  hasOlder = false;
  atNewest = true;
  #hub;
  #on;
  #limit;
  #items = new Map();
  #seen = new Map(); // id → { seq, eventId }
  #synced = null; // every change up to here is known
  #ahead = new Set(); // and these beyond it
  #unreadSeq = -1;
  #syncing = null;
  #again = false;
  #gap = null;
  #cursor = null;
  #cut = false; // live items pushed the oldest out of the window
  #turn = 0;

  /** @param on { changed, news(items, caughtUp) } */
  constructor(hub, limit, on) {
    this.#hub = hub;
    this.#limit = Math.max(limit, PAGE);
    this.#on = on;
    hub.signal.addEventListener("abort", () => clearTimeout(this.#gap));
  }

  /** The window, newest first. */
  get items() {
    return [...this.#items.values()].sort(newestFirst);
  }

  find(id) {
    return this.#items.get(id) ?? null;
  }

  /** A message that was pushed. */
  push(message) {
    const { kind, unread } = message ?? {};
    if (kind !== "notification" && kind !== "inbox") return;
    const item = readItem(message.item);
    if (item === null) {
      this.sync().catch(() => {}); // many changed at once
      return;
    }
    const news = this.#take(item);
    this.#reached(item.seq);
    if (Number.isSafeInteger(unread) && item.seq > this.#unreadSeq) {
      this.#unreadSeq = item.seq;
      this.unread = unread;
    }
    this.#on.changed();
    if (news === null || kind !== "notification") this.#on.updated(item);
    else this.#on.news(news ? [item] : [], { late: message.item.late === true, item });
  }

  /** What another tab of this browser did. */
  told(raw, unread) {
    const item = readItem(raw);
    if (item === null || this.#take(item) === null) return;
    this.#reached(item.seq);
    if (Number.isSafeInteger(unread) && item.seq > this.#unreadSeq) this.unread = unread;
    this.#on.changed();
    this.#on.updated(item);
  }

  /** Fetch what came after what is known. Calls that come meanwhile share the next turn. */
  sync() {
    if (this.#syncing) {
      this.#again = true;
      return this.#syncing;
    }
    this.#syncing = (async () => {
      do {
        this.#again = false;
        await this.#catchUp();
      } while (this.#again);
    })().finally(() => {
      this.#syncing = null;
    });
    return this.#syncing;
  }

  /** Do what the user asked; shown at once, taken back where the hub refuses. */
  async mark(id, action) {
    const before = this.#items.get(id);
    const state = action === "archive" ? "archived" : action;
    const counted = before ? (state === "unread") - (before.state === "unread") : 0;
    const shown = before ? Object.freeze({ ...before, state }) : null;
    if (shown) {
      this.#place(shown);
      this.unread = Math.max(0, this.unread + counted);
      this.#on.changed();
    }
    try {
      const item = await this.#hub.mark(id, action);
      if (item !== null && this.#take(item) !== null) {
        this.#reached(item.seq);
        this.#on.changed();
        this.#on.updated(item);
      }
      return item;
    } catch (error) {
      if (shown && (this.#items.get(id) ?? shown) === shown) {
        this.#place(before);
        this.unread = Math.max(0, this.unread - counted);
        this.#on.changed();
      }
      throw error;
    }
  }

  async readAll() {
    const before = [...this.#items.values()].filter((item) => item.state === "unread");
    const unread = this.unread;
    const shown = before.map((item) => Object.freeze({ ...item, state: "read" }));
    shown.forEach((item) => this.#place(item));
    this.unread = 0;
    this.#on.changed();
    try {
      await this.#hub.readAll();
    } catch (error) {
      before.forEach((item) => this.#place(item));
      this.unread = unread;
      this.#on.changed();
      throw error;
    }
    await this.sync();
  }

  async show(filter) {
    this.filter = filter;
    await this.newest();
  }

  /** Read the window anew from its newest page. */
  async newest() {
    this.#turn += 1;
    this.#items.clear();
    this.#cursor = null;
    this.loaded = false;
    this.hasOlder = false;
    this.atNewest = true;
    this.#cut = false;
    this.#on.changed();
    await this.#older(20);
  }

  /** Read a further page below the window. */
  older() {
    if (this.#cut) this.#cursor = null; // from the top again, past what is here
    this.#cut = false;
    return this.#older(8);
  }

  async #older(pages) {
    const turn = this.#turn;
    const state = this.filter === "inbox" ? null : this.filter;
    for (let gained = 0; gained === 0 && pages > 0; pages -= 1) {
      const page = await this.#hub.page({ limit: PAGE, cursor: this.#cursor, state });
      if (turn !== this.#turn) return;
      gained = this.#addPage(page);
      if (page.nextCursor === null) break;
    }
    this.loaded = true;
    this.#trim(true);
    this.#on.changed();
  }

  #addPage(page) {
    let gained = 0;
    for (const raw of page.items) {
      const item = readItem(raw);
      if (item === null) continue;
      const known = this.#seen.get(item.id);
      if (known && known.seq > item.seq) continue;
      remember(this.#seen, item.id, { seq: item.seq, eventId: item.eventId }, SEEN);
      gained += !this.#items.has(item.id) && this.#fits(item);
      this.#place(item, true);
    }
    this.#cursor = page.nextCursor;
    this.hasOlder = page.nextCursor !== null;
    return gained;
  }

  async #catchUp() {
    if (this.#synced === null || !(await this.#missed())) await this.#begin();
    this.#on.changed();
    await this.#count();
    this.#on.changed();
  }

  /** What changed after what is known; false where that is too much to go through. */
  async #missed() {
    const after = this.#synced;
    const found = [];
    let cursor = null;
    for (let pages = 0; pages === 0 || cursor !== null; pages += 1) {
      if (pages === CATCH_UP_PAGES) return false;
      const page = await this.#hub.page({ after, limit: CATCH_UP_PAGE, cursor });
      found.push(...page.items.map(readItem).filter((item) => item !== null));
      cursor = page.nextCursor;
    }
    const news = [];
    for (const item of found) {
      if (this.#take(item) && isFresh(item)) news.push(item);
      else this.#on.updated(item);
    }
    this.#isSynced(Math.max(after, ...found.map((item) => item.seq)));
    if (news.length > 0) this.#on.news(news, { caughtUp: true });
    return true;
  }

  async #begin() {
    const page = await this.#hub.page({ limit: PAGE });
    const items = page.items.map(readItem).filter((item) => item !== null);
    this.#isSynced(Math.max(0, this.#synced ?? 0, ...items.map((item) => item.seq)));
    if (this.filter !== "inbox") return this.newest();
    const later = [...this.#items.values()].filter((item) =>
      items.every(({ seq }) => seq < item.seq),
    );
    this.#turn += 1;
    this.#items = new Map(later.map((item) => [item.id, item]));
    this.#cursor = null;
    this.#cut = false;
    this.atNewest = true;
    if (this.#addPage(page) === 0 && this.hasOlder) return this.#older(20);
    this.loaded = true;
    this.#on.changed();
  }

  async #count() {
    for (let tries = 0; tries < 3; tries += 1) {
      const at = this.#highest();
      const unread = await this.#hub.unread();
      if (at !== this.#highest() && tries < 2) continue; // something came in between
      if (Number.isSafeInteger(unread)) this.unread = unread;
      return;
    }
  }

  #highest() {
    return Math.max(this.#synced ?? 0, ...this.#ahead);
  }

  #isSynced(seq) {
    this.#synced = Math.max(seq, this.#synced ?? 0);
    this.#closeRanks();
  }

  /** A change has come; where a number before it has not, it is fetched a moment later. */
  #reached(seq) {
    if (this.#synced === null || seq > this.#synced) this.#ahead.add(seq);
    this.#closeRanks();
    if (this.#ahead.size === 0 || this.#synced === null) return;
    this.#gap ??= setTimeout(() => {
      this.#gap = null;
      if (this.#ahead.size > 0) this.sync().catch(() => {});
    }, GAP_MS);
  }

  #closeRanks() {
    if (this.#synced === null) return;
    while (this.#ahead.delete(this.#synced + 1)) this.#synced += 1;
    for (const seq of this.#ahead) if (seq <= this.#synced) this.#ahead.delete(seq);
  }

  /** Take in an item: null where it is known already, else whether it tells of a new event. */
  #take(item) {
    const known = this.#seen.get(item.id);
    if (known ? known.seq >= item.seq : this.#synced !== null && item.seq <= this.#synced)
      return null;
    remember(this.#seen, item.id, { seq: item.seq, eventId: item.eventId }, SEEN);
    this.#place(item);
    this.#trim(false);
    return item.state === "unread" && known?.eventId !== item.eventId;
  }

  #fits(item) {
    return this.filter === "inbox" ? item.state !== "archived" : item.state === this.filter;
  }

  #place(item, fromPage = false) {
    if (!this.#fits(item)) this.#items.delete(item.id);
    else if (this.atNewest || fromPage || this.#items.has(item.id)) this.#items.set(item.id, item);
  }

  /** Keep to the limit: older pages push out the newest, live items the oldest. */
  #trim(fromPage) {
    const over = this.#items.size - this.#limit;
    if (over <= 0) return;
    if (fromPage) {
      for (const item of this.items.slice(0, over)) this.#items.delete(item.id);
      this.atNewest = false;
    } else {
      const oldest = [...this.#items.values()].reduce((a, b) => (newestFirst(a, b) > 0 ? a : b));
      this.#items.delete(oldest.id); // live items come one by one
      this.hasOlder = this.#cut = true;
    }
  }
}

// ------------------------------------------------------------------------------------- the views

/** Toasts: one per item, at most `most` at once; what is more is counted. */
class Toasts {
  #host;
  #region;
  #more;
  #shown = new Map(); // id → { item, node, parts, timer, left, since }
  #dismissed = new Map(); // jobs whose toast was closed before their end
  #number = 0;
  #poppedAt = -Infinity;
  #hidden = 0;
  #held = false;

  constructor(host) {
    this.#host = host;
    this.#region = el("section", { class: "toasts", part: "toasts", popover: "manual" });
    this.#more = el("button", { class: "more", part: "more", type: "button", hidden: "" });
    this.#more.addEventListener("click", () => {
      this.clear();
      host.open();
    });
    this.#region.append(this.#more);
    const hold = () => this.#hold(true);
    const release = () => this.#hold(this.#region.matches(":hover, :focus-within"));
    this.#region.addEventListener("pointerenter", hold);
    this.#region.addEventListener("focusin", hold);
    this.#region.addEventListener("pointerleave", release);
    this.#region.addEventListener("focusout", () => queueMicrotask(release));
    this.#region.addEventListener("keydown", (event) => this.#onKey(event));
  }

  get node() {
    return this.#region;
  }

  localize(words) {
    this.#region.setAttribute("aria-label", words.toasts);
    for (const shown of this.#shown.values()) this.#fill(shown);
    this.#count();
  }

  /** Show an item, or show it anew where its toast is there. */
  show(item) {
    const there = this.#shown.get(item.id);
    if (there) {
      if (item.seq < there.item.seq) return false;
      there.item = item;
      this.#fill(there);
      this.#start(there);
      return true;
    }
    if (this.#dismissed.has(item.id) && isUnderWay(item)) return false;
    this.#dismissed.delete(item.id);
    const shown = this.#build(item);
    // In a burst nothing moves: it would be unrest, and drawing it would hold up the next.
    shown.node.classList.toggle("at-once", performance.now() - this.#poppedAt < BURST_MS);
    this.#poppedAt = performance.now();
    this.#shown.set(item.id, shown);
    this.#fill(shown);
    this.#region.insertBefore(shown.node, this.#more);
    if (!this.#region.matches(":popover-open") && this.#region.isConnected)
      this.#region.showPopover();
    this.#start(shown);
    this.#makeRoom();
    return true;
  }

  /** The item changed: its toast, if there is one, goes along or goes. */
  update(item) {
    const shown = this.#shown.get(item.id);
    if (!shown || item.seq < shown.item.seq) return;
    if (item.state === "unread" || isUnderWay(item)) {
      shown.item = item;
      this.#fill(shown);
    } else this.#remove(shown);
  }

  /** The toast was seen to its end in another tab. */
  goneElsewhere(id, seq) {
    const shown = this.#shown.get(id);
    if (shown && shown.item.seq <= seq) this.#remove(shown);
  }

  clear() {
    for (const shown of [...this.#shown.values()]) this.#remove(shown, true);
    this.#hidden = 0;
    this.#count();
  }

  /** Time stands still while nobody can see it. */
  visibility() {
    for (const shown of this.#shown.values())
      document.hidden ? this.#stop(shown) : this.#start(shown, true);
  }

  #build(item) {
    const id = `title-${(this.#number += 1)}`;
    const tone = el("span", { class: "tone", part: "icon" });
    const words = el("div", { class: "words" });
    const body = el("p", { class: "body", part: "toast-body", dir: "auto" });
    const fill = el("div", { class: "fill", part: "fill" });
    const track = el(
      "div",
      {
        class: "track",
        part: "track",
        role: "progressbar",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        "aria-labelledby": id,
        hidden: "",
      },
      fill,
    );
    words.append(body, track);
    const close = el("button", { class: "icon", part: "close", type: "button" }, icon("close"));
    const node = el(
      "div",
      { class: "toast", part: "toast", role: "group", "aria-labelledby": id },
      tone,
      words,
      close,
    );
    const shown = {
      item,
      node,
      timer: null,
      left: 0,
      since: 0,
      id,
      parts: { tone, words, body, fill, track, close, title: null },
    };
    close.addEventListener("click", () => this.#dismiss(shown));
    return shown;
  }

  #fill({ item, node, id, parts }) {
    const [tone, symbol] = lookOf(item.type);
    node.dataset.tone = tone;
    node.dataset.type = item.type;
    if (parts.tone.dataset.icon !== symbol) {
      parts.tone.dataset.icon = symbol;
      parts.tone.replaceChildren(icon(symbol));
    }
    parts.tone.firstElementChild.classList.toggle("turning", symbol === "working");
    if (parts.title === null || (parts.title.getAttribute("href") ?? null) !== item.url) {
      const title = titleNode(item, "toast-title", (event) => this.#host.follow(item.id, event));
      title.id = id;
      const focused = parts.title !== null && parts.title.matches(":focus");
      parts.title ? parts.title.replaceWith(title) : parts.words.prepend(title);
      parts.title = title;
      if (focused) title.focus();
    }
    setText(parts.title, item.title);
    setText(parts.body, item.body);
    parts.close.setAttribute("aria-label", this.#host.words.dismiss(item.title));
    parts.track.hidden = item.progress === null;
    if (item.progress !== null) {
      parts.track.setAttribute("aria-valuenow", item.progress);
      parts.track.setAttribute("aria-valuetext", this.#host.words.progress(item.progress));
      parts.fill.style.setProperty("--_done", `${item.progress}%`);
    }
  }

  #start(shown, goOn = false) {
    clearTimeout(shown.timer);
    if (!goOn) shown.left = this.#host.durationOf(shown.item);
    if (this.#held || document.hidden || shown.left === Infinity) {
      shown.since = null;
      return;
    }
    shown.since = performance.now();
    shown.timer = setTimeout(() => this.#dismiss(shown, true), shown.left);
  }

  #stop(shown) {
    clearTimeout(shown.timer);
    if (shown.since !== null)
      shown.left = Math.max(1500, shown.left - (performance.now() - shown.since));
    shown.since = null;
  }

  #hold(held) {
    if (held === this.#held) return;
    this.#held = held;
    for (const shown of this.#shown.values()) held ? this.#stop(shown) : this.#start(shown, true);
  }

  /** More than fit: the oldest go first, failures last. */
  #makeRoom() {
    // Many are wanted at once: still not so many that they cover the page.
    const tooHigh = () => this.#shown.size > 3 && this.#region.offsetHeight > innerHeight * 0.7;
    while (this.#shown.size > this.#host.mostToasts || tooHigh()) {
      const all = [...this.#shown.values()].slice(0, -1);
      const victim = all.find(({ item }) => lookOf(item.type)[0] !== "failure") ?? all[0];
      this.#remove(victim, true);
      this.#hidden += 1;
    }
    this.#count();
  }

  #count() {
    this.#more.hidden = this.#hidden === 0;
    if (this.#hidden > 0) setText(this.#more, this.#host.words.more(this.#hidden));
  }

  #dismiss(shown, byTime = false) {
    const waited = byTime && shown.item.type === "job.queued"; // it will be news when it begins
    if (isUnderWay(shown.item) && !waited) remember(this.#dismissed, shown.item.id, true, 200);
    const next = shown.node.nextElementSibling ?? shown.node.previousElementSibling;
    const focused = shown.node.matches(":focus-within");
    this.#remove(shown);
    this.#host.tellTabs({ kind: "gone", id: shown.item.id, seq: shown.item.seq });
    if (byTime || !focused) return;
    const target = next?.matches(".toast:not(.leaving)") ? next.querySelector(".icon") : null;
    target ? target.focus() : this.#host.focusBell();
  }

  #remove(shown, atOnce = false) {
    clearTimeout(shown.timer);
    if (this.#shown.get(shown.item.id) === shown) this.#shown.delete(shown.item.id);
    const away = () => {
      shown.node.remove();
      if (this.#shown.size > 0 || this.#region.querySelector(".toast")) return;
      this.#held = false;
      this.#hidden = 0;
      this.#count();
      if (this.#region.matches(":popover-open")) this.#region.hidePopover();
    };
    if (atOnce || matchMedia("(prefers-reduced-motion: reduce)").matches) return away();
    shown.node.classList.add("leaving");
    shown.node.inert = true;
    setTimeout(away, 140);
  }

  #onKey(event) {
    if (event.key !== "Escape") return;
    const node = event.target.closest(".toast");
    const shown = [...this.#shown.values()].find((each) => each.node === node);
    event.stopPropagation();
    shown ? this.#dismiss(shown) : this.clear();
  }
}

/** A title: a link where it leads somewhere, else plain words. */
function titleNode(item, part, follow) {
  if (item.url === null) return el("div", { class: "title", part, dir: "auto" });
  const elsewhere = new URL(item.url, location.origin).origin !== location.origin;
  const link = el("a", {
    class: "title open",
    part,
    dir: "auto",
    href: item.url,
    rel: "noopener noreferrer",
    target: elsewhere ? "_blank" : null,
  });
  link.addEventListener("click", (event) => {
    if (!follow(event)) event.preventDefault();
  });
  return link;
}

/** The bell and the list under it. */
class Panel {
  #host;
  #bell;
  #badge;
  #panel;
  #parts = {};
  #rows = new Map();
  #active = null;
  #undo = null;
  #warning = null;
  #clock = null;
  #placing = () => this.#place();
  #outside = (event) => {
    if (!event.composedPath().includes(this.#panel) && !event.composedPath().includes(this.#bell))
      this.close(false);
  };

  constructor(host) {
    this.#host = host;
    this.#badge = el("span", { class: "badge", part: "badge", "aria-hidden": "true", hidden: "" });
    this.#bell = el(
      "button",
      {
        class: "bell",
        part: "bell",
        type: "button",
        "aria-haspopup": "dialog",
        "aria-expanded": "false",
        on: { click: () => (this.isOpen ? this.close() : this.open()) },
      },
      icon("bell"),
      this.#badge,
    );
    this.#panel = this.#build();
  }

  get nodes() {
    return [this.#bell, this.#panel];
  }

  get isOpen() {
    return this.#panel.matches(":popover-open");
  }

  focusBell() {
    this.#bell.focus();
  }

  open() {
    if (this.isOpen || !this.#panel.isConnected) return;
    this.#panel.showPopover();
    this.#bell.setAttribute("aria-expanded", "true");
    this.#active = null;
    this.render();
    this.#place();
    this.#parts.scroll.scrollTop = 0;
    this.#clock = setInterval(() => this.#tellTimes(), 30_000);
    document.addEventListener("pointerdown", this.#outside, true);
    addEventListener("resize", this.#placing);
    addEventListener("scroll", this.#placing, { capture: true, passive: true });
    (this.#primary(this.#order()[0]) ?? this.#panel).focus({ preventScroll: true });
    this.#host.opened();
  }

  close(refocus = true) {
    if (!this.isOpen) return;
    clearInterval(this.#clock);
    document.removeEventListener("pointerdown", this.#outside, true);
    removeEventListener("resize", this.#placing);
    removeEventListener("scroll", this.#placing, true);
    this.#panel.hidePopover();
    this.#bell.setAttribute("aria-expanded", "false");
    this.#offerUndo(null);
    this.#rows.clear();
    this.#parts.list.replaceChildren();
    if (refocus) this.#bell.focus();
  }

  localize(words) {
    const parts = this.#parts;
    this.#panel.setAttribute("aria-label", words.heading);
    parts.heading.textContent = words.heading;
    parts.filters.setAttribute("aria-label", words.filter);
    for (const [name, button] of Object.entries(parts.filter)) button.textContent = words[name];
    parts.readAll.textContent = words.readAll;
    parts.close.setAttribute("aria-label", words.close);
    parts.older.textContent = words.older;
    parts.newest.textContent = words.newest;
    parts.undoWords.textContent = words.archivedNow;
    parts.undoButton.textContent = words.undo;
    this.#rows.clear();
    parts.list.replaceChildren();
    this.render();
  }

  render() {
    const { inbox, words, state } = this.#host;
    const unread = inbox?.unread ?? 0;
    this.#badge.hidden = unread === 0;
    setText(this.#badge, unread > 99 ? "99+" : String(unread));
    this.#bell.setAttribute("aria-label", words.bell(unread));
    if (!this.isOpen) return;
    const parts = this.#parts;
    const filter = inbox?.filter ?? "inbox";
    for (const [name, button] of Object.entries(parts.filter)) {
      button.setAttribute("aria-pressed", String(name === filter));
    }
    parts.readAll.hidden = unread === 0;
    const away =
      state === "signed-out"
        ? words.signedOut
        : state === "offline"
          ? words.offline
          : (this.#warning?.words ?? "");
    parts.notice.hidden = away === "";
    setText(parts.noticeWords, away);
    parts.newest.hidden = inbox?.atNewest ?? true;
    parts.older.hidden = !inbox?.hasOlder;
    const items = inbox?.items ?? [];
    this.#renderRows(items);
    parts.empty.hidden = items.length > 0;
    if (items.length === 0) {
      const waits = inbox !== null && !inbox.loaded && state !== "signed-out";
      setText(parts.emptyTitle, waits ? words.loading : words.empty[filter]);
      setText(parts.emptyHint, waits ? "" : words.emptyHint[filter]);
    }
  }

  /** An item was archived: say so, and let it be taken back. */
  offerUndo(item) {
    this.#offerUndo(item);
  }

  /** Something that was asked for did not work: said above the list, for a while. */
  warn(words) {
    clearTimeout(this.#warning?.timer);
    this.#warning = words && { words, timer: setTimeout(() => this.warn(null), 6000) };
    this.render();
  }

  #build() {
    const parts = this.#parts;
    const host = this.#host;
    const symbol = (name, action) =>
      el("button", { class: "icon", type: "button", on: { click: action } }, icon(name));
    parts.heading = el("h2", { part: "heading" });
    parts.readAll = el("button", {
      class: "text-button",
      part: "read-all",
      type: "button",
      on: { click: () => this.#readAll() },
    });
    parts.close = symbol("close", () => this.close());
    parts.filter = Object.fromEntries(
      ["inbox", "unread", "archived"].map((name) => [
        name,
        el("button", {
          class: "filter",
          part: "filter",
          type: "button",
          on: { click: () => this.#show(name) },
        }),
      ]),
    );
    parts.filters = el("div", { class: "filters", role: "group" }, ...Object.values(parts.filter));
    parts.noticeWords = el("span");
    parts.notice = el(
      "div",
      { class: "notice", part: "notice", role: "status", hidden: "" },
      icon("warning"),
      parts.noticeWords,
    );
    parts.undoWords = el("span");
    parts.undoButton = el("button", {
      class: "text-button",
      type: "button",
      on: { click: () => this.#takeBack() },
    });
    parts.undo = el(
      "div",
      { class: "notice", role: "status", hidden: "" },
      parts.undoWords,
      parts.undoButton,
    );
    parts.newest = el("button", {
      class: "turn newest",
      type: "button",
      hidden: "",
      on: { click: () => this.#turn("newest") },
    });
    parts.older = el("button", {
      class: "turn",
      type: "button",
      hidden: "",
      on: { click: () => this.#turn("older") },
    });
    parts.list = el("ul", { part: "list", role: "list" });
    parts.emptyTitle = el("strong");
    parts.emptyHint = el("span");
    parts.empty = el(
      "div",
      { class: "empty", part: "empty" },
      icon("bell"),
      parts.emptyTitle,
      parts.emptyHint,
    );
    parts.scroll = el(
      "div",
      { class: "scroll" },
      parts.newest,
      parts.list,
      parts.empty,
      parts.older,
    );
    const panel = el(
      "div",
      { class: "panel", part: "panel", role: "dialog", popover: "manual", tabindex: "-1" },
      el("div", { class: "head" }, parts.heading, parts.readAll, parts.close),
      el("div", { class: "bar" }, parts.filters),
      parts.notice,
      parts.undo,
      parts.scroll,
    );
    panel.addEventListener("keydown", (event) => this.#onKey(event));
    panel.addEventListener("focusin", (event) => this.#onFocus(event.target));
    // Nobody is kept inside: whoever tabs out of it has left it.
    panel.addEventListener("focusout", (event) => {
      const to = event.relatedTarget;
      if (to !== null && !panel.contains(to) && to !== this.#bell && !host.contains(to))
        this.close(false);
    });
    return panel;
  }

  /** Under the bell, kept within the window. */
  #place() {
    const bell = this.#bell.getBoundingClientRect();
    const { style } = this.#panel;
    const width = this.#panel.offsetWidth;
    const narrow = innerWidth <= 480;
    const edge = narrow ? 8 : 12;
    const wanted =
      getComputedStyle(this.#host).direction === "rtl" ? bell.left : bell.right - width;
    const left = Math.min(
      Math.max(wanted, edge),
      Math.max(document.documentElement.clientWidth - width - edge, edge),
    );
    const below = innerHeight - bell.bottom - 8 - edge;
    const above = bell.top - 8 - edge;
    const up = below < 320 && above > below;
    style.left = `${Math.round(left)}px`;
    style.top = up ? "auto" : `${Math.round(Math.max(bell.bottom + 8, edge))}px`;
    style.bottom = up ? `${Math.round(innerHeight - bell.top + 8)}px` : "auto";
    style.maxHeight = `${Math.round(Math.min(620, Math.max(up ? above : below, 240)))}px`;
  }

  #order() {
    return [...this.#parts.list.children].map((node) => node.dataset.id);
  }

  #primary(id) {
    return this.#rows.get(id)?.primary ?? null;
  }

  #renderRows(items) {
    const list = this.#parts.list;
    const had = this.#order();
    const focused = this.#host.shadowRoot.activeElement?.closest(".item")?.dataset.id ?? null;
    const wanted = new Set(items.map((item) => item.id));
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.node.remove();
      this.#rows.delete(id);
    }
    items.forEach((item, place) => {
      const row = this.#rows.get(item.id);
      const kept = row && row.primaryIsFor === rowKind(item) ? row : this.#newRow(item, row);
      this.#fillRow(kept, item);
      if (list.children[place] !== kept.node)
        list.insertBefore(kept.node, list.children[place] ?? null);
    });
    if (!this.#rows.has(this.#active)) {
      const from = had.indexOf(this.#active);
      const next =
        from < 0
          ? null
          : [...had.slice(from + 1), ...had.slice(0, from).reverse()].find((id) => wanted.has(id));
      this.#active = next ?? items[0]?.id ?? null;
    }
    this.#rove();
    // Focus that was on a row which went, or was moved, stays in the list.
    if (focused !== null && !this.#panel.contains(this.#host.shadowRoot.activeElement)) {
      (this.#primary(wanted.has(focused) ? focused : this.#active) ?? this.#panel).focus({
        preventScroll: true,
      });
    }
  }

  #newRow(item, former) {
    const tone = el("span", { class: "tone", part: "icon" });
    const words = el("div", { class: "words" });
    const primary =
      item.url === null
        ? el("button", {
            class: "title open",
            part: "item-title",
            dir: "auto",
            type: "button",
            on: { click: () => this.#host.follow(item.id) },
          })
        : titleNode(item, "item-title", (event) => this.#host.follow(item.id, event));
    const said = el("span", { class: "said" });
    const body = el("p", { class: "body", part: "item-body", dir: "auto" });
    const fill = el("div", { class: "fill", part: "fill" });
    const track = el(
      "div",
      {
        class: "track",
        part: "track",
        role: "progressbar",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        hidden: "",
      },
      fill,
    );
    const when = el("time", { class: "when", part: "time" });
    const read = el("button", { class: "icon", part: "action", type: "button" });
    const away = el("button", { class: "icon", part: "action", type: "button" });
    read.addEventListener("click", () => this.#host.toggleRead(item.id));
    away.addEventListener("click", () => this.#host.toggleArchived(item.id));
    words.append(primary, said, body, track, el("div", { class: "foot" }, when, read, away));
    const dot = el("span", { class: "dot", part: "dot", "aria-hidden": "true" });
    const node = el("li", { class: "item", part: "item", "data-id": item.id }, tone, words, dot);
    const row = {
      node,
      primary,
      said,
      tone,
      body,
      track,
      fill,
      when,
      read,
      away,
      primaryIsFor: rowKind(item),
    };
    former?.node.replaceWith(node);
    this.#rows.set(item.id, row);
    return row;
  }

  #fillRow(row, item) {
    const { words } = this.#host;
    const [tone, symbol] = lookOf(item.type);
    row.node.dataset.tone = tone;
    row.node.dataset.state = item.state;
    if (row.tone.dataset.icon !== symbol) {
      row.tone.dataset.icon = symbol;
      row.tone.replaceChildren(icon(symbol));
    }
    setText(row.primary, item.title);
    setText(row.said, item.state === "unread" ? words.isUnread : "");
    setText(row.body, item.body);
    row.body.hidden = item.body === "";
    row.track.hidden = item.progress === null;
    if (item.progress !== null) {
      row.track.setAttribute("aria-valuenow", item.progress);
      row.track.setAttribute("aria-label", words.progress(item.progress));
      row.fill.style.setProperty("--_done", `${item.progress}%`);
    }
    name(
      row.read,
      item.state === "unread" ? "opened" : "envelope",
      item.state === "unread" ? words.markRead : words.markUnread,
    );
    name(
      row.away,
      item.state === "archived" ? "restore" : "archive",
      item.state === "archived" ? words.restore : words.archive,
    );
    row.read.hidden = item.state === "archived";
    this.#tellTime(row, item);
  }

  #tellTimes() {
    for (const item of this.#host.inbox?.items ?? []) {
      const row = this.#rows.get(item.id);
      if (row) this.#tellTime(row, item);
    }
  }

  #tellTime(row, item) {
    const at = Date.parse(item.createdAt);
    row.when.hidden = Number.isNaN(at);
    if (Number.isNaN(at)) return;
    row.when.dateTime = item.createdAt;
    setText(row.when, ago(at, Date.now(), this.#host.lang) ?? this.#host.words.now);
    row.when.title = new Intl.DateTimeFormat(this.#host.lang, {
      dateStyle: "full",
      timeStyle: "short",
    }).format(at);
  }

  /** One row is in the tab order, with its buttons; arrows move between rows. */
  #rove() {
    for (const [id, row] of this.#rows) {
      const index = id === this.#active ? 0 : -1;
      for (const node of [row.primary, row.read, row.away]) node.tabIndex = index;
    }
  }

  #onFocus(target) {
    const id = target.closest?.(".item")?.dataset.id;
    if (id === undefined || id === this.#active) return;
    this.#active = id;
    this.#rove();
  }

  #onKey(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.close();
      return;
    }
    const order = this.#order();
    const inList = event.target.closest(".item") !== null || event.target === this.#panel;
    const from = order.indexOf(this.#active);
    const to = {
      ArrowDown: Math.min(from + 1, order.length - 1),
      ArrowUp: Math.max(from - 1, 0),
      Home: 0,
      End: order.length - 1,
    }[event.key];
    if (to === undefined || !inList || order.length === 0) return;
    event.preventDefault();
    this.#primary(order[event.target === this.#panel ? 0 : to])?.focus();
  }

  #show(filter) {
    this.#offerUndo(null);
    this.#host.attempt(() => this.#host.inbox?.show(filter));
  }

  #readAll() {
    (this.#primary(this.#active) ?? this.#panel).focus({ preventScroll: true }); // the button goes
    this.#host.readAll();
  }

  async #turn(which) {
    const button = this.#parts[which];
    if (button.getAttribute("aria-disabled") === "true") return;
    const last = this.#order().at(-1);
    const focused = this.#host.shadowRoot.activeElement === button;
    button.setAttribute("aria-disabled", "true");
    button.textContent = this.#host.words.loading;
    await this.#host.attempt(() => this.#host.inbox?.[which]());
    button.removeAttribute("aria-disabled");
    button.textContent = this.#host.words[which];
    if (!focused || !this.isOpen) return;
    const order = this.#order();
    const next = which === "older" ? order[order.indexOf(last) + 1] : order[0];
    if (next !== undefined) this.#primary(next)?.focus();
  }

  #offerUndo(item) {
    clearTimeout(this.#undo?.timer);
    this.#undo = item && { item, timer: setTimeout(() => this.#offerUndo(null), 8000) };
    const focused = this.#host.shadowRoot.activeElement === this.#parts.undoButton;
    this.#parts.undo.hidden = item === null;
    if (focused && item === null && this.isOpen)
      (this.#primary(this.#active) ?? this.#panel).focus();
  }

  #takeBack() {
    const { item } = this.#undo ?? {};
    this.#offerUndo(null);
    if (item) this.#host.mark(item.id, item.state === "unread" ? "unread" : "read");
  }
}

const rowKind = (item) => item.url ?? "";

function name(button, symbol, label) {
  if (button.dataset.icon !== symbol) {
    button.dataset.icon = symbol;
    button.replaceChildren(icon(symbol));
  }
  button.setAttribute("aria-label", label);
  button.title = label;
}

const STEPS = [
  ["minute", 60],
  ["hour", 3600],
  ["day", 86_400],
];

/** How long ago, in the reader's words; null for just now, a date from a week on. */
function ago(at, now, lang) {
  const seconds = Math.max(0, (now - at) / 1000);
  const words = new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "long" });
  if (seconds < 60) return null;
  if (seconds >= 7 * 86_400) {
    const year = new Date(at).getFullYear() === new Date(now).getFullYear() ? undefined : "numeric";
    return new Intl.DateTimeFormat(lang, { day: "numeric", month: "long", year }).format(at);
  }
  const [unit, length] = STEPS.findLast(([, length]) => seconds >= length);
  return words.format(-Math.floor(seconds / length), unit);
}

// ------------------------------------------------------------------------------------- the element

const HOME = import.meta.url;

// On a server that renders pages there are no elements; importing this does no harm there.
class HuntazeToasts extends (globalThis.HTMLElement ?? class {}) {
  static observedAttributes = ["token", "hub", "locale", "lang", "limit", "no-bell"];

  /** The inbox, the words and the parts that the views share. */
  inbox = null;
  words = WORDS.en;
  lang = "en";

  #state = "signed-out";
  #getToken = null;
  #tokens = new Tokens((reason) => this.#askForToken(reason));
  #running = null;
  #user = null;
  #link = null;
  #tabs = null;
  #awaySince = null;
  #toasts;
  #panel;
  #polite = el("div", { class: "said", role: "status", "aria-live": "polite" });
  #assertive = el("div", { class: "said", role: "alert", "aria-live": "assertive" });
  #lastUnread = 0;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet()];
    this.#toasts = new Toasts(this);
    this.#panel = new Panel(this);
    root.append(...this.#panel.nodes, this.#toasts.node, this.#polite, this.#assertive);
  }

  connectedCallback() {
    for (const property of ["getToken", "token", "hub", "locale"]) this.#upgrade(property);
    this.#localize();
    addEventListener("online", this.#onBack);
    addEventListener("pageshow", this.#onBack);
    addEventListener("pagehide", this.#onLeaving);
    document.addEventListener("visibilitychange", this.#onVisibility);
    document.addEventListener("resume", this.#onBack);
    this.#start();
  }

  disconnectedCallback() {
    removeEventListener("online", this.#onBack);
    removeEventListener("pageshow", this.#onBack);
    removeEventListener("pagehide", this.#onLeaving);
    document.removeEventListener("visibilitychange", this.#onVisibility);
    document.removeEventListener("resume", this.#onBack);
    this.#panel.close(false);
    this.#stop();
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === "no-bell") this.#panel.nodes[0].hidden = after !== null;
    else if (name === "token") this.#newToken(after || null);
    else if (!this.isConnected)
      return; // it is read when it begins
    else if (name === "locale" || name === "lang") this.#localize();
    else this.#start();
  }

  // --- what pages may use

  get token() {
    return this.getAttribute("token");
  }

  set token(token) {
    token ? this.setAttribute("token", token) : this.removeAttribute("token");
  }

  get hub() {
    return this.getAttribute("hub");
  }

  set hub(url) {
    url ? this.setAttribute("hub", url) : this.removeAttribute("hub");
  }

  get locale() {
    return this.getAttribute("locale");
  }

  set locale(locale) {
    locale ? this.setAttribute("locale", locale) : this.removeAttribute("locale");
  }

  get getToken() {
    return this.#getToken;
  }

  set getToken(ask) {
    this.#getToken = typeof ask === "function" ? ask : null;
    if (this.#getToken && this.isConnected && this.#tokens.current === null) this.#start();
  }

  get unread() {
    return this.inbox?.unread ?? 0;
  }

  get items() {
    return this.inbox?.items ?? [];
  }

  get state() {
    return this.#state;
  }

  open() {
    this.#panel.open();
  }

  close() {
    this.#panel.close();
  }

  refresh() {
    this.#link?.hurry();
    return this.attempt(() => this.inbox?.sync());
  }

  markRead(id) {
    return this.mark(id, "read");
  }

  markUnread(id) {
    return this.mark(id, "unread");
  }

  archive(id) {
    return this.mark(id, "archive");
  }

  readAll() {
    return this.attempt(async () => {
      await this.inbox?.readAll();
      this.tellTabs({ kind: "changed" });
    });
  }

  // --- what the views use

  get mostToasts() {
    return whole(this.getAttribute("max-toasts"), 3, 1, 10);
  }

  durationOf(item) {
    if (isUnderWay(item) && item.type !== "job.queued") return STALLED_MS;
    // Nobody should have to be quick to read that something went wrong.
    if (lookOf(item.type)[0] === "failure") return Infinity;
    return whole(this.getAttribute("duration"), 6000, 1000, 3_600_000);
  }

  focusBell() {
    this.#panel.focusBell();
  }

  opened() {
    this.#toasts.clear();
  }

  toggleRead(id) {
    const item = this.inbox?.find(id);
    if (item) this.mark(id, item.state === "unread" ? "read" : "unread");
  }

  toggleArchived(id) {
    const item = this.inbox?.find(id);
    if (!item) return;
    if (item.state !== "archived") this.#panel.offerUndo(item);
    this.mark(id, item.state === "archived" ? "read" : "archive");
  }

  /** Somebody follows an item; false where the page will see to it itself. */
  follow(id, event = null) {
    const item = this.inbox?.find(id) ?? this.#toasted.get(id);
    if (!item) return true;
    if (item.state === "unread") this.mark(id, "read");
    const goes = this.#emit("huntaze-open", { item, url: item.url }, true);
    const stays = event !== null && (event.ctrlKey || event.metaKey || event.shiftKey);
    if (item.url !== null && !stays) this.#panel.close(false);
    return goes;
  }

  mark(id, action) {
    return this.attempt(async () => {
      const item = await this.inbox?.mark(id, action);
      if (item) this.tellTabs({ kind: "item", item, unread: this.inbox.unread });
    });
  }

  /** Do it; where it fails, say so. */
  async attempt(action) {
    const inbox = this.inbox;
    try {
      await action();
      return true;
    } catch (error) {
      if (inbox !== this.inbox) return false;
      if (error instanceof SignedOut) this.#setState("signed-out");
      const said = error instanceof SignedOut ? this.words.signedOut : this.words.failed;
      this.#panel.warn(said);
      this.#announce(said, true);
      return false;
    }
  }

  tellTabs(message) {
    this.#tabs?.postMessage(message);
  }

  // --- beginning and end

  #toasted = new Map();

  #upgrade(property) {
    if (!Object.hasOwn(this, property)) return;
    const value = this[property];
    delete this[property];
    this[property] = value;
  }

  #start() {
    this.#stop();
    this.#user = null;
    const running = new AbortController();
    const hub = new Hub(baseOf(this.getAttribute("hub")), this.#tokens, running.signal);
    this.#running = running;
    this.inbox = new Inbox(hub, whole(this.getAttribute("limit"), 100, PAGE, 500), {
      changed: () => this.#changed(),
      updated: (item) => this.#toasts.update(item),
      news: (items, how) => this.#news(items, how),
    });
    this.#setState("connecting");
    this.#link = new Link(hub, {
      open: () => this.#sync(),
      message: (message) => this.#onMessage(message),
      state: (state) => this.#linkIs(state),
    });
    // The list need not wait for the socket, nor do without it where sockets are blocked.
    if (this.#tokens.current !== null) this.#sync();
    this.#changed();
  }

  #stop() {
    this.#running?.abort();
    this.#running = this.#link = this.inbox = null;
    this.#tabs?.close();
    this.#tabs = null;
    this.#awaySince = null;
    this.#toasts.clear();
    this.#toasted.clear();
  }

  /** A fresh token of the same user goes on; anybody else begins with nothing of this one's. */
  #newToken(token) {
    const same = isSameUser(token, this.#tokens.current);
    this.#tokens.set(token);
    if (!this.isConnected) return;
    if (!same) {
      this.#start();
      return;
    }
    if (this.#state === "signed-out") this.#setState("connecting");
    this.#link?.hurry();
  }

  async #askForToken(reason) {
    const running = this.#running;
    let asked = null;
    if (this.#getToken) asked = this.#getToken(reason);
    else this.#emit("huntaze-token", { reason, provide: (token) => (asked = token) });
    const given = (await asked) || null;
    const known = this.#tokens.current;
    if (running !== this.#running || given === null || known === null) return given;
    if (isSameUser(given, known)) return given;
    this.#newToken(given); // somebody else signed in meanwhile
    return null;
  }

  async #sync() {
    const inbox = this.inbox;
    this.#joinTabs();
    try {
      await inbox?.sync();
      if (inbox === this.inbox) this.#awaySince = null;
    } catch {
      // The next connection asks again.
    }
  }

  /** Tabs of this browser that show the same user's inbox. */
  #joinTabs() {
    const token = this.#tokens.current;
    const user = token && claimsOf(token).user;
    if (!user || this.#user === user || typeof BroadcastChannel === "undefined") return;
    this.#tabs?.close();
    this.#user = user;
    this.#tabs = new BroadcastChannel(`huntaze-toasts ${baseOf(this.getAttribute("hub"))} ${user}`);
    this.#tabs.addEventListener("message", ({ data }) => {
      if (data?.kind === "item") this.inbox?.told(data.item, data.unread);
      else if (data?.kind === "changed") this.#sync();
      else if (data?.kind === "gone") this.#toasts.goneElsewhere(data.id, data.seq);
    });
  }

  #linkIs(state) {
    if (state !== "online") this.#awaySince ??= this.#link?.heardAt ?? Date.now();
    this.#setState(state);
  }

  #onMessage(message) {
    this.inbox?.push(message);
  }

  #onBack = () => this.#link?.hurry();

  #onLeaving = () => this.#link?.drop();

  #onVisibility = () => {
    this.#toasts.visibility();
    if (!document.hidden) this.#link?.hurry();
  };

  // --- what has come

  #news(items, { late = false, caughtUp = false, item = null }) {
    if (!caughtUp && items.length === 0) {
      this.#toasts.update(item);
      return;
    }
    const brief = this.#awaySince === null || Date.now() - this.#awaySince < BRIEF_MS;
    if (late || (caughtUp && !brief)) {
      items.forEach((each) => this.#toasts.update(each));
      if (caughtUp) this.#announce(this.words.missed(items.length));
      return;
    }
    for (const each of items) this.#pop(each);
  }

  #pop(item) {
    const wanted = this.#emit("huntaze-notification", { item }, true);
    if (!wanted || this.hasAttribute("no-toasts")) return;
    remember(this.#toasted, item.id, item, 50);
    const [tone] = lookOf(item.type);
    const popped = this.#panel.isOpen ? true : this.#toasts.show(item);
    // Of a job's progress the beginning and the end are said; the bar shows the rest.
    if (popped && item.progress === null) {
      this.#announce(item.body ? `${item.title}. ${item.body}` : item.title, tone === "failure");
    }
  }

  #announce(text, urgent = false) {
    const region = urgent ? this.#assertive : this.#polite;
    const line = el("p", { text: shortText(text, 400) });
    region.append(line);
    while (region.children.length > 3) region.firstElementChild.remove();
    setTimeout(() => line.remove(), 10_000);
  }

  #changed() {
    this.#panel.render();
    const unread = this.unread;
    if (unread === this.#lastUnread) return;
    this.#lastUnread = unread;
    this.#emit("huntaze-unread", { unread });
  }

  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#panel.render();
    this.#emit("huntaze-state", { state });
  }

  #localize() {
    const asked =
      this.getAttribute("locale") ||
      this.getAttribute("lang") ||
      this.closest("[lang]")?.getAttribute("lang") ||
      navigator.language ||
      "en";
    const language = asked.toLowerCase().split("-")[0];
    this.lang = Object.hasOwn(WORDS, language) ? language : "en";
    this.words = WORDS[this.lang];
    for (const node of [...this.#panel.nodes, this.#toasts.node])
      node.setAttribute("lang", this.lang);
    this.#panel.localize(this.words);
    this.#toasts.localize(this.words);
  }

  #emit(type, detail, cancelable = false) {
    return this.dispatchEvent(
      new CustomEvent(type, { detail, bubbles: true, composed: true, cancelable }),
    );
  }
}

let shared = null;

function sheet() {
  if (shared === null) {
    shared = new CSSStyleSheet();
    shared.replaceSync(STYLE);
  }
  return shared;
}

/** Where the hub is: what the page says, else where this file came from. */
function baseOf(given) {
  const base = given ? new URL(given, document.baseURI) : new URL("../", HOME);
  return base.href.endsWith("/") ? base.href : `${base.href}/`;
}

/** Whether two tokens are one user's, as far as they say. */
function isSameUser(one, other) {
  const user = one && other ? claimsOf(one).user : null;
  return user !== null && user === claimsOf(other).user;
}

function whole(text, otherwise, least, most) {
  const number = Number.parseInt(text ?? "", 10);
  return Number.isNaN(number) ? otherwise : Math.min(Math.max(number, least), most);
}

if (globalThis.customElements && !customElements.get("huntaze-toasts")) {
  customElements.define("huntaze-toasts", HuntazeToasts);
}

export { HuntazeToasts };
