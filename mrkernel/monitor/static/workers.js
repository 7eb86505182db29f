// One card per worker: its life in colour and words, its load, its tasks, and what it did.

import { Action } from "./actions.js";
import { make, mark, say, show, titled } from "./page.js";
import { bytesText, countText, plural, secondsText } from "./quantities.js";
import { doneText, endText, HERE, livesText } from "./sentences.js";

const MANY = 12; // more workers than this are shown troubled first
const SPARK_W = 60;
const SPARK_H = 16;
const RANK = { dead: 0, suspect: 1, barred: 2, alive: 3, retired: 4, unknown: 4 };
const MOURNED_S = 60; // in a cluster, which goes on, the dead make room for the living

/** Gaps between heartbeats as a line; one of twice the usual length stands out. */
class Spark {
  constructor(parent) {
    const svg = (tag, attributes, into) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      into.append(node);
      return node;
    };
    this.svg = svg("svg", { class: "mrk-spark", viewBox: `0 0 ${SPARK_W} ${SPARK_H}`, role: "img" }, parent);
    this.line = svg("path", {}, this.svg);
    this.late = svg("circle", { r: 2 }, this.svg);
  }

  draw(beats) {
    this.svg.toggleAttribute("hidden", !(beats?.length > 1));
    if (!(beats?.length > 1) || this.beats === beats) return;
    this.beats = beats;
    const usual = [...beats].sort((a, b) => a - b)[beats.length >> 1];
    const most = Math.max(...beats, usual * 2);
    const x = (i) => (i / (beats.length - 1)) * (SPARK_W - 4) + 2;
    const y = (gap) => SPARK_H - 2 - (gap / most) * (SPARK_H - 4);
    mark(this.line, "d", beats.map((gap, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(gap).toFixed(1)}`).join(""));
    const worst = beats.indexOf(Math.max(...beats));
    const late = beats[worst] > usual * 2;
    this.late.toggleAttribute("hidden", !late);
    mark(this.late, "cx", x(worst).toFixed(1));
    mark(this.late, "cy", y(beats[worst]).toFixed(1));
    mark(this.svg, "aria-label", `heartbeats every ${Math.round(usual)} ms, the longest gap ${Math.round(beats[worst])} ms`);
  }
}

class Card {
  constructor(name, source, full) {
    this.name = name;
    this.full = full;
    this.source = source;
    this.li = make("li", "mrk-worker", null);
    const who = make("div", "mrk-who", this.li);
    make("span", "mrk-dot", who, { "aria-hidden": "true" });
    make("b", "", who).textContent = name;
    this.state = make("span", "mrk-life", who);
    this.beat = make("span", "mrk-beat", who);
    if (full) this.spark = new Spark(who);
    this.note = make("div", "mrk-note", this.li);
    this.now = make("div", "mrk-now", this.li);
    this.chips = [];
    const foot = make("div", "mrk-sums", this.li);
    this.did = make("span", "mrk-did", foot);
    const load = make("span", "mrk-load", foot);
    if (full) {
      this.meter = make("span", "mrk-meter", load, { "aria-hidden": "true" });
      this.used = make("i", "", this.meter);
      const base = make("div", "mrk-base", this.li);
      this.place = make("span", "mrk-place", base);
      const buttons = make("span", "mrk-buttons", base);
      this.retire = new Action(buttons, source, { name: "retire", label: "Retire", busy: "retiring …", about: { worker: name } });
      this.kill = new Action(buttons, source, { name: "kill", label: "Kill", ask: `Kill ${name} with SIGKILL?`, about: { worker: name } });
      for (const action of [this.retire, this.kill]) action.button.setAttribute("aria-label", `${action.label} ${name}`);
    }
    this.load = make("span", "", load);
  }

  fill(row, picture) {
    this.row = row;
    const here = HERE.includes(row.state);
    const over = picture.ended !== null && picture.ended !== undefined;
    mark(this.li, "data-state", row.state);
    say(this.state, row.state === "unknown" ? "" : row.state);
    if (row.host) mark(this.li, "title", `${row.host}, process ${row.pid}, ${plural(row.slots, "slot")}`);
    say(this.load, !here || over || !row.memory ? "" : `cpu ${row.cpu} % · ${bytesText(row.memory)}`);
    if (this.full) {
      show(this.meter, here && row.memory > 0);
      const used = `${Math.min(100, Math.round(row.cpu / Math.max(1, row.slots)))}%`;
      if (this.used.style.width !== used) this.used.style.width = used;
    }
    const note = row.end || !over ? endText(picture, row) : "";
    say(this.note, note);
    show(this.note, note !== "");
    const more = row.more ? ` · ${countText(row.more)} more wait` : "";
    this.fillChips(row, over ? [] : row.tasks, here && !over);
    const did = [doneText(row)];
    if (row.failed) did.push(`${countText(row.failed)} failed`);
    if (this.full && row.shuffled) did.push(`${bytesText(row.shuffled)} shuffled`);
    if (!this.full && over && row.bytes) did.push(`${bytesText(row.bytes)} read`);
    say(this.did, did.filter(Boolean).join(" · ") + more);
    if (!this.full) return;
    this.spark.draw(here ? row.beats : null);
    const gone = !here && row.lost_at !== null && picture.wall;
    const ended = gone ? ` · until ${new Date((picture.wall + row.lost_at) * 1000).toLocaleTimeString()}` : "";
    say(this.place, row.host ? `${row.host} · pid ${row.pid}${ended}` : "");
    this.retire.draw(here);
    this.kill.draw(here);
  }

  // One chip a task; a free slot is seen too.
  fillChips(row, tasks, here) {
    const free = here ? Math.max(0, (this.full ? row.slots : 1) - tasks.length) : 0;
    const count = tasks.length + free;
    while (this.chips.length > count) this.chips.pop().remove();
    while (this.chips.length < count) this.chips.push(make("span", "mrk-task", this.now));
    show(this.now, count > 0);
    this.chips.forEach((chip, i) => {
      const task = tasks[i];
      mark(chip, "data-free", !task);
      if (!task) {
        say(chip, this.full ? "free" : "idle");
        mark(chip, "data-waits", false);
        mark(chip, "data-again", false);
        chip.removeAttribute("data-phase");
        chip.style.removeProperty("--mrk-share");
        chip.mrkShare = "";
        chip.title = "";
        return;
      }
      const part = task.part ? ` ${Math.round(task.part * 100)} %` : "";
      let again = task.attempt > 1 ? ` · attempt ${task.attempt}` : "";
      if (task.backup) again = " · backup";
      say(chip, `${task.task}${part}${again}`);
      mark(chip, "data-phase", /(^| )reduce-\d+$/.test(task.task) ? "reduce" : "map");
      mark(chip, "data-again", task.attempt > 1 && !task.backup);
      // A worker is handed its next task before it has a slot for it.
      const waits = row.slots > 0 && i >= row.slots;
      mark(chip, "data-waits", waits);
      const share = `${Math.round((task.part ?? 0) * 100)}%`;
      if (chip.mrkShare !== share) chip.style.setProperty("--mrk-share", (chip.mrkShare = share));
      const title = [waits ? "waits here for a free slot" : "", task.input].filter(Boolean).join(": ");
      if (chip.title !== title) chip.title = title;
    });
  }

  /** How long ago it was heard of; what is not drawn costs nothing. */
  tick(now, over) {
    const { row } = this;
    const told = HERE.includes(row.state) && row.beat > 0 && !over;
    const age = told ? Math.max(0, now - row.beat) : 0;
    // A silent worker says so in its note.
    say(this.beat, !told || row.state === "suspect" ? "" : age < 99 ? `${age.toFixed(1)} s` : secondsText(age));
  }
}

/** The cards of all workers; `full` with everything, for the cluster's view. */
export class WorkerCards {
  constructor(parent, source, full = false) {
    Object.assign(this, titled(parent, "mrk-workerbox", "Workers"));
    this.source = source;
    this.full = full;
    this.list = make("ul", full ? "mrk-workers mrk-full" : "mrk-workers", this.box, { tabindex: "0", "aria-label": "Workers" });
    this.cards = new Map();
    this.told = 0;
  }

  draw(picture) {
    this.picture = picture;
    const { workers } = picture;
    for (const [name, card] of this.cards) {
      if (name in workers) continue;
      card.li.remove();
      this.cards.delete(name);
    }
    for (const [name, row] of Object.entries(workers)) {
      let card = this.cards.get(name);
      if (!card) {
        card = new Card(name, this.source, this.full);
        this.cards.set(name, card);
        this.list.append(card.li);
      }
      // Deltas leave unchanged rows as the same objects; the end of a job changes what all say.
      if (card.row === row && card.jobState === picture.state && !this.full) continue;
      card.jobState = picture.state;
      card.fill(row, picture);
    }
    say(this.note, livesText(workers));
    this.sort();
  }

  // Few stay where they are; of many the troubled ones come first.
  sort() {
    const many = this.cards.size > MANY;
    mark(this.list, "data-many", many);
    const order = [...this.cards.values()];
    const { at } = this.picture;
    const rank = ({ row }) => (this.full && row.state === "dead" && at - row.lost_at > MOURNED_S ? 5 : RANK[row.state]);
    if (many) order.sort((a, b) => rank(a) - rank(b));
    const key = order.map((card) => card.name).join();
    if (key === this.order) return;
    this.order = key;
    order.forEach((card, i) => {
      if (this.list.children[i] !== card.li) this.list.insertBefore(card.li, this.list.children[i] ?? null);
    });
  }

  tick(now) {
    // Nobody reads ages ten times a second; who is silent is told by its state.
    if (!this.picture || Math.abs(now - this.told) < 1.95) return;
    this.told = now;
    const over = this.picture.ended !== null && this.picture.ended !== undefined;
    for (const card of this.cards.values()) card.tick(now, over);
  }
}
