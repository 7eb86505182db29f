// What a bar of the timeline stands for, in words: in a box beside it, and in one sentence.

import { make, mark, say, show } from "./page.js";
import { bytesText, countText, plural, secondsText } from "./quantities.js";

const STATES = {
  running: "running", done: "done", failed: "failed", lost: "lost with its worker",
  gone: "done, but its output was lost", killed: "stopped",
};
const MARKS = { running: "▶", done: "✓", failed: "✗", lost: "✗", gone: "✗", killed: "■" };

/** The lines of a bar: `[name, text]`, the title first. */
export function barLines(bar, index, zero, now) {
  const many = bar.count > 1;
  const lines = [["", many ? `${plural(bar.count, bar.phase)}, from ${bar.task} on` : bar.task]];
  let state = `${MARKS[bar.state]} ${STATES[bar.state]}`;
  if (bar.backup) state += bar.state === "done" ? ", a backup that won" : ", a backup";
  else if (bar.attempt > 1) state += `, attempt ${bar.attempt}`;
  lines.push(["state", state]);
  const at = (seconds) => secondsText(seconds - zero);
  const end = bar.end ?? now;
  const span = bar.end === null ? `since ${at(bar.begin)}` : `${at(bar.begin)} to ${at(bar.end)}`;
  lines.push(["time", `${secondsText(end - bar.begin)} (${span})`]);
  lines.push(["slot", bar.lane]);
  if (bar.input) lines.push(["input", bar.input]);
  if (bar.records || bar.bytes) {
    const read = [bar.records ? `${countText(bar.records)} records` : "", bar.bytes ? bytesText(bar.bytes) : ""];
    lines.push(["read", read.filter(Boolean).join(", ")]);
  }
  if (bar.cause) lines.push(["cause", bar.cause]);
  const before = bar.retry || bar.backup ? index.before(bar) : null;
  if (before) {
    const what = before.state === "gone" ? "lost its output" : before.state;
    lines.push(["before", `attempt ${before.attempt} on ${before.lane} ${what}`]);
  }
  if (bar.lost) {
    const next = index.next(bar);
    const later = next && secondsText(Math.max(0, next.begin - end));
    lines.push(["next", next ? `attempt ${next.attempt} on ${next.lane}, ${later} later` : "nobody has taken it up yet"]);
  }
  return lines;
}

export function barSentence(bar, index, zero, now) {
  return barLines(bar, index, zero, now).map(([name, text]) => (name && name !== "state" ? `${name} ${text}` : text)).join(". ");
}

/** The box beside the pointer or the focused bar. */
export class Tip {
  constructor(root) {
    this.root = root;
    this.node = make("div", "mrk-tip", root, { role: "tooltip" });
    show(this.node, false);
    this.rows = [];
  }

  hide() {
    show(this.node, false);
  }

  /** `place`: of the bar, in pixels of the root. */
  draw(bar, lines, place) {
    while (this.rows.length > lines.length) {
      const row = this.rows.pop();
      row.name.remove();
      row.text.remove();
    }
    while (this.rows.length < lines.length) {
      this.rows.push({ name: make("span", "mrk-tipname", this.node), text: make("span", "", this.node) });
    }
    lines.forEach(([name, text], i) => {
      say(this.rows[i].name, name);
      say(this.rows[i].text, text);
      mark(this.rows[i].text, "data-line", name || "title");
    });
    mark(this.node, "data-state", bar.state);
    mark(this.node, "data-phase", bar.phase);
    show(this.node, true);
    const [w, h] = [this.node.offsetWidth, this.node.offsetHeight];
    const x = Math.min(Math.max(place.x, 4), Math.max(4, this.root.clientWidth - w - 4));
    const below = place.y + place.h + 6;
    const y = below + h > this.root.clientHeight && place.y - h - 6 > 0 ? place.y - h - 6 : below;
    this.node.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }
}
