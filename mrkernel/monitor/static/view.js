// The live view of a job or a cluster: one plain ES module for the notebook widget, the manager's
// web page and the JupyterLab panel. It draws pictures (monitor/picture.py says what they are) and
// knows neither sockets nor kernels. All data reaches the page through textContent.

const FEED_LIMIT = 200;
const SIGNS = { waiting: "·", running: "▶", done: "✓", failed: "✗", cancelled: "■" };
const PHASES = ["map", "shuffle", "reduce"];
const HERE = ["alive", "suspect", "barred"]; // states of workers that are there

// ---- Numbers and sentences: as monitor/quantities.py and monitor/text.py write them -------------

function scaled(number, units) {
  let scale = 0;
  while (Math.abs(number) >= 999.5 && scale < units.length - 1) {
    number /= 1000;
    scale += 1;
  }
  const digits = scale === 0 || Math.abs(number) >= 9.95 ? 0 : 1;
  return `${grouped(number, digits)} ${units[scale]}`.trim();
}

function grouped(number, digits = 0) {
  return number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function bytesText(count) {
  return scaled(count, ["B", "kB", "MB", "GB", "TB", "PB"]);
}

export function countText(count) {
  return Math.abs(count) < 100000 ? grouped(count) : scaled(count, ["", "k", "M", "G", "T"]);
}

export function secondsText(seconds) {
  if (seconds < 0.995) return `${Math.max(seconds, 0).toFixed(2)} s`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

function plural(count, noun) {
  return `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;
}

export function elapsed(picture, now) {
  if (picture.started === null) return 0;
  const end = picture.ended ?? Math.max(now ?? picture.at, picture.at);
  return Math.max(0, end - picture.started);
}

export function lossesText(picture) {
  const parts = [];
  if (picture.lost_workers) parts.push(`${plural(picture.lost_workers, "worker")} lost`);
  if (picture.restarts) parts.push("manager restarted");
  if (picture.failed) parts.push(`${plural(picture.failed, "attempt")} failed`);
  if (picture.moved) parts.push(`${plural(picture.moved, "task")} moved`);
  if (picture.redone) parts.push(`${plural(picture.redone, "task")} redone`);
  if (picture.bad) parts.push(`${plural(picture.bad, "bad record")} skipped`);
  return parts.join(", ");
}

// Records that were skipped were meant to be.
export function isTroubled(picture) {
  return ["lost_workers", "restarts", "failed", "moved", "redone"].some((name) => picture[name]);
}

export function ratesText(picture) {
  const parts = [];
  if (picture.bytes_per_s) parts.push(`${bytesText(picture.bytes_per_s)}/s`);
  if (picture.records_per_s) parts.push(`${countText(picture.records_per_s)} records/s`);
  return parts.join(" · ");
}

export function barText(picture, phase) {
  const { map, reduce } = picture;
  if (phase !== "map" && picture.started !== null && !reduce.total) return "map only";
  if (phase === "shuffle") {
    const bar = picture.shuffle;
    if (!bar.total) return map.done ? "0 B" : "waits for maps";
    if (reduce.total > 0 && reduce.done >= reduce.total) return bytesText(bar.done);
    return `${bytesText(bar.done)} of ${bytesText(bar.total)}`;
  }
  const bar = picture[phase];
  const parts = [`${countText(bar.done)} of ${countText(bar.total)}`];
  if (bar.running) parts.push(`${countText(bar.running)} running`);
  if (bar.retry && picture.state !== "cancelled") {
    parts.push(`${countText(bar.retry)} ${picture.state === "failed" ? "failed" : "again"}`);
  }
  if (phase === "reduce" && !bar.done && !bar.running && picture.ended === null) parts.push("waits for maps");
  return parts.join(" · ");
}

export function barParts(picture, phase) {
  if (phase === "shuffle") {
    const bar = picture.shuffle;
    const total = Math.max(bar.expected, bar.done);
    if (!total) return [picture.state === "done" && picture.reduce.total ? 1 : 0, 0, 0];
    if (picture.reduce.total > 0 && picture.reduce.done >= picture.reduce.total) return [1, 0, 0];
    const done = bar.done / total;
    return [done, Math.max(0, bar.total / total - done), 0];
  }
  const bar = picture[phase];
  if (!bar.total) return [0, 0, 0];
  const part = Math.min(bar.part, bar.running);
  const done = Math.min(1, (bar.done + part) / bar.total);
  const again = Math.min(1 - done, bar.retry / bar.total);
  const begun = Math.min(1 - done - again, Math.max(0, bar.running - bar.retry - part) / bar.total);
  return [done, Math.max(0, begun), again];
}

function doneText(row) {
  const parts = [];
  if (row.maps) parts.push(plural(row.maps, "map"));
  if (row.reduces) parts.push(plural(row.reduces, "reduce"));
  return parts.join(", ");
}

// ---- Pictures and deltas: as monitor/picture.py has them ----------------------------------------

export class PictureGap extends Error {}

export function apply(picture, delta) {
  if (!picture || delta.seq !== picture.seq + 1) throw new PictureGap(`delta ${delta.seq} does not follow`);
  const after = { ...picture, ...delta.set, seq: delta.seq };
  for (const [name, keys] of Object.entries(delta.drop ?? {})) {
    after[name] = { ...after[name] };
    for (const key of keys) delete after[name][key];
  }
  for (const [name, rows] of Object.entries(delta.put ?? {})) after[name] = { ...after[name], ...rows };
  if (delta.feed?.length) {
    const first = delta.feed[0].n;
    after.feed = [...picture.feed.filter((line) => line.n < first), ...delta.feed].slice(-FEED_LIMIT);
    after.older = after.feed[0].n;
  }
  return after;
}

// ---- Drawing ------------------------------------------------------------------------------------

let ids = 0;

function make(tag, className, parent, attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

// Writing the same text again would still cost a layout.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

class WorkerTable {
  constructor(parent) {
    this.box = make("div", "mrk-workers", parent, { tabindex: "0", role: "group", "aria-label": "Workers" });
    this.table = make("table", "mrk-table", this.box, { role: "table", "aria-label": "Workers" });
    this.body = make("tbody", "", this.table, { role: "rowgroup" });
    this.rows = new Map();
  }

  draw(picture) {
    for (const [name, entry] of this.rows) {
      if (!(name in picture.workers)) {
        entry.tr.remove();
        this.rows.delete(name);
      }
    }
    for (const [name, row] of Object.entries(picture.workers)) {
      let entry = this.rows.get(name);
      if (!entry) {
        entry = this.add(name);
        this.rows.set(name, entry);
      }
      // Deltas leave unchanged rows as the same objects; the end of a job changes what all say.
      if (entry.row === row && entry.jobState === picture.state) continue;
      entry.row = row;
      entry.jobState = picture.state;
      this.fill(entry, row, picture);
    }
  }

  add(name) {
    const tr = make("tr", "", this.body, { role: "row" });
    const th = make("th", "mrk-worker", tr, { role: "rowheader", scope: "row" });
    make("span", "mrk-dot", th, { "aria-hidden": "true" });
    make("b", "", th).textContent = name;
    const state = make("span", "", th);
    const did = make("td", "mrk-did", tr, { role: "cell" });
    const load = make("td", "mrk-load", tr, { role: "cell" });
    const now = make("td", "mrk-now", tr, { role: "cell" });
    const note = make("span", "mrk-note", now);
    return { tr, th, state, did, load, now, note, tasks: [] };
  }

  fill(entry, row, picture) {
    const here = HERE.includes(row.state);
    const over = picture.ended !== null && picture.ended !== undefined;
    mark(entry.tr, "data-state", row.state);
    mark(entry.tr, "data-idle", here && !over && !row.cause && !row.tasks.length);
    say(entry.state, row.state === "alive" || row.state === "unknown" ? "" : ` ${row.state}`);
    if (row.host) entry.th.title = `${row.host}, process ${row.pid}, ${plural(row.slots, "slot")}`;
    say(entry.did, doneText(row));
    say(entry.load, !here || over || !row.memory ? "" : `${row.cpu} % · ${bytesText(row.memory)}`);
    let note = "";
    if (row.end) {
      const at = typeof picture.started === "number" && row.lost_at !== null ? ` at ${secondsText(row.lost_at - picture.started)}` : "";
      note = `${row.end}${at}${row.cause ? ": " : ""}${row.cause}`;
    } else if (over) note = row.bytes ? `${bytesText(row.bytes)} read` : "";
    else if (row.cause) note = row.cause;
    else if (!row.tasks.length) note = here ? "idle" : "not here";
    else if (row.more) note = `${row.tasks.length + row.more} running`;
    say(entry.note, note);
    const tasks = over ? [] : row.tasks;
    while (entry.tasks.length > tasks.length) entry.tasks.pop().remove();
    while (entry.tasks.length < tasks.length) entry.tasks.push(make("span", "mrk-task", entry.now));
    tasks.forEach((task, i) => {
      const chip = entry.tasks[i];
      const part = task.part ? ` ${Math.round(task.part * 100)} %` : "";
      let again = task.attempt > 1 ? ` · attempt ${task.attempt}` : "";
      if (task.backup) again = " · backup";
      say(chip, `${task.task}${part}${again}`);
      mark(chip, "data-phase", /(^| )reduce-\d+$/.test(task.task) ? "reduce" : "map");
      mark(chip, "data-again", task.attempt > 1 && !task.backup);
      // A worker is handed its next task before it has a slot for it.
      const waits = row.slots > 0 && i >= row.slots;
      mark(chip, "data-waits", waits);
      chip.style.setProperty("--mrk-part", `${Math.round((task.part ?? 0) * 100)}%`);
      chip.title = [waits ? "waits here for a free slot" : "", task.input].filter(Boolean).join(": ");
    });
  }
}

class FeedList {
  constructor(parent) {
    this.list = make("ol", "mrk-feed", parent, { tabindex: "0", "aria-label": "What happened, newest first" });
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

// What everybody must see now: the manager is away, was restarted, or nothing goes on.
class Banner {
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

class JobPane {
  constructor(root) {
    this.root = root;
    this.choice = null; // what the reader asked for: true open, false closed; null: as the job goes
    const id = `mrk-${(ids += 1)}`;
    this.card = make("section", "mrk-card", root, { role: "region" });
    const head = make("div", "mrk-head", this.card);
    this.toggle = make("button", "mrk-toggle", head, { type: "button", "aria-controls": id });
    this.name = make("span", "mrk-name", head);
    this.chip = make("span", "mrk-chip", head);
    this.facts = make("span", "mrk-facts", head);
    this.loss = make("span", "mrk-loss", head);
    this.side = make("span", "mrk-side", head);
    this.banner = new Banner(this.card);
    this.barBox = make("div", "mrk-bars", this.card);
    this.bars = Object.fromEntries(PHASES.map((phase) => [phase, this.addBar(phase)]));
    this.why = make("div", "mrk-why", this.card);
    this.body = make("div", "", this.card, { id });
    const panes = make("div", "mrk-body", this.body);
    const left = make("div", "mrk-pane", panes);
    make("div", "mrk-title", left).textContent = "Workers";
    this.workers = new WorkerTable(left);
    const right = make("div", "mrk-pane", panes);
    make("div", "mrk-title", right).textContent = "What happened";
    this.feed = new FeedList(right);
    const foot = make("div", "mrk-foot", this.body);
    const keys = { done: "done", begun: "running or ready", again: "lost or failed", retry: "tried again", quiet: "suspect" };
    for (const [fill, word] of Object.entries(keys)) {
      make("span", "mrk-key", foot, { "data-fill": fill }).textContent = word;
    }
    this.from = make("span", "mrk-from", foot);
    this.said = make("div", "mrk-said", this.card, { role: "status", "aria-live": "polite" });
    this.toggle.addEventListener("click", () => {
      this.choice = !this.open;
      this.draw(this.picture);
    });
  }

  addBar(phase) {
    const label = make("span", "", this.barBox);
    label.textContent = phase[0].toUpperCase() + phase.slice(1);
    const bar = make("div", "mrk-bar", this.barBox, {
      role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": label.textContent,
    });
    bar.dataset.phase = phase;
    const parts = ["mrk-done", "mrk-begun", "mrk-again"].map((name) => make("i", name, bar));
    const what = make("span", "mrk-what", this.barBox);
    return { label, bar, parts, what };
  }

  draw(picture) {
    this.picture = picture;
    const over = picture.ended !== null;
    const losses = lossesText(picture);
    const troubled = isTroubled(picture);
    const trouble = picture.state === "failed" || (!over && troubled);
    this.open = this.choice ?? trouble;
    mark(this.root, "data-state", picture.state);
    mark(this.root, "data-trouble", picture.state === "failed" || troubled);
    mark(this.card, "aria-label", `MapReduce job ${picture.name}`);
    mark(this.toggle, "aria-expanded", this.open);
    mark(this.toggle, "aria-label", this.open ? "Hide workers and events" : "Show workers and events");
    say(this.name, picture.name);
    this.name.title = picture.job;
    say(this.chip, `${SIGNS[picture.state]} ${picture.state}`);
    say(this.loss, losses);
    show(this.loss, losses !== "");
    const here = Object.values(picture.workers).filter((row) => HERE.includes(row.state));
    const suspect = here.filter((row) => row.state === "suspect").length;
    const doubt = suspect ? ` · ◐ ${suspect} suspect` : "";
    say(this.side, over ? "" : `${plural(here.length, "worker")} · ${plural(picture.slots, "slot")}${doubt}`);
    mark(this.side, "data-level", suspect && !over ? "warning" : "info");
    this.tick();

    this.banner.draw(picture.banner);
    show(this.barBox, !over || this.open);
    for (const phase of PHASES) this.drawBar(picture, phase);
    say(this.why, picture.sentence);
    show(this.why, picture.sentence !== "" && picture.state !== "done");
    show(this.body, this.open);
    if (this.open) {
      this.workers.draw(picture);
      this.feed.draw(picture);
      say(this.from, picture.functions);
    }
    const last = picture.feed.findLast((line) => line.level === "error");
    const news = picture.banner?.kind === "away" ? "the manager is gone" : (picture.banner?.text ?? last?.text ?? "");
    say(this.said, over ? `${picture.name} ${picture.state}. ${losses} ${picture.sentence}` : news);
  }

  drawBar(picture, phase) {
    const { label, bar, parts, what } = this.bars[phase];
    const shares = barParts(picture, phase);
    parts.forEach((node, i) => {
      const width = `${(shares[i] * 100).toFixed(2)}%`;
      if (node.style.width !== width) node.style.width = width;
    });
    const text = barText(picture, phase);
    say(what, text);
    what.title = text;
    const idle = !shares.some((share) => share > 0);
    label.classList.toggle("mrk-idle", idle);
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

  // The time goes on between deltas.
  tick(now) {
    const picture = this.picture;
    if (!picture) return;
    const rates = ratesText(picture);
    say(this.facts, `${secondsText(elapsed(picture, now))}${rates ? ` · ${rates}` : ""}`);
  }
}

class ClusterPane {
  constructor(root) {
    this.card = make("section", "mrk-card mrk-cluster", root, { role: "region", "aria-label": "MapReduce cluster" });
    const head = make("div", "mrk-head", this.card);
    this.name = make("span", "mrk-name", head);
    this.facts = make("span", "mrk-facts", head);
    this.loss = make("span", "mrk-loss", head);
    this.side = make("span", "mrk-side", head);
    this.banner = new Banner(this.card);
    const body = make("div", "mrk-body", this.card);
    const left = make("div", "mrk-pane", body);
    make("div", "mrk-title", left).textContent = "Workers";
    this.workers = new WorkerTable(left);
    const right = make("div", "mrk-pane", body);
    make("div", "mrk-title", right).textContent = "What happened";
    this.feed = new FeedList(right);
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
    this.workers.draw(picture);
    this.feed.draw(picture);
  }

  tick() {}
}

// Light or dark? Whatever is really behind us: the nearest ancestor that has a background.
function isDark(node) {
  for (let at = node.parentElement; at; at = at.parentElement) {
    const numbers = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
    if (numbers.length >= 3 && (numbers[3] ?? 1) > 0.5) {
      return 0.299 * numbers[0] + 0.587 * numbers[1] + 0.114 * numbers[2] < 128;
    }
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

class View {
  constructor(el) {
    this.root = make("div", "mrk", el);
    this.frame = 0;
    this.heard = performance.now();
    this.retheme = () => mark(this.root, "data-theme", isDark(this.root) ? "dark" : "light");
    this.watch = new MutationObserver(this.retheme);
    this.watch.observe(document.body, { attributes: true });
    this.watch.observe(document.documentElement, { attributes: true });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.retheme);
    this.timer = setInterval(() => this.tick(), 200);
    // The host may attach us only after this call.
    requestAnimationFrame(this.retheme);
  }

  // A snapshot that is older than what is shown (a trait that lags behind its deltas) is passed over.
  snapshot(picture) {
    if (!picture?.kind) return;
    if (this.picture && picture.job === this.picture.job && picture.seq < this.picture.seq) return;
    if (this.picture && picture.trimmed && picture.job === this.picture.job && picture.seq === this.picture.seq) return;
    this.put(picture);
  }

  // After a gap the picture stands until the next snapshot.
  delta(delta) {
    if (!this.picture || delta.seq <= this.picture.seq) return true;
    try {
      this.put(apply(this.picture, delta));
      return true;
    } catch (error) {
      if (error instanceof PictureGap) return false;
      throw error;
    }
  }

  put(picture) {
    this.picture = picture;
    this.heard = performance.now();
    // A hidden tab draws no frames, and a frame not drawn is not needed.
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    if (!this.pane || this.kind !== this.picture.kind) {
      this.kind = this.picture.kind;
      this.root.replaceChildren();
      this.pane = this.kind === "job" ? new JobPane(this.root) : new ClusterPane(this.root);
      this.retheme();
    }
    this.pane.draw(this.picture);
  }

  tick() {
    if (!this.pane || this.picture.ended !== null) return;
    this.pane.tick(this.picture.at + (performance.now() - this.heard) / 1000);
  }

  close() {
    cancelAnimationFrame(this.frame);
    clearInterval(this.timer);
    this.watch.disconnect();
    this.scheme.removeEventListener("change", this.retheme);
    this.root.remove();
  }
}

/**
 * Draw what a source tells into an element. Returns a function that takes it away again.
 * `source.subscribe(hear)` returns how to unsubscribe and calls `hear` with `{snapshot}` or
 * `{delta}`; `source.resync()`, if there is one, is called when a delta was missed.
 */
export function mount(el, source) {
  const view = new View(el);
  const leave = source.subscribe((payload) => {
    if (payload.snapshot) view.snapshot(payload.snapshot);
    else if (payload.delta && !view.delta(payload.delta)) source.resync?.();
  });
  return () => {
    leave?.();
    view.close();
  };
}

/** anywidget: the trait `snapshot` is a whole picture now and then, messages carry the deltas. */
function render({ model, el }) {
  const source = {
    subscribe(hear) {
      const onSnapshot = () => hear({ snapshot: model.get("snapshot") });
      const onMessage = (message) => {
        if (message.snapshot) hear({ snapshot: message.snapshot });
        for (const delta of message.deltas ?? []) hear({ delta });
      };
      onSnapshot();
      model.on("change:snapshot", onSnapshot);
      model.on("msg:custom", onMessage);
      model.send({ views: 1 });
      return () => {
        model.off("change:snapshot", onSnapshot);
        model.off("msg:custom", onMessage);
        model.send({ views: -1 });
      };
    },
  };
  return mount(el, source);
}

export default { render };
