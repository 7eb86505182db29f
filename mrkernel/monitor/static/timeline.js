// The timeline: one lane per slot, one bar per attempt, an arrow from what was lost to what makes it good.
// Bars are painted on a canvas; what is pointed at or focused are elements above it.

import { calm, freshId, make, mark, readColours, say, show, titled } from "./page.js";
import { countText, plural, secondsText } from "./quantities.js";
import { paintAxis, paintNow } from "./ground.js";
import { paintArrow } from "./arrows.js";
import { Lanes } from "./lanes.js";
import { makeHatches, paintBars, PAINTS } from "./paint.js";
import { Pointing } from "./pointing.js";
import { axisEnd, Scale } from "./scale.js";
import { Sheet } from "./sheet.js";
import { barLines, barSentence, Tip } from "./tip.js";

const ROW_PX = 24; // of a lane while all fit
const LOW_PX = 20; // of a lane when they do not
const MOST_PX = 384; // height of the lanes before they scroll
const ALL_PX = 512; // and of all at once, of whole pixels each
const AXIS_PX = 22;
const LEAST_S = 0.002; // nobody zooms in further

export class Timeline {
  constructor(parent, root) {
    Object.assign(this, titled(parent, "mrk-timeline", "Timeline"));
    this.root = root;
    this.index = new Lanes();
    this.range = null; // seconds since the job began: [from, to]; null: all of it
    this.fitted = false; // all lanes at once, however low
    this.pointed = this.focused = null; // bars
    const tools = make("div", "mrk-tools", this.head);
    const tool = (text, label, act) => {
      const button = make("button", "mrk-button", tools, { type: "button", title: label });
      button.textContent = text;
      if (text.length === 1) button.setAttribute("aria-label", label);
      button.addEventListener("click", act);
      return button;
    };
    this.fitButton = tool("All lanes", "Show all lanes at once", () => this.fit(!this.fitted));
    this.followButton = tool("Follow now", "Keep the present in sight", () => this.followNow(!this.follow));
    tool("−", "Zoom out", () => this.zoom(2));
    tool("+", "Zoom in", () => this.zoom(0.5));
    this.wholeButton = tool("Whole job", "Show the whole job", () => this.whole());
    const focusId = freshId(), helpId = freshId();
    this.view = make("div", "mrk-lanes", this.box, {
      tabindex: "0", role: "application", "aria-roledescription": "timeline", "aria-label": "Timeline", "aria-describedby": helpId,
    });
    make("span", "mrk-said", this.box, { id: helpId }).textContent =
      "Arrow keys walk from bar to bar, Enter follows an arrow, T goes to the next trouble, plus and minus zoom, " +
      "0 shows the whole job, F follows the present. The same is in the table below.";
    this.sheetBox = make("div", "mrk-sheet", this.view);
    this.glass = make("div", "mrk-glass", this.sheetBox);
    this.base = make("canvas", "", this.glass, { "aria-hidden": "true" });
    this.live = make("canvas", "", this.glass, { "aria-hidden": "true" });
    this.ring = make("div", "mrk-ring", this.glass, { "aria-hidden": "true" });
    this.focusRing = make("div", "mrk-ring mrk-focusring", this.glass, { id: focusId, role: "img" });
    this.chosen = make("div", "mrk-chosen", this.glass);
    for (const node of [this.ring, this.focusRing, this.chosen]) show(node, false);
    this.axis = make("canvas", "mrk-axis", this.box, { "aria-hidden": "true" });
    this.probe = make("span", "mrk-said", this.box, { "aria-hidden": "true" });
    this.tip = new Tip(root);
    this.pointing = new Pointing(this);
    this.top = 0;
    this.view.addEventListener("scroll", () => {
      this.top = this.view.scrollTop;
      this.repaint();
    });
    // Asking for a width while the page is being changed would have it laid out at once.
    this.resized = new ResizeObserver(() => {
      this.room = this.sheetBox.clientWidth;
      if (this.picture) this.measure();
    });
    this.resized.observe(this.sheetBox);
    this.frame = 0;
    this.now = 0;
    this.width = 0;
    this.keep(true);
  }

  close() {
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
    this.tip.node.remove();
  }

  /** Take in a picture; `keys`: of the bars that changed since the last one drawn, null: all. */
  draw(picture, keys) {
    const known = picture.bars !== undefined && picture.bars !== null;
    show(this.box, known);
    if (!known) return;
    if (this.picture && picture.job !== this.picture.job) this.whole();
    this.index.update(picture.bars, keys);
    this.picture = picture;
    this.over = picture.ended !== null;
    this.zero = picture.started ?? picture.at;
    // What was taken for now may have been ahead; it does not go back, but for another picture.
    this.now = this.over ? picture.ended : Math.max(keys ? this.now : 0, picture.at);
    this.pointed = this.stillThere(this.pointed);
    this.focused = this.stillThere(this.focused);
    if (!this.focused) this.view.removeAttribute("aria-activedescendant");
    this.arrange();
    this.say(picture);
    show(this.followButton, !this.over);
    this.paint();
  }

