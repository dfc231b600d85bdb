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

let loading = false;
let again = false;
let loadedLast = 0;

async function load() {
  if (loading) {
    again = true;
    return;
  }
  if (busy()) {
    document.getElementById("changed").hidden = false;
    return;
  }
  loading = true;
  try {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, loadedLast + 2000 - performance.now())));
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!response.ok) throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!busy()) {
      for (const part of ["main", ".clock", "title"]) {
        document.querySelector(part).replaceWith(document.adoptNode(fresh.querySelector(part)));
      }
      skew = Number(fresh.body.dataset.now);
      since = performance.now();
    }
    lost(false);
  } catch {
    lost(true);
  } finally {
    loadedLast = performance.now();
    loading = false;
    tick();
  }
  if (again) {
    again = false;
    load();
  }
}

function lost(whether) {
  document.getElementById("lost").hidden = !whether;
}

const follow = document.body.dataset.follow.split(" ").filter(Boolean);
if (follow.length) {
  const events = new EventSource("/events");
  for (const name of follow) events.addEventListener(name, load);
  events.onerror = () => lost(true);
  events.onopen = () => {
    lost(false);
    if (performance.now() - loadedAt > 5000) load(); // we may have missed something while we were away
  };
}
setInterval(tick, 1000);
tick();
