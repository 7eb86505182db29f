// A cluster: its workers in full, its jobs, and what happened.

import { Action } from "./actions.js";
import { Banner, FeedList } from "./feed.js";
import { make, mark, say, show, titled } from "./page.js";
import { plural, secondsText } from "./quantities.js";
import { HERE, SIGNS } from "./sentences.js";
import { WorkerCards } from "./workers.js";

const JOBS = 12; // the newest ones are listed

class JobList {
  constructor(parent, source) {
    Object.assign(this, titled(parent, "mrk-jobs", "Jobs"));
    this.source = source;
    this.list = make("ul", "mrk-joblist", this.box);
    this.rows = new Map();
  }

  draw(picture) {
    const newest = Object.entries(picture.jobs).slice(-JOBS).reverse();
    show(this.box, newest.length > 0);
    const shown = new Set(newest.map(([id]) => id));
    for (const [id, row] of this.rows) {
      if (shown.has(id)) continue;
      row.li.remove();
      this.rows.delete(id);
    }
    newest.forEach(([id, job], i) => {
      let row = this.rows.get(id);
      if (!row) {
        const li = make("li", "", null);
        const sign = make("span", "mrk-jobsign", li);
        // A host that has pages of jobs says where.
        const href = this.source?.jobPage?.(id);
        const name = make(href ? "a" : "span", "mrk-jobname", li, href ? { href } : {});
        row = { li, sign, name, took: make("span", "mrk-number", li) };
        this.rows.set(id, row);
      }
      if (this.list.children[i] !== row.li) this.list.insertBefore(row.li, this.list.children[i] ?? null);
      row.job = job;
      mark(row.li, "data-state", job.state);
      say(row.sign, `${SIGNS[job.state] ?? ""} ${job.state}`);
      say(row.name, job.name);
      mark(row.name, "title", id);
    });
    this.tick(picture.at);
  }

  tick(now) {
    for (const { job, took } of this.rows.values()) {
      say(took, secondsText(Math.max(0, (job.ended ?? now) - job.started)));
    }
  }
}

export class ClusterPane {
  constructor(root, source) {
    this.tickMs = 500;
    this.card = make("section", "mrk-card mrk-cluster", root, { role: "region", "aria-label": "MapReduce cluster" });
    const head = make("div", "mrk-head", this.card);
    this.name = make("span", "mrk-name", head);
    this.facts = make("span", "mrk-facts", head);
    this.loss = make("span", "mrk-loss", head);
    this.side = make("span", "mrk-side", head);
    this.banner = new Banner(this.card);
    this.workers = new WorkerCards(this.card, source, true);
    this.add = new Action(head, source, { name: "add-worker", label: "Add a worker", busy: "starting …" });
    this.page = new Action(head, source, { name: "page", label: "Web page", busy: "opening …" });
    const body = make("div", "mrk-body", this.card);
    const left = make("div", "mrk-pane", body);
    this.feed = new FeedList(left);
    const right = make("div", "mrk-pane", body);
    this.jobs = new JobList(right, source);
  }

  draw(picture) {
    const states = Object.values(picture.workers).map((row) => row.state);
    const here = states.filter((state) => HERE.includes(state)).length;
    say(this.name, plural(here, "worker"));
    say(this.facts, `${plural(picture.slots, "slot")}, ${picture.busy} busy`);
    say(this.loss, picture.lost ? `${picture.lost} lost` : "");
    show(this.loss, picture.lost > 0);
    const running = Object.values(picture.jobs).filter((job) => job.ended === null);
    say(this.side, running.length ? running.map((job) => job.name).join(", ") : "no job running");
    this.banner.draw(picture.banner);
    this.add.draw();
    this.page.draw();
    this.workers.draw(picture);
    this.feed.draw(picture);
    this.jobs.draw(picture);
  }

  tick(now) {
    if (now === undefined) return;
    this.workers.tick(now);
    // Tenths of a second of a running job are not what one looks for here.
    if (Math.floor(now) !== this.told) this.jobs.tick(now);
    this.told = Math.floor(now);
  }

  retheme() {}

  close() {
    this.workers.close();
  }
}
