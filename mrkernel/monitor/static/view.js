// The live view of a job or a cluster: one browser module for the notebook widget, the manager's web
// page and the JupyterLab panel. It draws pictures (monitor/picture.py says what they are) and knows
// neither sockets nor kernels.

import { ClusterPane } from "./cluster.js";
import { JobPane } from "./job.js";
import { keepTwin } from "./keep.js";
import { isDark, make, mark } from "./page.js";
import { apply, ownPicture, PictureGap } from "./picture.js";

export { apply, PictureGap } from "./picture.js";
export { bytesText, countText, secondsText } from "./quantities.js";
export { barParts, barText, elapsed, etaText, isTroubled, lossesText, ratesText } from "./sentences.js";

const BUSY_MS = 1000; // what a cluster's workers say of themselves is drawn so often
const CALM_MS = 2000; // and while none of them has anything to do

// Whether a cluster's delta says no more than that its workers live.
function onlyBeats({ set = {}, drop, feed }) {
  return !drop && !feed && Object.keys(set).every((name) => name === "at");
}

// The manager's page is on the loopback interface of the kernel's machine: is that the browser's?
const HERE_ONLY = /^(localhost|127\.0\.0\.1|\[::1\])$/;

class View {
  constructor(el, source) {
    this.source = source;
    this.root = make("div", "mrk", el);
    this.frame = 0;
    this.later = 0; // the timer of what is drawn when it comes to that
    this.heard = performance.now();
    this.changed = new Set(); // keys of the bars that changed since the last frame; null: all
    this.retheme = () => {
      mark(this.root, "data-theme", isDark(this.root) ? "dark" : "light");
      // Hosts change attributes for many reasons; painting anew is for other colours only.
      const style = getComputedStyle(this.root);
      const colours = `${style.color} ${style.getPropertyValue("--mrk-bg")} ${style.fontFamily}`;
      if (colours === this.colours) return;
      this.colours = colours;
      this.pane?.retheme();
    };
    this.watch = new MutationObserver(this.retheme);
    this.watch.observe(document.body, { attributes: true });
    this.watch.observe(document.documentElement, { attributes: true });
    // The host's colours come with a style sheet that may load after its attributes changed.
    document.head.addEventListener("load", this.retheme, true);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.retheme);
    this.timer = this.beat = 0; // between ticks; 0: nothing goes on
    // The host may attach us only after this call.
    requestAnimationFrame(this.retheme);
  }

  // A snapshot that is older than what is shown (a trait that lags behind its deltas) is passed over.
  snapshot(picture) {
    if (!picture?.kind) return;
    const same = this.picture && picture.job === this.picture.job;
    if (same && picture.seq < this.picture.seq) return;
    if (same && picture.trimmed && picture.seq === this.picture.seq) return;
    this.picture = ownPicture(picture);
    this.heard = performance.now();
    this.changed = null;
    this.put();
  }

  // What is offered beside the picture has changed.
  redraw() {
    if (this.picture) this.put();
  }

  // After a gap the picture stands until the next snapshot.
  delta(delta) {
    if (!this.picture || delta.seq <= this.picture.seq) return true;
    try {
      apply(this.picture, delta);
    } catch (error) {
      if (error instanceof PictureGap) return false;
      throw error;
    }
    if (this.changed) {
      for (const key of Object.keys(delta.put?.bars ?? {})) this.changed.add(key);
      for (const key of delta.drop?.bars ?? []) this.changed.add(key);
    }
    this.heard = performance.now();
    if (this.kind === "cluster" && onlyBeats(delta)) {
      this.later ||= setTimeout(() => this.put(), this.picture.busy ? BUSY_MS : CALM_MS);
    } else this.put();
    return true;
  }

  put() {
    clearTimeout(this.later);
    this.later = 0;
    // A hidden tab draws no frames, and a frame not drawn is not needed.
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    if (!this.pane || this.kind !== this.picture.kind) {
      this.kind = this.picture.kind;
      this.pane?.close();
      this.root.replaceChildren();
      this.pane = this.kind === "job" ? new JobPane(this.root, this.source) : new ClusterPane(this.root, this.source);
      this.colours = null;
      this.retheme();
    }
    this.pane.draw(this.picture, this.changed);
    this.changed = new Set();
    const beat = typeof this.picture.ended === "number" ? 0 : this.pane.tickMs;
    if (beat === this.beat) return;
    clearInterval(this.timer);
    this.beat = beat;
    this.timer = beat && setInterval(() => this.tick(), beat);
  }

  tick() {
    if (document.hidden) return;
    this.pane.tick(this.picture.at + (performance.now() - this.heard) / 1000);
  }

  close() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.later);
    clearInterval(this.timer);
    this.watch.disconnect();
    document.head.removeEventListener("load", this.retheme, true);
    this.scheme.removeEventListener("change", this.retheme);
    this.pane?.close();
    this.root.remove();
  }
}

