// Lets the clocks run and loads the page's matter again when the collector says that something changed. The page is
// complete without this file.
"use strict";

const serverNow = Number(document.body.dataset.now);
const loadedAt = performance.now();
let skew = serverNow; // the server's time at `since`, so that a wrong clock in this device shifts nothing
let since = loadedAt;

const now = () => skew + (performance.now() - since) / 1000;

function ticking(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const two = (number) => String(number).padStart(2, "0");
  const text = hours || days ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  return days ? `${days} d ${text}` : text;
}

function tick() {
  for (const timer of document.querySelectorAll(".timer")) {
    const { until, since: began } = timer.dataset;
    timer.textContent = ticking(until ? Number(until) - now() : now() - Number(began));
  }
}

// Somebody who is writing a note, or has opened a form, must not lose it.
const busy = () => document.querySelector("main details[open], main input:focus, main button:focus") !== null;

// A change of incidents is shown within two seconds, readings within ten: they change all the time.
const GAPS = { incidents: 2000, readings: 10000 };
let startedLast = 0;
let due = Infinity;
let timer;

function soon(gap) {
  const at = Math.max(performance.now(), startedLast + gap);
  if (at >= due) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(load, at - performance.now());
}

async function load() {
  due = Infinity;
  startedLast = performance.now();
  if (busy()) {
    document.getElementById("changed").hidden = false;
    return;
  }
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!response.ok) throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (busy()) return soon(GAPS.incidents);
    for (const part of ["main", ".clock", "title"]) {
      document.querySelector(part).replaceWith(document.adoptNode(fresh.querySelector(part)));
    }
    skew = Number(fresh.body.dataset.now);
    since = performance.now();
    lost(false);
  } catch {
    lost(true);
  }
  tick();
}

function lost(whether) {
  document.getElementById("lost").hidden = !whether;
}

const follow = document.body.dataset.follow.split(" ").filter(Boolean);
if (follow.length) {
  const events = new EventSource("/events");
  for (const name of follow) events.addEventListener(name, () => soon(GAPS[name]));
  events.onerror = () => lost(true);
  events.onopen = () => {
    lost(false);
    if (performance.now() - loadedAt > 5000) soon(GAPS.incidents); // we may have missed something while we were away
  };
}
setInterval(tick, 1000);
tick();
