// Keep the live page up to date: the present run from the stream of events, the rest when the journal has grown.
"use strict";

const at = (id) => document.getElementById(id);
const TYPES = ["opened", "proposed", "started", "measured", "abandoned", "decided", "committed", "quarantined",
  "refused", "turn_failed", "hinted", "note", "paused", "resumed", "closed"];
const LEARNT = 0.1; // of the budget; the scale of the losses leaves out the steep part before it
const REFRESH_MS = 1500; // between two fetches of the night
const REOPEN_MS = 5000; // after which a refused stream is tried again
let live = { running: false }, shownAt = 0, cursor = null;

// --- the night ------------------------------------------------------------------------------------------------------

let refreshing = null;
function refresh() {
  refreshing ??= setTimeout(async () => {
    try {
      const answer = await fetch("/night.html", { credentials: "same-origin" });
      if (answer.ok) replaceNight(await answer.text());
    } catch { /* the stream says that the connection is lost, and asks again when it is back */ }
    refreshing = null;
  }, REFRESH_MS);
}

function replaceNight(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  if (!at("head")) { location.reload(); return; } // there was no night when the page was loaded
  for (const id of ["head", "night"]) at(id).replaceWith(page.getElementById(id));
  document.title = at("head").dataset.title;
  hideTip();
}

// --- the present run ------------------------------------------------------------------------------------------------

const counted = (value) => Math.round(value).toLocaleString("en-US");
const span = (s) => s < 60 ? `${Math.round(s)} s` : `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")} min`;

function show(state) {
  live = state;
  shownAt = performance.now();
  const what = at("now-what");
  if (!what) return;
  const paused = state.running && state.paused, idle = !state.running || ["", "waiting"].includes(state.phase);
  at("now-title").textContent = idle ? "The present run" : `#${state.n} run ${state.run}: ${state.title}`;
  at("now-phase").textContent = !state.running ? "no loop runs" : paused ? "paused" : state.phase || "starting";
  at("now-phase").className = `phase${paused ? " paused" : state.running ? "" : " off"}`;
  what.textContent = state.running ? (idle ? state.title : [state.proposer, state.hypothesis].filter(Boolean).join(": "))
    : what.dataset.idle;
  const inRun = state.running && !idle;
  at("now-bar").hidden = !inRun || !(state.budget_s || state.usual_s);
  at("now-loss").hidden = !(inRun && state.curve.length > 1);
  const button = at("pause");
  button.hidden = !state.running;
  button.textContent = paused ? "Resume" : "Pause after this run";
  facts();
  draw();
}

function facts() {
  if (!at("now-facts")) return;
  if (!live.running || ["", "waiting"].includes(live.phase)) { at("now-facts").textContent = ""; return; }
  const parts = [], since = (performance.now() - shownAt) / 1000;
  if (live.phase === "training") {
    const left = Math.max(0, live.budget_s * (1 - live.progress) - since);
    parts.push(`${span(left)} left of ${span(live.budget_s)}`, `step ${counted(live.step)}`);
  } else if (live.budget_s) parts.push(`for ${span(live.phase_s + since)}`);
  else parts.push(`${span(live.run_s + since)} ${live.usual_s ? `of about ${span(live.usual_s)}` : "so far"}`);
  const used = live.budget_s ? live.progress : live.usual_s ? Math.min(1, (live.run_s + since) / live.usual_s) : 0;
  at("now-bar").setAttribute("aria-valuenow", Math.round(100 * used));
  at("now-bar").firstElementChild.style.width = `${100 * used}%`;
  if (live.loss != null) parts.push(`loss ${live.loss.toFixed(3)}`);
  const best = lossAt(live.incumbent_curve, live.progress);
  if (live.loss != null && best != null && live.phase === "training") {
    const lead = best - live.loss;
    parts.push(`${Math.abs(lead).toFixed(3)} ${lead >= 0 ? "below" : "above"} the best version`);
  }
  if (live.tok_s) parts.push(`${counted(live.tok_s)} tokens/s`);
  if (live.to_beat) parts.push(`to beat: ${live.to_beat}`);
  at("now-facts").textContent = parts.join(" · ");
}

function lossAt(curve, progress) {
  if (!curve || curve.length < 2 || progress < curve[0][0]) return null;
  for (let i = 1; i < curve.length; i++) {
    const [x0, y0] = curve[i - 1], [x1, y1] = curve[i];
    if (progress <= x1) return x1 > x0 ? y0 + (y1 - y0) * (progress - x0) / (x1 - x0) : y1;
  }
  return curve[curve.length - 1][1];
}