/**
 * Draw what a source tells into an element. Returns a function that takes it away again.
 *
 * `source.subscribe(hear)` returns how to unsubscribe and calls `hear` with `{snapshot}` or
 * `{delta}`, and with `{offers: true}` when its actions or its note changed; `source.resync()`, if
 * there is one, is called when a delta was missed.
 *
 * What can be done from here: `source.actions`, names of "cancel", "add-worker", "retire", "kill", "page",
 * done by `source.act(name, {worker})`, which may return a promise. Without them no button is drawn,
 * and `source.note` ("■ stops this job") stands in Cancel's place. `source.jobPage(id)`: address of
 * a job's page, if there are such.
 */
export function mount(el, source) {
  const view = new View(el, source);
  const leave = source.subscribe((payload) => {
    if (payload.snapshot) view.snapshot(payload.snapshot);
    else if (payload.offers) view.redraw();
    else if (payload.delta && !view.delta(payload.delta)) source.resync?.();
  });
  return () => {
    leave?.();
    view.close();
  };
}

/**
 * A line to the kernel that the page opens. A message to a widget waits until the cell that runs has
 * ended: the kernel hears it where it last spoke for the widget. What comes over a line of our own
 * it hears in a thread beside (a subshell), if kernel and host have such. Null: they have not.
 */
async function openLine(model, wanted) {
  try {
    const line = await model.widget_manager._create_comm("mrkernel.view", crypto.randomUUID());
    for (let tries = 0; tries < 30 && wanted(); tries += 1) {
      if (line.jsServicesComm.subshellId) {
        line.open({ view: model.get("name_of_view") });
        return line;
      }
      await new Promise((go) => setTimeout(go, 100));
    }
  } catch {
    // Another host: its messages go the usual way.
  }
  return null;
}

/**
 * anywidget: the trait `snapshot` is a whole picture now and then, messages carry the deltas. The
 * traits `actions` and `note` are those of a source; what is done here is sent as
 * `{act, worker, offer, ticket}`, and answered by `{acted: ticket, refused}`; "page" by `open`, too:
 * the address of the manager's page. `{twin, of}`: what the notebook is to keep in the end (keep.js).
 */
function render({ model, el }) {
  const asked = new Map(); // ticket → how to answer who pressed
  let line = null;
  let mounted = true;
  let tickets = 0;
  const source = {
    subscribe(hear) {
      const onSnapshot = () => hear({ snapshot: model.get("snapshot") });
      const onOffer = () => {
        // A kernel that is busy now does not answer, and will not obey what was pressed before.
        for (const { give } of asked.values()) give();
        asked.clear();
        hear({ offers: true });
      };
      const onMessage = (message) => {
        if (message.snapshot) hear({ snapshot: message.snapshot });
        if (message.twin) keepTwin(model, message);
        for (const delta of message.deltas ?? []) hear({ delta });
        const waiting = asked.get(message.acted);
        if (!waiting) return;
        asked.delete(message.acted);
        if (message.refused) waiting.refuse(new Error(message.refused));
        else waiting.give(message.open);
      };
      onSnapshot();
      model.on("change:snapshot", onSnapshot);
      model.on("change:offer", onOffer);
      model.on("msg:custom", onMessage);
      model.send({ views: 1 });
      line = openLine(model, () => mounted);
      return () => {
        mounted = false;
        line.then((opened) => opened?.close());
        model.off("change:snapshot", onSnapshot);
        model.off("change:offer", onOffer);
        model.off("msg:custom", onMessage);
      };
    },
    get actions() {
      const actions = model.get("actions") ?? [];
      return HERE_ONLY.test(location.hostname) ? actions : actions.filter((name) => name !== "page");
    },
    get note() {
      return model.get("note") ?? "";
    },
    async act(name, about) {
      const ticket = `${Date.now()}-${(tickets += 1)}`; // other views of this model ask too
      const message = { act: name, offer: model.get("offer"), ticket, ...about };
      const answered = new Promise((give, refuse) => asked.set(ticket, { give, refuse }));
      const opened = await line;
      if (opened) opened.send(message);
      else model.send(message);
      const page = await answered;
      if (page) window.open(page, "_blank", "noopener");
    },
    resync() {
      model.send({ resync: true });
    },
  };
  return mount(el, source);
}

export default { render };
