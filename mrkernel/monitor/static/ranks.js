// Short ranked lists with bars: the keys so far, and the biggest partitions.

import { make, mark, say, show, titled } from "./page.js";
import { bytesText, countText, plural } from "./quantities.js";

class Ranks {
  constructor(parent, className, text, hue) {
    Object.assign(this, titled(parent, className, text));
    this.list = make("ol", "mrk-ranks", this.box, { "data-phase": hue });
    this.rows = [];
  }

  fill(rows) {
    const most = Math.max(...rows.map(([, number]) => (typeof number === "number" ? Math.abs(number) : 0)), 0);
    while (this.rows.length > rows.length) this.rows.pop().li.remove();
    while (this.rows.length < rows.length) {
      const li = make("li", "", this.list);
      this.rows.push({
        li, name: make("span", "mrk-key", li), bar: make("i", "", make("span", "mrk-rank", li, { "aria-hidden": "true" })),
        text: make("span", "mrk-number", li),
      });
    }
    rows.forEach(([name, number, text], i) => {
      const row = this.rows[i];
      say(row.name, name);
      mark(row.name, "title", name);
      say(row.text, text);
      const share = most && typeof number === "number" ? Math.abs(number) / most : 0;
      const width = `${(share * 100).toFixed(1)}%`;
      if (row.bar.style.width !== width) row.bar.style.width = width;
    });
  }
}

// A reduced value may be a fraction, or no number at all.
function numberText(number) {
  if (typeof number !== "number") return String(number);
  return Number.isInteger(number) ? countText(number) : String(Number(number.toPrecision(6)));
}

const TITLES = {
  count: "Most frequent keys so far", sum: "Largest sums so far", min: "Smallest values so far", max: "Largest values so far",
};

/** Keys while maps run: never the result, and it says so. */
export class TopKeys extends Ranks {
  constructor(parent) {
    super(parent, "mrk-top", "So far", "reduce");
  }

  draw(picture) {
    const { top } = picture;
    const seen = Boolean(top?.rows.length) && picture.ended === null;
    show(this.box, seen);
    if (!seen) return;
    say(this.title, TITLES[top.kind] ?? "So far");
    say(this.note, `${countText(top.maps)} of ${plural(picture.map.total, "split")}, not final`);
    this.fill(top.rows.map(([key, number]) => [key, number, numberText(number)]));
  }
}

export class BigPartitions extends Ranks {
  constructor(parent) {
    super(parent, "mrk-parts", "Biggest partitions", "shuffle");
  }

  draw(picture) {
    const { parts, partitions } = picture;
    const seen = Boolean(parts?.length) && partitions > 1 && picture.ended === null;
    show(this.box, seen);
    if (!seen) return;
    const mean = picture.shuffle.total / partitions;
    const skew = mean > 0 ? parts[0][1] / mean : 0;
    const times = skew < 10 ? skew.toFixed(1) : countText(Math.round(skew));
    say(this.note, `of ${countText(partitions)}${skew ? `; the first has ${times} × the mean` : ""}`);
    mark(this.note, "data-level", skew >= 4 ? "warning" : "info");
    this.fill(parts.map(([partition, bytes]) => [`reduce-${partition}`, bytes, bytesText(bytes)]));
  }
}
