// One card per worker: its life in colour and words, its load, its tasks, and what it did.

import { Action } from "./actions.js";
import { make, mark, say, show, titled } from "./page.js";
import { bytesText, countText, plural, secondsText } from "./quantities.js";
import { doneText, endText, HERE, livesText } from "./sentences.js";

const MANY = 12; // more workers than this are shown troubled first
const CHIPS = 6; // tasks that run here are named, of more than this the rest is counted
const CHIPS_OF_MANY = 3; // … on one of many cards
const WAITING = 2; // and those that wait
const SPARK_W = 60;
const SPARK_H = 16;
const RANK = { suspect: 1, barred: 2, alive: 3, retired: 4, unknown: 4, dead: 5 };
const FRESH = 4; // so many who died last stand first
const FRESH_S = 60; // and no longer than this: then they make room for the living
const AGES_S = 2; // nobody reads ages ten times a second; who is silent is told by its state

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
    this.li.mrkWorker = name;
    this.li.mrkSeen = true; // until it is known better
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
    mark(this.note, "title", note);
    this.fillChips(row, over ? [] : row.tasks, here && !over);
    const did = [doneText(row)];
    if (row.failed) did.push(`${countText(row.failed)} failed`);
    if (this.full && row.shuffled) did.push(`${bytesText(row.shuffled)} shuffled`);
    if (!this.full && over && row.bytes) did.push(`${bytesText(row.bytes)} read`);
    say(this.did, did.filter(Boolean).join(" · "));
    if (!this.full) return;
    this.spark.draw(here ? row.beats : null);
    const gone = !here && row.lost_at !== null && picture.wall;
    const ended = gone ? ` · until ${new Date((picture.wall + row.lost_at) * 1000).toLocaleTimeString()}` : "";
    say(this.place, row.host ? `${row.host} · pid ${row.pid}${ended}` : "");
    this.drawActions();
  }

  drawActions() {
    const here = HERE.includes(this.row.state);
    this.retire.draw(here);
    this.kill.draw(here);
  }

  // One chip a task, and what would be a wall of them is counted; a free slot is seen too.
  fillChips(row, tasks, here) {
    const total = tasks.length + (tasks.length ? row.more ?? 0 : 0);
    const running = Math.min(total, row.slots || total), waiting = total - running;
    const most = this.brief ? CHIPS_OF_MANY : CHIPS;
    const named = running > most ? most - 1 : running;
    const chips = tasks.slice(0, named).map((task) => ({ task }));
    if (running > named) chips.push({ text: `${countText(running - named)} more`, names: tasks.slice(named, running) });
    // A worker is handed its next task before it has a slot for it.
    const next = tasks.slice(running);
    if (waiting <= WAITING) chips.push(...next.map((task) => ({ task, waits: true })));
    else chips.push({ text: `${countText(waiting)} wait`, names: next, waits: true });
    const free = here ? (this.full ? row.slots : 1) - total : 0;
    if (free > most) chips.push({ text: `${free} free`, free: true });
    else for (let i = 0; i < free; i += 1) chips.push({ text: this.full ? "free" : "idle", free: true });
    while (this.chips.length > chips.length) this.chips.pop().remove();
    while (this.chips.length < chips.length) this.chips.push(make("span", "mrk-task", this.now));
    show(this.now, chips.length > 0);
    chips.forEach((chip, i) => this.fillChip(this.chips[i], chip));
  }

  fillChip(node, { task, text, names = [], waits = false, free = false }) {
    const part = task?.part ? ` ${Math.round(task.part * 100)} %` : "";
    let again = task?.attempt > 1 ? ` · attempt ${task.attempt}` : "";
    if (task?.backup) again = " · backup";
    const about = `${part}${again}`;
    say(node, text ?? (this.brief ? task.task : `${task.task}${about}`));
    mark(node, "data-free", free);
    mark(node, "data-waits", waits);
    mark(node, "data-again", task?.attempt > 1 && !task.backup);
    const first = (task ?? names[0])?.task ?? "";
    mark(node, "data-phase", /(^| )reduce-\d+$/.test(first) ? "reduce" : "map");
    const share = `${Math.round((task?.part ?? 0) * 100)}%`;
    if (node.mrkShare !== share) node.style.setProperty("--mrk-share", (node.mrkShare = share));
    const what = task ? task.input : names.map((each) => each.task).join(", ");
    const title = [waits ? "waits here for a free slot" : "", this.brief && task ? `${task.task}${about}` : "", what].filter(Boolean).join(": ");
    if (node.title !== title) node.title = title;
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

/**
 * The cards of all workers; `full` with everything, for the cluster's view. A card out of sight is
 * drawn when its worker's state changes, and when it comes into sight.
 */
export class WorkerCards {
  constructor(parent, source, full = false) {
    Object.assign(this, titled(parent, "mrk-workerbox", "Workers"));
    this.source = source;
    this.full = full;
    this.list = make("ul", full ? "mrk-workers mrk-full" : "mrk-workers", this.box, { tabindex: "0", "aria-label": "Workers" });
    this.cards = new Map();
    this.told = 0;
    this.sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const card = this.cards.get(target.mrkWorker);
        target.mrkSeen = isIntersecting;
        if (card && isIntersecting) this.drawCard(card);
      }
    });
  }

  draw(picture) {
    this.picture = picture;
    const { workers } = picture;
    for (const [name, card] of this.cards) {
      if (name in workers) continue;
      this.sight.unobserve(card.li);
      card.li.remove();
      this.cards.delete(name);
    }
    const names = Object.keys(workers), many = names.length > MANY;
    mark(this.list, "data-many", many);
    for (const name of names) {
      let card = this.cards.get(name);
      if (!card) {
        card = new Card(name, this.source, this.full);
        this.cards.set(name, card);
        this.list.append(card.li);
        this.sight.observe(card.li);
      } else if (this.full) card.drawActions();
      card.brief = many && !this.full;
      if (card.li.mrkSeen || workers[name].state !== card.row.state) this.drawCard(card);
    }
    say(this.note, livesText(workers));
    this.sort(many);
    this.tellAges(picture.at, AGES_S / 2);
  }

  // Deltas leave unchanged rows as the same objects; the end of a job changes what all say.
  drawCard(card) {
    const row = this.picture.workers[card.name];
    if (card.row === row && card.jobState === this.picture.state) return;
    card.jobState = this.picture.state;
    card.fill(row, this.picture);
  }

  // Few stay where they are; of many the troubled ones come first.
  sort(many) {
    const order = [...this.cards.values()];
    if (many) {
      const rows = this.picture.workers, { at } = this.picture;
      const died = (card) => (rows[card.name].state === "dead" ? rows[card.name].lost_at : -Infinity);
      const dead = order.filter((card) => died(card) > -Infinity).sort((a, b) => died(b) - died(a));
      const fresh = new Set(dead.slice(0, FRESH).filter((card) => at - died(card) <= FRESH_S));
      for (const card of order) {
        const rank = fresh.has(card) ? 0 : RANK[rows[card.name].state];
        // Taken out first, so that those between its places stay where they are.
        if (rank !== card.rank) card.li.remove();
        card.rank = rank;
      }
      order.sort((a, b) => a.rank - b.rank || (died(b) - died(a) || 0));
    }
    const key = order.map((card) => card.name).join();
    if (key === this.order) return;
    this.order = key;
    order.forEach((card, i) => {
      if (this.list.children[i] !== card.li) this.list.insertBefore(card.li, this.list.children[i] ?? null);
    });
  }

  tick(now) {
    if (this.picture) this.tellAges(now, AGES_S * 1.25);
  }

  // Where there is something to be drawn at all, they are drawn with it.
  tellAges(now, after) {
    if (Math.abs(now - this.told) < after) return;
    this.told = now;
    const over = this.picture.ended !== null && this.picture.ended !== undefined;
    for (const card of this.cards.values()) if (card.li.mrkSeen) card.tick(now, over);
  }

  close() {
    this.sight.disconnect();
  }
}
