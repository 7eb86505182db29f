// The timeline as tables: for those who do not see it, and for those who want the numbers.

import { make, say, show } from "./page.js";
import { bytesText, countText, secondsText } from "./quantities.js";

const MOST = 200; // rows of a table

class Table {
  constructor(parent, caption, columns) {
    // Narrow, its rows are laid out as lines; the roles say that it is a table all the same.
    this.columns = columns;
    this.table = make("table", "mrk-table", parent, { role: "table" });
    make("caption", "", this.table).textContent = caption;
    const head = make("tr", "", make("thead", "", this.table, { role: "rowgroup" }), { role: "row" });
    for (const column of columns) make("th", "", head, { scope: "col", role: "columnheader" }).textContent = column;
    this.body = make("tbody", "", this.table, { role: "rowgroup" });
  }

  fill(rows) {
    show(this.table, rows.length > 0);
    while (this.body.children.length > rows.length) this.body.lastChild.remove();
    rows.forEach((cells, i) => {
      const tr = this.body.children[i] ?? make("tr", "", this.body, { role: "row" });
      while (tr.children.length < cells.length) {
        const at = tr.children.length;
        make(at ? "td" : "th", "", tr, { role: at ? "cell" : "rowheader", "data-column": this.columns[at] });
      }
      cells.forEach((text, j) => say(tr.children[j], text));
    });
  }
}

export class TimelineTables {
  constructor(parent, timeline) {
    this.timeline = timeline;
    this.details = make("details", "mrk-alternative", parent);
    make("summary", "", this.details).textContent = "The timeline as a table";
    const box = make("div", "mrk-tables", this.details, { tabindex: "0", role: "group", "aria-label": "The timeline as a table" });
    this.troubles = new Table(box, "Troubles, newest first", ["at", "task", "attempt", "on", "what", "why", "then"]);
    this.lanes = new Table(box, "Lanes", ["lane", "worker", "done", "running", "lost or failed", "busy", "records", "bytes"]);
    this.more = make("p", "", box);
    this.drawn = -Infinity;
    this.details.addEventListener("toggle", () => {
      this.drawn = -Infinity;
      this.draw();
    });
  }

  /** At most once a second, and only while it is open. */
  draw() {
    const { timeline } = this;
    show(this.details, !timeline.box.hidden);
    if (!this.details.open || !timeline.picture) return;
    if (performance.now() - this.drawn < 900 && timeline.picture.ended === null) return;
    this.drawn = performance.now();
    const { index, zero, now, lanes } = timeline;
    const lost = [...index.bars.values()].filter((bar) => bar.lost).sort((a, b) => b.end - a.end);
    const rows = lost.slice(0, MOST).map((bar) => {
      const next = index.next(bar);
      const what = bar.state === "gone" ? "output lost" : bar.state;
      const then = next ? `attempt ${next.attempt} on ${next.lane}` : "nobody yet";
      return [secondsText(bar.end - zero), bar.task, String(bar.attempt), bar.lane, what, bar.cause, then];
    });
    this.troubles.fill(rows);
    this.lanes.fill(lanes.slice(0, MOST).map((lane) => {
      const sums = lane.sums(now);
      const state = timeline.picture.workers[lane.worker]?.state ?? "";
      return [
        lane.name, state, countText(sums.done), countText(sums.running), countText(sums.lost), secondsText(sums.busy),
        countText(sums.records), bytesText(sums.bytes),
      ];
    }));
    const hidden = Math.max(0, lost.length - MOST) + Math.max(0, lanes.length - MOST);
    say(this.more, hidden ? `${countText(hidden)} more rows are not shown.` : "");
    show(this.more, hidden > 0);
  }
}
