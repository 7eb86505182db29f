// What happened, in sentences; and what everybody must see now.

import { make, mark, say, show, titled } from "./page.js";
import { plural, secondsText } from "./quantities.js";

const LINES = 60; // so many of the newest are there until one scrolls

export class FeedList {
  constructor(parent) {
    const { box } = titled(parent, "mrk-happened", "What happened");
    this.list = make("ol", "mrk-feed", box, { tabindex: "0", "aria-label": "What happened, newest first" });
    this.lines = new Map();
    this.older = make("li", "", null);
    make("time", "", this.older);
    this.olderText = make("span", "", this.older);
    this.whole = false;
    this.list.addEventListener("scroll", () => {
      const whole = this.list.scrollTop > 0;
      if (whole === this.whole) return;
      this.whole = whole;
      this.feed = null;
      this.draw(this.picture);
    });
  }

  draw(picture) {
    if (this.feed === picture.feed && this.started === picture.started) return;
    this.picture = picture;
    this.feed = picture.feed;
    this.started = picture.started;
    const lines = this.whole ? picture.feed : picture.feed.slice(-LINES);
    const numbers = new Set(lines.map((line) => line.n));
    for (const [n, entry] of this.lines) {
      if (numbers.has(n)) continue;
      entry.li.remove();
      this.lines.delete(n);
    }
    let above = null;
    for (let i = lines.length - 1; i >= 0; i -= 1) {
      const line = lines[i];
      let entry = this.lines.get(line.n);
      if (!entry) {
        const li = document.createElement("li");
        if (above) above.after(li);
        else this.list.prepend(li);
        const time = make("time", "", li), text = make("span", "", li);
        entry = { li, time, subject: make("b", "", text), rest: make("span", "", text) };
        this.lines.set(line.n, entry);
      }
      const at = line.at - (picture.started ?? picture.feed[0].at);
      say(entry.time, at < 100 ? `${at.toFixed(1)} s` : secondsText(at));
      mark(entry.li, "data-level", line.level);
      // What happened to whom has the colour; why and what then follows are plain.
      const cut = line.level === "info" ? 0 : line.text.indexOf(": ") + 1 || line.text.length;
      say(entry.subject, line.text.slice(0, cut));
      say(entry.rest, line.text.slice(cut));
      above = entry.li;
    }
    const earlier = (picture.older ?? 0) + picture.feed.length - lines.length;
    if (earlier) {
      say(this.olderText, `${plural(earlier, "earlier event")} not shown`);
      this.list.append(this.older);
    } else this.older.remove();
  }
}

// The manager is away, was restarted, or nothing goes on.
export class Banner {
  constructor(parent) {
    this.node = make("div", "mrk-banner", parent);
  }

  draw(banner) {
    show(this.node, banner !== null);
    if (banner === null) return;
    mark(this.node, "data-level", banner.level);
    say(this.node, banner.text);
  }
}
