// What the console does better with a script; all of it works without.
"use strict";

const EVERY_MS = 2000;

// Times are written on the server, in the zone that the browser is in.
function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone) return;
  const told = document.cookie.split("; ").includes(`huntaze_zone=${zone}`);
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie =
    `huntaze_zone=${zone}; Path=/console; Max-Age=31536000; SameSite=Strict${secure}`;
  // The page was written before the zone was known. What answered a form is not asked for twice.
  const again = "got" in document.body.dataset && document.querySelector("time");
  if (!told && again && document.cookie.includes("huntaze_zone=")) location.reload();
}

// The part of a page that changes is asked for again and put in its place.
function keepLive() {
  const state = document.getElementById("live-state");
  const button = document.getElementById("live-button");
  if (!state || !button) return;
  button.parentElement.hidden = false;
  let going = true;
  let timer = 0;

  const say = (what) => {
    state.textContent = state.dataset[what];
    state.className = what;
  };

  const later = () => {
    clearTimeout(timer);
    if (going && !document.hidden) timer = setTimeout(ask, EVERY_MS);
  };

  const ask = () => {
    const part = document.getElementById("live");
    if (!part.dataset.from) {
      button.parentElement.hidden = true; // nothing changes any more
      return;
    }
    const request = new XMLHttpRequest();
    request.open("GET", part.dataset.from);
    request.responseType = "document"; // parsed, and nothing in it runs
    request.setRequestHeader("x-fragment", "1");
    request.timeout = 10 * EVERY_MS;
    request.onloadend = () => {
      if (request.status === 401) {
        location.reload();
        return;
      }
      const fresh = request.status === 200 && request.response?.getElementById("live");
      if (fresh && going) {
        replaceKeepingFocus(part, fresh);
        say("on");
      } else if (going) {
        say("lost");
      }
      later();
    };
    request.send();
  };

  button.addEventListener("click", () => {
    going = !going;
    button.textContent = going ? button.dataset.pause : button.dataset.go;
    say(going ? "on" : "off");
    if (going) ask();
    else clearTimeout(timer);
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && going) ask();
  });
  say("on");
  later();
}

function replaceKeepingFocus(part, fresh) {
  const active = part.contains(document.activeElement) ? document.activeElement : null;
  const bars = new Map();
  for (const bar of part.querySelectorAll("progress")) bars.set(bar.dataset.key, bar.value);
  const known = new Set(Array.from(part.querySelectorAll("tbody a"), (link) => link.href));
  const adopted = document.adoptNode(fresh);
  for (const row of adopted.querySelectorAll("tbody tr")) {
    if (known.size && !known.has(row.querySelector("a").href)) row.classList.add("new");
  }
  const moved = [];
  for (const bar of adopted.querySelectorAll("progress")) {
    const before = bars.get(bar.dataset.key);
    if (before === undefined || before >= bar.value) continue;
    moved.push([bar, bar.value]);
    bar.value = before;
  }
  part.replaceWith(adopted);
  // From where it was: the style sheet moves it to where it is.
  requestAnimationFrame(() => requestAnimationFrame(() => {
    for (const [bar, value] of moved) bar.value = value;
  }));
  if (active?.href) {
    focusFirst(adopted.querySelectorAll("a"), (each) => each.href === active.href);
  } else if (active?.form) {
    const same = (each) => each.form?.action === active.form.action;
    focusFirst(adopted.querySelectorAll("button"), same);
  }
}

function focusFirst(all, fits) {
  Array.from(all).find(fits)?.focus({ preventScroll: true });
}

function offerCopies() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll(".copy-button")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = button.dataset.done;
    });
  }
}

tellZone();
keepLive();
offerCopies();