  // A whole picture brings new bars for the same attempts; a bar may be put together with another.
  stillThere(bar) {
    return bar && (this.index.bars.get(bar.key) ?? null);
  }

  say(picture) {
    const { timeline } = picture;
    const parts = [];
    if (this.scrolls && !this.fitted) parts.push(`${plural(this.lanes.length, "lane")}, troubled first`);
    if (timeline?.step > 0) parts.push(`tasks under ${secondsText(timeline.step)} are put together`);
    if (timeline?.dropped) parts.push(`${countText(timeline.dropped)} older bars not shown`);
    say(this.note, parts.join(" · "));
  }

  // Which lanes, in which order, how high.
  arrange() {
    const fit = Math.floor(MOST_PX / ROW_PX);
    this.lanes = this.index.order(this.picture.workers, fit);
    const count = Math.max(this.lanes.length, 1);
    this.scrolls = count > fit;
    show(this.fitButton, this.scrolls);
    this.rowHeight = !this.scrolls ? ROW_PX : this.fitted ? Math.max(1, Math.min(LOW_PX, Math.round(MOST_PX / count))) : LOW_PX;
    let odd = true, leader = null;
    for (const lane of this.lanes) {
      lane.leads = lane.worker !== leader?.worker;
      if (lane.leads) {
        odd = !odd;
        leader = lane;
        lane.size = 0;
      }
      leader.size += 1;
      lane.odd = odd;
    }
    this.height = Math.min(count * this.rowHeight, this.scrolls && this.fitted ? ALL_PX : MOST_PX);
    const total = `${count * this.rowHeight}px`;
    if (this.sheetBox.style.height !== total) {
      this.sheetBox.style.height = total;
      this.view.style.height = `${this.height}px`;
      this.glass.style.height = `${this.height}px`;
    }
    this.measure();
  }

  measure() {
    const width = this.room || this.sheetBox.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    const key = `${width} ${this.height} ${ratio}`;
    if (!width || key === this.measured) return;
    this.measured = key;
    this.width = width;
    for (const [canvas, height] of [[this.base, this.height], [this.live, this.height], [this.axis, AXIS_PX]]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.ratio = ratio;
    this.colours = null;
    this.repaint();
  }

  retheme() {
    this.colours = null;
    this.repaint();
  }

  // Of all the job: a bit ahead of now, or to its end.
  wholeRange() {
    const seconds = Math.max(this.now - this.zero, 0.001);
    return [0, this.over ? seconds * 1.01 : axisEnd(seconds)];
  }

  sheet() {
    const names = this.lanes.reduce((most, lane) => Math.max(most, lane.name.length), 4);
    // A clip at half a pixel makes all that is painted within it dear.
    const left = Math.round(Math.min(18 + names * 6.4, this.width * 0.28, 130));
    const [from, to] = this.range ?? this.wholeRange();
    const { index, lanes, rowHeight, height, width, zero, now, colours, hatches, widths } = this;
    return new Sheet({
      scale: new Scale(from, to, left, width - 6), index, lanes, rowHeight, height, width, zero, now, colours, hatches, widths,
      top: Math.min(this.top, Math.max(0, lanes.length * rowHeight - height)), workers: this.picture.workers,
    });
  }

  repaint() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (!this.picture || !this.width || !this.box.isConnected) return;
    if (!this.colours) {
      this.colours = readColours(this.probe, PAINTS);
      this.hatches = makeHatches(this.colours, this.ratio);
      this.widths = new Map();
    }
    this.painted = this.sheet();
    this.nowDrawn = null;
    paintBars(this.base.getContext("2d"), this.painted);
    this.paintLive();
    this.place();
  }

  // What goes on between pictures, and the arrows of what is pointed at.
  paintLive() {
    const ctx = this.live.getContext("2d");
    const sheet = this.painted;
    if (this.over) ctx.clearRect(0, 0, sheet.width, sheet.height);
    else paintNow(ctx, sheet, this.now, calm() ? 1 : 0.65 + 0.35 * Math.sin(performance.now() / 250));
    const nowX = Math.round(sheet.x(this.now));
    if (nowX !== this.nowDrawn) paintAxis(this.axis.getContext("2d"), sheet, this.over ? null : this.now);
    this.nowDrawn = nowX;
    const bar = this.pointed ?? this.focused;
    if (!bar) return;
    ctx.save();
    ctx.beginPath();
    ctx.rect(sheet.scale.left, 0, sheet.scale.right - sheet.scale.left, sheet.height);
    ctx.clip();
    for (const each of this.index.attempts.get(bar.task) ?? []) {
      const next = each.lost ? this.index.next(each) : null;
      if (next) paintArrow(ctx, each, next, sheet, { whole: true });
    }
    ctx.restore();
  }

