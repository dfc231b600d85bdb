// Keeps the timers running, and renews the content when the collector reports a change. The pages work without this file.
"use strict";

// A timer counts from the server's time, so that a wrong clock in this device changes nothing.
let serverNow = Number(document.body.dataset.now);
const loadedAt = performance.now();
let receivedAt = loadedAt; // when `serverNow` was received

const now = () => serverNow + (performance.now() - receivedAt) / 1000;

function timerText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const two = (number) => String(number).padStart(2, "0");
  const text = hours || days ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  return days ? `${days} d ${text}` : text;
}

function updateTimers() {
  for (const timer of document.querySelectorAll(".timer")) {
    const { until, since } = timer.dataset;
    timer.firstChild.data = timerText(until ? Number(until) - now() : now() - Number(since));
  }
}

// The shortest time between two reloads, in ms: two seconds for incidents, ten for readings, which change all the time.
const MIN_INTERVAL_MS = { incidents: 2000, readings: 10000 };
let lastReload = 0;
let nextReload = Infinity;
let reloadTimer;

function scheduleReload(interval) {
  const at = Math.max(performance.now(), lastReload + interval);
  if (at >= nextReload) return;
  clearTimeout(reloadTimer);
  nextReload = at;
  reloadTimer = setTimeout(reload, at - performance.now());
}

async function reload() {
  nextReload = Infinity;
  lastReload = performance.now();
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (SIGNED_OUT.includes(response.status)) return showEnded();
    if (!response.ok) throw new Error(String(response.status));
    show(new DOMParser().parseFromString(await response.text(), "text/html"));
    showLost(false);
  } catch {
    showLost(true);
  }
  updateTimers();
}

function show(fresh) {
  serverNow = Number(fresh.body.dataset.now);
  receivedAt = performance.now();
  const news = newsOf(fresh);
  document.getElementById("changed").hidden = true;
  keepingPlace(() => {
    for (const part of ["main", ".clock", "title"]) update(document.querySelector(part), fresh.querySelector(part));
  });
  announce(news);
}

// ---- Only what differs is changed: focus, selection, opened parts, the place on the page and half-written notes stay. ----

const keyOf = (node) => node.id || node.dataset?.key || "";

const changedByPerson = (field) =>
  field.matches("select") ? [...field.options].some((one) => one.selected !== one.defaultSelected) : field.value !== field.defaultValue;

// Whether a person has begun to write in this part.
function isWritten(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return false;
  const fields = [node, ...node.querySelectorAll("*")].filter((one) => one.matches("input:not([type=hidden]), select, textarea"));
  return fields.some((field) => field === document.activeElement || changedByPerson(field));
}

// What a person has written stays, and the page says that it is not up to date.
function discard(node) {
  if (isWritten(node)) document.getElementById("changed").hidden = false;
  else node.remove();
}

function update(node, fresh) {
  if (node.isEqualNode(fresh)) return;
  if (node.nodeName !== fresh.nodeName || keyOf(node) !== keyOf(fresh)) {
    node.before(document.adoptNode(fresh));
    discard(node);
  } else if (node.nodeType === Node.ELEMENT_NODE) {
    updateAttributes(node, fresh);
    updateChildren(node, fresh);
  } else if (node.data !== fresh.data) {
    node.data = fresh.data;
  }
}