function draw() {
  const place = at("loss");
  if (!place || at("now-loss").hidden) return;
  const width = Math.max(280, place.clientWidth), height = width < 520 ? 190 : 230;
  const left = 38, right = 8, top = 8, bottom = 30;
  const from = Math.min(LEARNT, live.progress / 2);
  const late = [...live.curve, ...live.incumbent_curve].filter(([x]) => x > from).map(([, y]) => y);
  const all = late.length > 1 ? late : [...live.curve, ...live.incumbent_curve].map(([, y]) => y);
  let low = Math.min(...all), high = Math.max(...all);
  const room = 0.06 * (high - low) || 0.1;
  [low, high] = [low - room, high + room];
  const x = (p) => left + p * (width - left - right), y = (l) => top + (high - l) / (high - low) * (height - top - bottom);
  const path = (curve) => "M" + curve.map(([p, l]) => `${x(p).toFixed(1)},${Math.max(y(l), -1e4).toFixed(1)}`).join("L");
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10].find((s) => (high - low) / s <= 5) || 20;
  let grid = "";
  for (let l = Math.ceil(low / step) * step; l <= high; l += step) {
    grid += `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(l)}" y2="${y(l)}"/>`
      + `<text x="${left - 6}" y="${y(l) + 4}" text-anchor="end">${l.toFixed(step < 0.1 ? 2 : step < 1 ? 1 : 0)}</text>`;
  }
  for (const p of [0, 0.25, 0.5, 0.75, 1]) {
    grid += `<text x="${x(p)}" y="${height - bottom + 16}" text-anchor="${p === 0 ? "start" : p === 1 ? "end" : "middle"}">${100 * p}%</text>`;
  }
  const mark = cursor == null ? "" : `<line class="cursor" x1="${x(cursor)}" x2="${x(cursor)}" y1="${top}" y2="${height - bottom}"/>`;
  place.innerHTML = `<svg viewBox="0 0 ${width} ${height}" aria-hidden="true"><defs><clipPath id="inside">`
    + `<rect x="${left}" y="${top}" width="${width - left - right}" height="${height - top - bottom}"/></clipPath></defs>${grid}`
    + `<g clip-path="url(#inside)">${live.incumbent_curve.length > 1 ? `<path class="best" d="${path(live.incumbent_curve)}"/>` : ""}`
    + `<path class="run" d="${path(live.curve)}"/>${mark}</g></svg>`;
  at("loss-incumbent").hidden = live.incumbent_curve.length < 2;
  values();
}

function values() {
  const own = cursor == null ? null : lossAt(live.curve, Math.min(cursor, live.progress || 1)), best = cursor == null ? null : lossAt(live.incumbent_curve, cursor);
  at("loss-values").textContent = cursor == null ? "" : `at ${Math.round(100 * cursor)}%: `
    + [own != null && cursor <= live.progress + 0.01 ? `${own.toFixed(3)} here` : null, best != null ? `${best.toFixed(3)} best` : null].filter(Boolean).join(", ");
}

function point(event) {
  const box = at("loss").getBoundingClientRect();
  cursor = Math.min(1, Math.max(0, (event.clientX - box.left - 38) / (box.width - 46)));
  draw();
}

// --- values under the pointer ----------------------------------------------------------------------------------------

let tip = null;
function hideTip() { if (tip) tip.hidden = true; }

function showTip(event) {
  const link = event.target.closest?.("#night svg a");
  if (!link) { hideTip(); return; }
  const title = link.querySelector("title");
  if (title) { link.setAttribute("aria-label", title.textContent); title.remove(); } // the browser's own comes late
  if (!tip) { tip = document.createElement("div"); tip.id = "tip"; tip.setAttribute("role", "tooltip"); document.body.append(tip); }
  tip.textContent = link.getAttribute("aria-label") || "";
  tip.hidden = !tip.textContent;
  const box = link.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const x = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
  const above = box.top - own.height - 8;
  tip.style.left = `${x + scrollX}px`;
  tip.style.top = `${(above > 4 ? above : box.bottom + 8) + scrollY}px`;
}

// --- pausing ----------------------------------------------------------------------------------------------------------

async function pause() {
  const button = at("pause");
  button.disabled = true;
  try {
    const answer = await fetch(live.paused ? "/resume" : "/pause", { method: "POST", credentials: "same-origin" });
    const told = await answer.json();
    at("answer").textContent = told.why || told.error;
  } catch { at("answer").textContent = "the server does not answer"; }
  button.disabled = false;
}

// --- the stream -------------------------------------------------------------------------------------------------------

function connected(on, problem = "connection lost, trying again") {
  at("connection").textContent = on ? "live" : problem;
  at("connection").className = `note ${on ? "on" : "off"}`;
}

function open() {
  const source = new EventSource("/events");
  source.onopen = () => connected(true);
  source.onerror = () => {
    connected(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_MS);
  };
  source.addEventListener("problem", (event) => connected(false, JSON.parse(event.data).error));
  source.addEventListener("hello", (event) => {
    connected(true);
    if (event.lastEventId !== at("night").dataset.seen) refresh();
  });
  source.addEventListener("live", (event) => show(JSON.parse(event.data)));
  for (const type of TYPES) source.addEventListener(type, refresh);
}

open();
setInterval(facts, 1000);
addEventListener("resize", draw);
at("pause")?.addEventListener("click", pause);
at("loss")?.addEventListener("pointermove", point);
at("loss")?.addEventListener("pointerdown", point);
at("loss")?.addEventListener("pointerleave", () => { cursor = null; draw(); });
document.addEventListener("pointerover", showTip);
document.addEventListener("focusin", showTip);
