// What happened, in sentences; and what everybody must see now.

import { make, mark, say, show, titled } from "./page.js";
import { plural, secondsText } from "./quantities.js";

const MANY_LINES = 40; // of more lines those out of sight are not laid out

export class FeedList {
  constructor(parent) {
    const { box } = titled(parent, "mrk-happened", "What happened");
    this.list = make("ol", "mrk-feed", box, { tabindex: "0", "aria-label": "What happened, newest first" });
    this.lines = new Map();
    this.older = make("li", "", null);
    make("time", "", this.older);
    this.olderText = make("span", "", this.older);
  }

  draw(picture) {
    if (this.feed === picture.feed && this.started === picture.started) return;
    this.feed = picture.feed;
    this.started = picture.started;
    mark(this.list, "data-many", picture.feed.length > MANY_LINES);
    const first = picture.feed[0]?.n ?? 0;
    for (const [n, entry] of this.lines) {
      if (n < first || n > picture.feed.at(-1).n) {
        entry.li.remove();
        this.lines.delete(n);
      }
    }
    for (const line of picture.feed) {
      let entry = this.lines.get(line.n);
      if (!entry) {
        const li = document.createElement("li");
        this.list.prepend(li);
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
    }
    if (picture.older) {
      say(this.olderText, `${plural(picture.older, "earlier event")} not shown`);
      this.list.append(this.older);
    }
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
