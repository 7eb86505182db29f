// What happened, in sentences; and what everybody must see now.

import { make, mark, say, show, titled } from "./page.js";
import { plural, secondsText } from "./quantities.js";

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
        entry = { li, time: make("time", "", li), text: make("span", "", li) };
        this.lines.set(line.n, entry);
      }
      const at = line.at - (picture.started ?? picture.feed[0].at);
      say(entry.time, at < 100 ? `${at.toFixed(1)} s` : secondsText(at));
      mark(entry.li, "data-level", line.level);
      say(entry.text, line.text);
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