function updateAttributes(node, fresh) {
  for (const { name } of [...node.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) node.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (name !== "open" && node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
}

// A child with a key is the same child at any place. Any other is the same as the next one of its kind.
function updateChildren(parent, fresh) {
  const wanted = new Set([...fresh.children].map(keyOf).filter(Boolean));
  for (const child of [...parent.children]) {
    if (keyOf(child) && !wanted.has(keyOf(child))) discard(child);
  }
  const known = new Map([...parent.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let next = parent.firstChild;
  for (const child of [...fresh.childNodes]) {
    while (next && keyOf(next) && !wanted.has(keyOf(next))) next = next.nextSibling; // written in, and so it stays
    const key = keyOf(child);
    const same = key ? known.get(key) : next && !keyOf(next) && next.nodeName === child.nodeName ? next : undefined;
    if (!same) {
      parent.insertBefore(document.adoptNode(child), next);
      unselect(child);
    } else {
      if (same === next) next = next.nextSibling;
      else parent.insertBefore(same, next);
      update(same, child);
    }
  }
  while (next) {
    const last = next;
    next = next.nextSibling;
    if (!wanted.has(keyOf(last))) discard(last);
  }
}

// What a person has not seen is not answered with the rest.
function unselect(node) {
  if (node.nodeName !== "LI") return;
  for (const box of node.querySelectorAll("input[type=checkbox]")) box.checked = false;
}

function keepingPlace(change) {
  const focused = document.activeElement;
  const trouble = focused?.closest("[data-trouble]")?.dataset.trouble;
  // At the top of the page, the worst comes into view.
  const marks = scrollY ? [...document.querySelectorAll("main :is(article, section, h1, h2, h3)[id]")] : [];
  const mark = marks.find((one) => one.getBoundingClientRect().top >= 0);
  const top = mark?.getBoundingClientRect().top;
  change();
  if (mark?.isConnected) scrollBy(0, mark.getBoundingClientRect().top - top);
  if (!focused || focused === document.body || document.activeElement === focused) return;
  const place = focused.isConnected ? focused : trouble && document.querySelector(`main [data-trouble="${trouble}"] a`);
  (place || document.getElementById("main")).focus({ preventScroll: true });
}

// ---- What has changed is said once by a screen reader. ----

const newsOf = (page) =>
  new Map([...page.querySelectorAll("[data-news]")].map((one) => [one.dataset.trouble, one.dataset.news]));
let lastNews = newsOf(document);

function announce(news) {
  const region = document.getElementById("news");
  const say = (form, values) => form.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const added = [...news].filter(([number]) => !lastNews.has(number)).map(([, text]) => text);
  const changed = [...news].filter(([number, text]) => lastNews.has(number) && lastNews.get(number) !== text).map(([, text]) => text);
  const gone = [...lastNews].filter(([number]) => !news.has(number)).map(([, text]) => text);
  lastNews = news;
  const said = changed.concat(gone.map((what) => say(region.dataset.gone, { what })));
  if (added.length) said.unshift(say(added.length > 1 ? region.dataset.more : region.dataset.new, { what: added[0], count: added.length }));
  if (said.length) region.textContent = said.join(". ");
}

function showLost(lost) {
  document.getElementById("lost").hidden = !lost;
}

// The answers to somebody whose session or link has ended. The collector is there; it does not know who asks.
const SIGNED_OUT = [401, 410];
let ended = false;

function showEnded() {
  ended = true;
  events.close();
  showLost(false);
  document.getElementById("ended").hidden = false;
}

// A stream that breaks does not say why. A request does.
async function findOut() {
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (SIGNED_OUT.includes(response.status)) return showEnded();
  } catch {
    // no answer at all
  }
  showLost(true);
  // The browser connects again by itself, unless the answer was an error.
  if (events.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
}

const RETRY_MS = 3000;
const QUIET_MS = 600000; // an open page asks at least so often, which also renews its session
const follow = document.body.dataset.follow.split(" ").filter(Boolean);
let events;

function connect() {
  if (ended) return;
  events = new EventSource(document.body.dataset.events);
  for (const name of follow) events.addEventListener(name, () => scheduleReload(MIN_INTERVAL_MS[name]));
  events.onerror = findOut;
  events.onopen = () => {
    showLost(false);
    if (performance.now() - loadedAt > 5000) scheduleReload(MIN_INTERVAL_MS.incidents); // an event may have been missed
  };
}

if (follow.length) {
  connect();
  setInterval(() => ended || scheduleReload(0), QUIET_MS);
}
setInterval(updateTimers, 1000);
updateTimers();
