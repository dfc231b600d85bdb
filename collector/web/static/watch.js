// Keeps the timers running, and reloads the content when the collector reports a change. The pages work without this file.
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
    timer.textContent = timerText(until ? Number(until) - now() : now() - Number(since));
  }
}

// A person who is writing a note, or has opened a form, must not lose it.
const busy = () => document.querySelector("main details[open], main input:focus, main button:focus") !== null;

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
  if (busy()) {
    document.getElementById("changed").hidden = false;
    return;
  }
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (SIGNED_OUT.includes(response.status)) return showEnded();
    if (!response.ok) throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (busy()) return scheduleReload(MIN_INTERVAL_MS.incidents);
    for (const part of ["main", ".clock", "title"]) {
      document.querySelector(part).replaceWith(document.adoptNode(fresh.querySelector(part)));
    }
    serverNow = Number(fresh.body.dataset.now);
    receivedAt = performance.now();
    showLost(false);
  } catch {
    showLost(true);
  }
  updateTimers();
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
  setInterval(() => ended || busy() || scheduleReload(0), QUIET_MS);
}
setInterval(updateTimers, 1000);
updateTimers();
