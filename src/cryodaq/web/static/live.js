// Keeps an open page true: listens for changes, fetches the page's middle again, and changes only what differs.
"use strict";

const QUIET_MS = 250; // changes that come together are fetched together
// Fetched now and then without a change: rates and ages fall by themselves, and the elogbook tells no changes.
const SAFETY_MS = 1000 * (document.body.dataset.again || 60);
const main = document.getElementById("main");
const topic = document.body.dataset.topic;
const light = document.querySelector(".live");
let since = document.body.dataset.since;
let source = null;
let timer = null;
let fetching = false;
let again = false;

function say(state, words) {
  if (light && light.textContent !== words) {
    light.textContent = words;
    light.dataset.state = state;
  }
}

// Makes `old` equal to `next`, keeping every node that is alike.
function morph(old, next) {
  if (old.nodeType === Node.ELEMENT_NODE && "lazy" in old.dataset) {
    old.dataset.lazy = next.dataset.lazy;
    fill(old);
    return;
  }
  if (old.nodeName === "DETAILS" && old.open) next.open = true; // what somebody opened stays open
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
  morphChildren(old, next);
}

// Children with an id are matched by it, wherever they are; others in their order, by kind.
function morphChildren(old, next) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  const used = new Set();
  let at = old.firstChild;
  for (const wanted of next.childNodes) {
    let node = wanted.id ? known.get(wanted.id) : at;
    if (!wanted.id) while (node && (node.id || node.nodeName !== wanted.nodeName)) node = node.nextSibling;
    if (!node || node.nodeName !== wanted.nodeName) {
      node = old.insertBefore(document.importNode(wanted, true), at);
    } else {
      if (node === at) at = at.nextSibling;
      else old.insertBefore(node, at);
      morph(node, wanted);
    }
    used.add(node);
  }
  for (const child of [...old.childNodes]) if (!used.has(child)) child.remove();
}

// Fetches the costly part of a page after the page itself; at most once at a time, and not more often than now and then.
async function fill(place) {
  if (place.filling) return;
  place.filling = true;
  try {
    const answer = await fetch(place.dataset.lazy, { headers: { "X-Fragment": "1" }, cache: "no-store" });
    if (answer.ok) {
      const parsed = new DOMParser().parseFromString(`<main>${await answer.text()}</main>`, "text/html");
      morphChildren(place, parsed.querySelector("main"));
    }
  } catch {
    say("lost", "no connection");
  }
  setTimeout(() => {
    place.filling = false;
  }, 2000);
}

async function refresh() {
  timer = null;
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-Fragment": "1" }, cache: "no-store" });
    if (answer.status === 401) {
      location.reload();
      return;
    }
    if (answer.status === 503) say("lost", "the elogbook does not answer");
    if (answer.ok) {
      const parsed = new DOMParser().parseFromString(`<main>${await answer.text()}</main>`, "text/html");
      morphChildren(main, parsed.querySelector("main"));
      ages();
    }
  } catch {
    say("lost", "no connection");
  } finally {
    fetching = false;
    if (again) {
      again = false;
      soon();
    }
  }
}

function soon() {
  if (timer === null) timer = setTimeout(refresh, QUIET_MS);
}

function listen() {
  const query = new URLSearchParams({ topic });
  if (since) query.set("since", since);
  source = new EventSource(`/live?${query}`);
  const heard = (event) => {
    since = event.lastEventId || since;
    say("on", "live");
  };
  source.addEventListener("hello", heard);
  source.addEventListener("changed", (event) => {
    heard(event);
    soon();
  });
  source.addEventListener("error", () => {
    say("lost", "reconnecting");
    if (source && source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => {
        if (!document.hidden && !source) listen();
        soon();
      }, 3000);
    }
  });
}

function ages() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[data-age]")) {
    const words = `${length((now - Date.parse(element.dateTime)) / 1000)} ago`;
    if (element.textContent !== words) element.textContent = words;
  }
}

// The same words as the server's `duration`.
function length(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = (n, unit) => `${Math.floor(n)}\u00a0${unit}`;
  if (whole < 60) return parts(whole, "s");
  if (whole < 3600) return parts(whole / 60, "min");
  if (whole < 86400) return `${parts(whole / 3600, "h")} ${parts((whole % 3600) / 60, "min")}`;
  return `${parts(whole / 86400, "d")} ${parts((whole % 86400) / 3600, "h")}`;
}

// A page that could not be shown is asked for again.
if ("retry" in document.body.dataset) setTimeout(() => location.replace(location.href), 5000);

for (const place of document.querySelectorAll("[data-lazy]")) fill(place);

if (topic) {
  listen();
  setInterval(() => {
    if (!document.hidden) soon();
  }, SAFETY_MS);
  setInterval(ages, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      if (source) source.close(); // browsers allow few connections to one host; a hidden page needs none
      source = null;
    } else if (!source) {
      soon();
      listen();
    }
  });
}
