// The three bars of a job: map, shuffle, reduce.

import { make, mark, say } from "./page.js";
import { barParts, barText, PHASES } from "./sentences.js";

export class PhaseBars {
  constructor(parent) {
    this.box = make("div", "mrk-bars", parent);
    this.bars = PHASES.map((phase) => this.add(phase));
  }

  add(phase) {
    const label = make("span", "", this.box);
    label.textContent = phase[0].toUpperCase() + phase.slice(1);
    const bar = make("div", "mrk-bar", this.box, {
      role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": label.textContent,
    });
    bar.dataset.phase = phase;
    const parts = ["mrk-done", "mrk-begun", "mrk-again"].map((name) => make("i", name, bar));
    const what = make("span", "mrk-what", this.box);
    return { phase, label, bar, parts, what };
  }

  draw(picture) {
    for (const bar of this.bars) this.drawBar(picture, bar);
  }

  drawBar(picture, { phase, label, bar, parts, what }) {
    const shares = barParts(picture, phase);
    parts.forEach((node, i) => {
      const width = `${(shares[i] * 100).toFixed(2)}%`;
      if (node.style.width !== width) node.style.width = width;
    });
    const text = barText(picture, phase);
    say(what, text);
    mark(what, "title", text);
    label.classList.toggle("mrk-idle", !shares.some((share) => share > 0));
    mark(bar, "aria-valuenow", Math.round(shares[0] * 100));
    mark(bar, "aria-valuetext", text);
    // One cell a task while they can be told apart.
    const total = picture[phase].total;
    if (phase !== "shuffle" && total > 1 && total <= 64) {
      mark(bar, "data-cells", total);
      bar.style.setProperty("--mrk-cells", total);
      bar.style.setProperty("--mrk-gap", total > 24 ? "1px" : "1.5px");
    } else bar.removeAttribute("data-cells");
  }
}
