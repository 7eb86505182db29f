// What hues and fills mean: of the bars above and of the timeline.

import { make } from "./page.js";

const HUES = [["map", "map"], ["shuffle", "shuffle"], ["reduce", "reduce"]];
const FILLS = [
  ["done", "done"], ["begun", "running"], ["failed", "failed"], ["lost", "lost"], ["gone", "output lost"],
  ["arrow", "runs again there"], ["retry", "tried again"], ["backup", "backup"], ["killed", "stopped"],
  ["many", "several short tasks"], ["quiet", "suspect"], ["dead", "dead"],
];

export function makeLegend(parent) {
  const list = make("ul", "mrk-legend", parent, { "aria-label": "Legend" });
  for (const [name, word] of HUES) make("li", "mrk-sign", list, { "data-phase": name }).textContent = word;
  for (const [name, word] of FILLS) make("li", "mrk-sign", list, { "data-fill": name }).textContent = word;
  return list;
}
