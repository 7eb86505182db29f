// One job: compact in a cell, opening itself at a failure, folding in the end to one line.

import { Action, offers } from "./actions.js";
import { TimelineTables } from "./alternative.js";
import { PhaseBars } from "./bars.js";
import { Banner, FeedList } from "./feed.js";
import { makeLegend } from "./legend.js";
import { freshId, make, mark, say, show } from "./page.js";
import { plural, secondsText } from "./quantities.js";
import { BigPartitions, TopKeys } from "./ranks.js";
import { elapsed, etaText, HERE, isTroubled, lossesText, ratesText, SIGNS } from "./sentences.js";
import { Timeline } from "./timeline.js";
import { WorkerCards } from "./workers.js";

const RANKS_S = 0.4; // nobody reads numbers that change more often
const UNKNOWN_S = 10; // a job that runs so long without a known end says so

export class JobPane {
  constructor(root, source) {
    this.tickMs = 100;
    this.root = root;
    this.source = source;
    this.choice = null; // what the reader asked for: true open, false closed; null: as the job goes
    this.changed = new Set(); // keys of bars not drawn yet, null: all
    this.ranked = -Infinity; // when its ranks were drawn
    this.next = 0; // the frame that draws what stands around the timeline
    const id = freshId();
    this.card = make("section", "mrk-card", root, { role: "region" });
    const head = make("div", "mrk-head", this.card);
    this.toggle = make("button", "mrk-toggle", head, { type: "button", "aria-controls": id });
    this.name = make("span", "mrk-name", head);
    this.chip = make("span", "mrk-chip", head);
    const measures = make("span", "mrk-measures", head);
    this.facts = make("span", "mrk-facts", measures);
    this.rates = make("span", "mrk-rates", measures);
    this.left = make("span", "mrk-left", measures);
    this.loss = make("span", "mrk-loss", head);
    this.side = make("span", "mrk-side", head);
    this.stops = make("span", "mrk-stops", head);
    this.cancel = new Action(head, source, { name: "cancel", label: "Cancel", busy: "cancelling …" });
    this.banner = new Banner(this.card);
    this.bars = new PhaseBars(this.card);
    this.why = make("div", "mrk-why", this.card);
    this.body = make("div", "", this.card, { id });
    this.workers = new WorkerCards(this.body, source);
    const panes = make("div", "mrk-body", this.body);
    const left = make("div", "mrk-pane", panes);
    this.timeline = new Timeline(left, root);
    this.tables = new TimelineTables(left, this.timeline);
    const ranks = make("div", "mrk-rankbox", left);
    this.top = new TopKeys(ranks);
    this.parts = new BigPartitions(ranks);
    this.feed = new FeedList(make("div", "mrk-pane mrk-feedpane", panes));
    const foot = make("div", "mrk-foot", this.body);
    makeLegend(foot);
    this.from = make("span", "mrk-from", foot);
    this.page = new Action(foot, source, { name: "page", label: "Web page", busy: "opening …" });
    this.said = make("div", "mrk-said", this.card, { role: "status", "aria-live": "polite" });
    this.toggle.addEventListener("click", () => {
      this.choice = !this.open;
      this.draw(this.picture, new Set());
    });
  }

  draw(picture, changed) {
    this.picture = picture;
    // What changes while it is closed is drawn when it opens.
    if (changed === null) this.changed = null;
    else if (this.changed) for (const key of changed) this.changed.add(key);
    const over = picture.ended !== null;
    const losses = lossesText(picture);
    const troubled = isTroubled(picture);
    const trouble = picture.state === "failed" || (!over && troubled);
    this.open = this.choice ?? trouble;
    show(this.body, this.open);
    // To write on a canvas the browser settles the style of the page: before the page is changed.
    if (this.open) {
      this.timeline.draw(picture, this.changed);
      this.changed = new Set();
    } else this.timeline.tip.hide();
    mark(this.root, "data-state", picture.state);
    mark(this.root, "data-trouble", picture.state === "failed" || troubled);
    mark(this.card, "aria-label", `MapReduce job ${picture.name}`);
    mark(this.toggle, "aria-expanded", this.open);
    mark(this.toggle, "aria-label", this.open ? "Hide workers, timeline and events" : "Show workers, timeline and events");
    say(this.name, picture.name);
    this.name.title = picture.job;
    say(this.chip, `${SIGNS[picture.state]} ${picture.state}`);
    say(this.loss, losses);
    show(this.loss, losses !== "");
    const here = Object.values(picture.workers).filter((row) => HERE.includes(row.state));
    const suspect = here.filter((row) => row.state === "suspect").length;
    const doubt = suspect ? ` · ◐ ${suspect} suspect` : "";
    // The workers say so themselves.
    say(this.side, over || this.open ? "" : `${plural(here.length, "worker")} · ${plural(picture.slots, "slot")}${doubt}`);
    mark(this.side, "data-level", suspect && !over ? "warning" : "info");
    this.cancel.draw(!over);
    say(this.stops, this.source?.note ?? "");
    show(this.stops, !over && Boolean(this.source?.note) && !offers(this.source, "cancel"));
    this.tick();

    this.banner.draw(picture.banner);
    show(this.bars.box, !over || this.open);
    this.bars.draw(picture);
    say(this.why, picture.sentence);
    show(this.why, picture.sentence !== "" && picture.state !== "done");
    // A frame has 16 ms: the timeline gets one, what stands around it the next.
    if (this.open && this.drawn) this.next ||= requestAnimationFrame(() => this.drawBody());
    else if (this.open) this.drawBody();
    this.drawn = this.open;
    const last = picture.feed.findLast((line) => line.level === "error");
    const news = picture.banner?.kind === "away" ? "the manager is gone" : (picture.banner?.text ?? last?.text ?? "");
    say(this.said, over ? `${picture.name} ${picture.state}. ${losses} ${picture.sentence}` : news);
  }

  drawBody() {
    const { picture } = this;
    this.next = 0;
    this.workers.draw(picture);
    this.tables.draw();
    this.feed.draw(picture);
    if (picture.ended !== null || Math.abs(picture.at - this.ranked) >= RANKS_S) {
      this.ranked = picture.at;
      this.top.draw(picture);
      this.parts.draw(picture);
    }
    say(this.from, picture.functions);
    this.page.draw();
  }

  // The time goes on between deltas.
  tick(now) {
    const { picture } = this;
    if (!picture) return;
    const live = this.open && now !== undefined;
    if (live) this.timeline.tick(now);
    const spent = elapsed(picture, now);
    say(this.facts, secondsText(spent));
    const rates = ratesText(picture);
    say(this.rates, rates ? `· ${rates}` : "");
    let left = etaText(picture);
    if (!left && picture.state === "running" && picture.eta === null && spent >= UNKNOWN_S) left = "time left unknown";
    say(this.left, left);
    show(this.left, left !== "");
    if (live) this.workers.tick(now);
  }

  retheme() {
    this.timeline.retheme();
  }

  close() {
    cancelAnimationFrame(this.next);
    this.workers.close();
    this.timeline.close();
  }
}