  tick(now) {
    if (!this.painted || this.over || this.box.hidden || !this.width) return;
    if (["away", "gone"].includes(this.picture.banner?.kind)) return; // nobody knows what goes on
    if (calm() && now - this.now < 1) return;
    this.now = Math.max(this.now, now);
    const seconds = this.now - this.zero;
    const { scale } = this.painted;
    if (this.range && this.follow && seconds > scale.to - (scale.to - scale.from) * 0.02) {
      const span = scale.to - scale.from;
      this.range = [seconds - span * 0.9, seconds + span * 0.1];
      this.paint();
    } else if (!this.range && seconds > scale.to * 0.99) this.paint();
    else this.paintLive();
    if (this.pointed?.end === null || this.focused?.end === null) this.place();
  }

  // ---- What is in sight ---------------------------------------------------------------------------

  /** Zoom by a factor around a time, the middle if not told; 0.5 shows half as much. */
  zoom(factor, around) {
    if (!this.painted) return;
    const { from, to } = this.painted.scale;
    const fixed = around ?? (this.follow && !this.over ? Math.min(this.now - this.zero, to) : (from + to) / 2);
    this.look(fixed - (fixed - from) * factor, fixed + (to - fixed) * factor);
  }

  /** Show these seconds. */
  look(from, to) {
    const [first, last] = this.wholeRange();
    let span = Math.max(to - from, LEAST_S);
    if (span >= (last - first) * 0.999) {
      this.whole();
      return;
    }
    span = Math.min(span, last - first);
    const begin = Math.min(Math.max(from, first), last - span);
    this.range = [begin, begin + span];
    // Who looks back does not want to be taken to the present.
    this.keep(this.now - this.zero <= begin + span);
  }

  shift(seconds) {
    if (this.range) this.look(this.range[0] + seconds, this.range[1] + seconds);
  }

  whole() {
    this.range = null;
    this.keep(true);
  }

  // With the present in sight, or not.
  keep(follow) {
    this.follow = follow;
    mark(this.followButton, "aria-pressed", follow);
    this.wholeButton.disabled = this.range === null;
    this.repaint();
  }

  followNow(follow) {
    if (follow && this.range) {
      const span = this.range[1] - this.range[0];
      const seconds = this.now - this.zero;
      if (seconds > this.range[1] || seconds < this.range[0]) this.range = [seconds - span * 0.9, seconds + span * 0.1];
    }
    this.keep(follow);
  }

  fit(fitted) {
    this.fitted = fitted;
    mark(this.fitButton, "aria-pressed", fitted);
    this.arrange();
    this.say(this.picture);
    this.paint();
  }

  // ---- Bars pointed at and focused ----------------------------------------------------------------

  point(bar) {
    if (bar === this.pointed) return;
    this.pointed = bar;
    this.paintLive();
    this.place();
  }

  focus(bar) {
    this.focused = bar;
    if (!bar) {
      this.view.removeAttribute("aria-activedescendant");
      this.paint();
      return;
    }
    mark(this.view, "aria-activedescendant", this.focusRing.id);
    const lane = this.index.lane(bar.lane);
    const y = lane.at * this.rowHeight;
    if (y < this.view.scrollTop) this.view.scrollTop = y;
    else if (y + this.rowHeight > this.view.scrollTop + this.height) this.view.scrollTop = y + this.rowHeight - this.height;
    this.top = this.view.scrollTop;
    const { from, to } = this.painted.scale;
    const [begin, end] = [bar.begin - this.zero, (bar.end ?? this.now) - this.zero];
    if (begin > to || end < from) {
      const middle = (begin + end) / 2;
      this.look(middle - (to - from) / 2, middle + (to - from) / 2);
    }
    mark(this.focusRing, "aria-label", barSentence(bar, this.index, this.zero, this.now));
    this.paint();
  }

  place() {
    const sheet = this.painted;
    for (const [ring, bar] of [[this.ring, this.pointed], [this.focusRing, this.focused]]) {
      const seen = Boolean(bar) && sheet.shows(this.index.lane(bar.lane));
      show(ring, seen);
      if (!seen) continue;
      const { x, y, w, h } = sheet.place(bar);
      const left = Math.max(x, sheet.scale.left);
      ring.style.transform = `translate(${left - 2}px, ${y - 2}px)`;
      ring.style.width = `${Math.max(Math.min(x + w, sheet.scale.right) - left, 1) + 4}px`;
      ring.style.height = `${h + 4}px`;
    }
    const bar = this.pointed ?? (this.view.matches(":focus") ? this.focused : null);
    if (!bar || !sheet.shows(this.index.lane(bar.lane))) {
      this.tip.hide();
      return;
    }
    const { x, y, w, h } = sheet.place(bar);
    const [root, glass] = [this.root.getBoundingClientRect(), this.glass.getBoundingClientRect()];
    const at = this.pointed ? Math.max(x, (this.pointing.x ?? x) - 30) : Math.max(x, sheet.scale.left);
    const lines = barLines(bar, this.index, this.zero, this.now);
    this.tip.draw(bar, lines, { x: at + glass.left - root.left, y: y + glass.top - root.top, w, h });
  }
}
