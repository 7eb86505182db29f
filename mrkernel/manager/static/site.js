// The manager's web page around the live view: brings pictures from the WebSocket, takes actions back.

import { mount } from "./view.js";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
const HIDDEN_MS = 15000; // nobody looks: what nobody sees is not sent
const NO_SUCH_TOPIC = 4404;

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
    this.started = false;
    this.socket = new WebSocket(`ws://${location.host}/events?topic=${encodeURIComponent(topic)}`);
    this.socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    this.socket.onclose = (event) => this.lost(event);
  }

  receive({ snapshot, delta }) {
    this.pause = FIRST_PAUSE_MS;
    notice("");
    if (snapshot) {
      // A manager that was started again counts from the beginning; readers only go forward.
      if (!this.started) this.shift = Math.max(0, this.last + 1 - snapshot.seq);
      this.started = true;
    }
    const news = snapshot ?? delta;
    news.seq += this.shift;
    this.last = Math.max(this.last, news.seq);
    this.hear(snapshot ? { snapshot } : { delta });
    title(snapshot ?? delta.set ?? {});
  }

  resync() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send("resync");
  }

  async lost(event) {
    this.socket = null;
    if (event.code === NO_SUCH_TOPIC) {
      this.end("This job was forgotten: what is shown is the last that was known of it.");
      return;
    }
    if (this.asleep) return;
    // Why is told to requests, not to sockets: the page may have to be opened anew.
    try {
      const answer = await fetch(json, { method: "HEAD" });
      if (answer.status === 403) this.end("This page is not let in any more: `mrkernel watch --web` says its address.");
      else if (answer.status === 404) this.end("This job was forgotten, or the manager lost it.");
    } catch {
      notice("The manager does not answer: it has ended, or is being started again. Trying …");
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
    notice(sentence);
  }

  stop() {
    this.over = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }
}

function notice(sentence) {
  const node = document.getElementById("notice");
  if (node.textContent !== sentence) node.textContent = sentence;
  node.hidden = sentence === "";
}

const shown = { name: topic };
const TITLED = ["name", "state", "map", "reduce", "ended"];
const pick = (news) => Object.fromEntries(TITLED.filter((field) => field in news).map((field) => [field, news[field]]));
function title(news) {
  if (topic === "cluster") {
    document.title = "mrkernel";
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
  const told = name === "kill" ? { ...about, confirm: true } : { job: topic };
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
