// What a picture says, in words: as monitor/text.py says it.

import { bytesText, countText, plural, secondsText } from "./quantities.js";

export const SIGNS = { waiting: "·", running: "▶", done: "✓", failed: "✗", cancelled: "■" };
export const PHASES = ["map", "shuffle", "reduce"];
export const HERE = ["alive", "suspect", "barred"]; // states of workers that are there

export function elapsed(picture, now) {
  if (picture.started === null) return 0;
  const end = picture.ended ?? Math.max(now ?? picture.at, picture.at);
  return Math.max(0, end - picture.started);
}

export function lossesText(picture) {
  const parts = [];
  if (picture.lost_workers) parts.push(`${plural(picture.lost_workers, "worker")} lost`);
  if (picture.restarts) parts.push("manager restarted");
  if (picture.failed) parts.push(`${plural(picture.failed, "attempt")} failed`);
  if (picture.moved) parts.push(`${plural(picture.moved, "task")} moved`);
  if (picture.redone) parts.push(`${plural(picture.redone, "task")} redone`);
  if (picture.bad) parts.push(`${plural(picture.bad, "bad record")} skipped`);
  return parts.join(", ");
}

// Records that were skipped were meant to be.
export function isTroubled(picture) {
  return ["lost_workers", "restarts", "failed", "moved", "redone"].some((name) => picture[name]);
}

export function ratesText(picture) {
  const parts = [];
  if (picture.bytes_per_s) parts.push(`${bytesText(picture.bytes_per_s)}/s`);
  if (picture.records_per_s) parts.push(`${countText(picture.records_per_s)} records/s`);
  return parts.join(" · ");
}

const UNITS = [[1, "s"], [60, "min"], [3600, "h"]];

// Down or up; from 30 on to fives, for it is known no better.
function outward(number, end) {
  const step = number >= 30 ? 5 : 1;
  return end(number / step) * step;
}

/** "8–11 s left", "40 s–5 min left"; always a range, "" when unknown. */
export function etaText({ eta }) {
  if (!eta) return "";
  const [low, high] = eta;
  const at = high < 180 ? 0 : high < 10800 ? 1 : 2;
  const [unit, name] = UNITS[at];
  const last = outward(high / unit, Math.ceil);
  if (low < unit && at) {
    const [small, smaller] = UNITS[at - 1];
    const first = outward(low / small, Math.floor);
    return first ? `${first} ${smaller}–${last} ${name} left` : `less than ${last} ${name} left`;
  }
  const first = outward(low / unit, Math.floor);
  const end = Math.max(last, first + 1);
  return first ? `${first}–${end} ${name} left` : `less than ${end} ${name} left`;
}

export function barText(picture, phase) {
  const { map, reduce } = picture;
  if (phase !== "map" && picture.started !== null && !reduce.total) return "map only";
  if (phase === "shuffle") {
    const bar = picture.shuffle;
    if (!bar.total) return map.done ? "0 B" : "waits for maps";
    if (reduce.total > 0 && reduce.done >= reduce.total) return bytesText(bar.done);
    if (map.done >= map.total) return `${bytesText(bar.done)} of ${bytesText(bar.total)} read`;
    const written = `${bytesText(bar.total)} written`;
    if (bar.done) return `${written}, ${bytesText(bar.done)} read`; // some of it was lost since
    return picture.ended === null ? `${written} · waits for maps` : written;
  }
  const bar = picture[phase];
  const parts = [`${countText(bar.done)} of ${countText(bar.total)}`];
  if (bar.running) parts.push(`${countText(bar.running)} running`);
  if (bar.retry && picture.state !== "cancelled") {
    parts.push(`${countText(bar.retry)} ${picture.state === "failed" ? "failed" : "again"}`);
  }
  if (phase === "reduce" && !bar.done && !bar.running && picture.ended === null) parts.push("waits for maps");
  return parts.join(" · ");
}

/** A bar's lengths, together at most 1: done, begun, to be done again. */
export function barParts(picture, phase) {
  if (phase === "shuffle") {
    const bar = picture.shuffle;
    const total = Math.max(bar.expected, bar.done);
    if (!total) return [picture.state === "done" && picture.reduce.total ? 1 : 0, 0, 0];
    if (picture.reduce.total > 0 && picture.reduce.done >= picture.reduce.total) return [1, 0, 0];
    const done = bar.done / total;
    return [done, Math.max(0, bar.total / total - done), 0];
  }
  const bar = picture[phase];
  if (!bar.total) return [0, 0, 0];
  const part = Math.min(bar.part, bar.running);
  const done = Math.min(1, (bar.done + part) / bar.total);
  const again = Math.min(1 - done, bar.retry / bar.total);
  const begun = Math.min(1 - done - again, Math.max(0, bar.running - bar.retry - part) / bar.total);
  return [done, Math.max(0, begun), again];
}

export function doneText(row) {
  const parts = [];
  if (row.maps) parts.push(plural(row.maps, "map"));
  if (row.reduces) parts.push(plural(row.reduces, "reduce"));
  return parts.join(", ");
}

/** What became of a worker, or what is wrong with it: "was killed (SIGKILL) at 9.4 s". */
export function endText(picture, row) {
  if (!row.end) return row.cause;
  const known = typeof picture.started === "number" && row.lost_at !== null;
  const at = known ? ` at ${secondsText(row.lost_at - picture.started)}` : "";
  return `${row.end}${at}${row.cause ? ": " : ""}${row.cause}`;
}

/** How many workers are in each state: "97 alive, 1 suspect, 2 dead". */
export function livesText(workers) {
  const counts = {};
  for (const { state } of Object.values(workers)) counts[state] = (counts[state] ?? 0) + 1;
  const order = ["alive", "suspect", "barred", "dead", "retired", "unknown"];
  return order.filter((state) => counts[state]).map((state) => `${counts[state]} ${state}`).join(", ");
}
