// The manager's web page around the live view: brings pictures from the WebSocket, takes actions back.

import { mount } from "./view.js";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 2000;
const WORRY_MS = 1000; // a manager that is back sooner was hardly away
const NEWS_MS = 8000;
const HIDDEN_MS = 15000; // nobody looks: what nobody sees is not sent
const NO_SUCH_TOPIC = 4404;
const AWAY = "The manager does not answer: it has ended, or is being started again. What is shown is as it was.";

const main = document.getElementById("view");
const { topic } = main.dataset;
const json = topic === "cluster" ? "/cluster.json" : `/jobs/${topic}.json`;

class Feed {
  constructor() {
    this.hear = null;
    this.socket = null;
    this.pause = FIRST_PAUSE_MS;
    this.last = -1; // number of the newest picture shown
    this.shift = 0;
    this.started = false; // whether this connection has had its snapshot
    this.over = false; // nothing more will come
    this.worry = 0; // timer: the manager has been away for long
    this.start = 0; // which of the cluster's managers we heard last
    document.addEventListener("visibilitychange", () => this.look());
    addEventListener("pageshow", (event) => event.persisted && this.look());
  }

  subscribe(hear) {
    this.hear = hear;
    this.connect();
    return () => this.stop();
  }

  connect() {
    clearTimeout(this.timer);
    if (this.socket || this.over) return;
    this.socket = new WebSocket(`ws://${location.host}/events?topic=${encodeURIComponent(topic)}`);
    this.socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    this.socket.onclose = (event) => this.lost(event);
  }

  receive({ snapshot, delta, start }) {
    this.pause = FIRST_PAUSE_MS;
    if (!this.started) this.back(snapshot.seq, start);
    const news = snapshot ?? delta;
    news.seq += this.shift;
    this.last = Math.max(this.last, news.seq);
    this.hear(snapshot ? { snapshot } : { delta });
    title(snapshot ?? delta.set ?? {});
  }

  // Every connection begins with a snapshot. A manager that was started again counts from the
  // beginning; readers only go forward.
  back(seq, start) {
    this.started = true;
    this.shift = Math.max(0, this.last + 1 - seq);
    clearTimeout(this.worry);
    this.worry = 0;
    const anew = this.start && start !== this.start;
    this.start = start;
    // The picture of a job that runs says so itself.
    if (anew && topic === "cluster") notice("The manager was started again, and goes on with its jobs.", "info");
    else if (!document.getElementById("notice").hidden) notice("The manager answers again.", "info");
    setTimeout(() => this.started && notice(""), NEWS_MS);
  }

  resync() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send("resync");
  }

  async lost(event) {
    this.socket = null;
    this.started = false;
    if (event.code === NO_SUCH_TOPIC) {
      this.end("This job was forgotten: what is shown is the last that was known of it.");
      return;
    }
    if (this.asleep) return;
    this.worry ||= setTimeout(() => this.over || notice(AWAY), WORRY_MS);
    // Why is told to requests, not to sockets: the page may have to be opened anew.
    try {
      const answer = await fetch(json, { method: "HEAD" });
      if (answer.status === 403) this.end("This page is not let in any more: `mrkernel watch --web` says its address.");
      else if (answer.status === 404) this.end("This job was forgotten, or the manager lost it.");
    } catch {
      // The next try tells.
    }
    if (this.over) return;
    this.timer = setTimeout(() => this.connect(), this.pause * (0.75 + Math.random() / 2));
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }

  look() {
    clearTimeout(this.sleep);
    if (document.hidden) {
      this.sleep = setTimeout(() => {
        this.asleep = true;
        clearTimeout(this.timer);
        this.socket?.close();
      }, HIDDEN_MS);
      return;
    }
    this.asleep = false;
    this.connect();
  }

  end(sentence) {
    this.over = true;
    clearTimeout(this.worry);
    notice(sentence);
  }

  stop() {
    this.over = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }
}

function notice(sentence, level = "warning") {
  const node = document.getElementById("notice");
  node.dataset.level = level;
  if (node.textContent !== sentence) node.textContent = sentence;
  node.hidden = sentence === "";
}

const shown = { name: topic };
const TITLED = ["name", "state", "map", "reduce", "ended"];
const pick = (news) => Object.fromEntries(TITLED.filter((field) => field in news).map((field) => [field, news[field]]));
function title(news) {
  if (topic === "cluster") {
    document.title = "mrkernel";
    const hint = document.getElementById("hint");
    if (hint && "slots" in news) hint.hidden = news.slots > 0;
    return;
  }
  const { name, state, map, reduce, ended } = Object.assign(shown, pick(news));
  const bars = [map, reduce].filter((bar) => bar?.total);
  const total = bars.reduce((sum, bar) => sum + bar.total, 0);
  if (typeof ended === "number") document.title = `${state}: ${name} · mrkernel`;
  else if (total) {
    const done = bars.reduce((sum, bar) => sum + bar.done, 0);
    document.title = `${Math.floor((100 * done) / total)} % ${name} · mrkernel`;
  }
}

async function act(name, about = {}) {
  const told = name === "cancel" ? { job: topic } : { ...about };
  if (name === "kill") told.confirm = true; // the button has asked
  const answer = await fetch("/actions", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-MRKernel-Action": "1" },
    body: JSON.stringify({ act: name, ...told }),
  });
  const { sentence } = await answer.json();
  if (!answer.ok) throw new Error(sentence);
}

// Here is room: a job's page shows all of it, whatever a cell would do.
function openOnce() {
  const toggle = main.querySelector(".mrk-toggle[aria-expanded]");
  if (!toggle) return;
  watching.disconnect();
  if (toggle.getAttribute("aria-expanded") === "false") toggle.click();
}
const watching = new MutationObserver(openOnce);
if (topic !== "cluster") watching.observe(main, { subtree: true, attributeFilter: ["aria-expanded"], childList: true });

const feed = new Feed();
mount(main, {
  actions: main.dataset.actions.split(" "),
  act,
  jobPage: (id) => `/job/${encodeURIComponent(id)}`,
  subscribe: (hear) => feed.subscribe(hear),
  resync: () => feed.resync(),
});
