// The timeline's bars, found by lane, by place and by task. No drawing here.

export const LOST = ["failed", "lost", "gone"]; // states whose task must run again
const TROUBLE = { dead: 0, suspect: 1, barred: 1 };

class Bar {
  constructor(key) {
    this.key = key;
    this.dropped = false;
  }

  set([lane, begin, end, state, task, attempt, count, records, bytes, input, cause]) {
    const backup = state.endsWith("+");
    Object.assign(this, { lane, begin, end, task, attempt, count, records, bytes, input, cause, backup });
    this.state = backup ? state.slice(0, -1) : state;
    this.phase = task[0] === "r" ? "reduce" : "map";
    this.lost = LOST.includes(this.state);
    this.retry = attempt > 1 && !backup;
  }
}

class Lane {
  constructor(name) {
    const cut = name.lastIndexOf("·");
    this.name = name;
    this.worker = cut < 0 ? name : name.slice(0, cut);
    this.slot = cut < 0 ? "" : name.slice(cut + 1);
    this.bars = [];
    this.dirty = false;
  }

  tidy() {
    if (!this.dirty) return;
    this.dirty = false;
    this.bars = this.bars.filter((bar) => !bar.dropped && bar.lane === this.name);
    this.bars.sort((a, b) => a.begin - b.begin);
  }

  /** Index of the first bar that does not end before a time. */
  first(seconds) {
    let low = 0, high = this.bars.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const { end } = this.bars[middle];
      if (end !== null && end < seconds) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The bar at a time, or the nearest within `slack` seconds. */
  near(seconds, slack, now) {
    let best = null, least = slack;
    for (let i = Math.max(0, this.first(seconds - slack) - 1); i < this.bars.length; i += 1) {
      const bar = this.bars[i];
      if (bar.begin > seconds + slack) break;
      const away = Math.max(bar.begin - seconds, seconds - (bar.end ?? now), 0);
      if (away < least || (away === 0 && best === null)) [best, least] = [bar, away];
    }
    return best;
  }

  /** Sums for who cannot see the picture. */
  sums(now) {
    const sums = { done: 0, running: 0, lost: 0, busy: 0, records: 0, bytes: 0 };
    for (const bar of this.bars) {
      sums.busy += (bar.end ?? now) - bar.begin;
      sums.records += bar.records;
      sums.bytes += bar.bytes;
      if (bar.state === "done") sums.done += bar.count;
      else if (bar.state === "running") sums.running += 1;
      else if (bar.lost) sums.lost += 1;
    }
    return sums;
  }
}

export class Lanes {
  constructor() {
    this.clear();
  }

  clear() {
    this.bars = new Map();
    this.lanes = new Map();
    this.attempts = new Map(); // task → its bars that something went wrong with, and their successors
    this.running = new Set();
    this.troubled = new Map(); // worker → how many of its bars were lost
  }

  /** Take in the rows of a picture: all of them, or those of `keys`. */
  update(rows, keys) {
    if (!keys) this.clear();
    for (const key of keys ?? Object.keys(rows)) {
      const row = rows[key];
      if (row) this.put(key, row);
      else this.drop(key);
    }
    for (const lane of this.lanes.values()) lane.tidy();
  }

  put(key, row) {
    let bar = this.bars.get(key);
    const before = bar && [bar.lane, bar.begin];
    if (bar) this.forget(bar);
    else this.bars.set(key, (bar = new Bar(key)));
    bar.set(row);
    if (bar.state === "running") this.running.add(bar);
    if (bar.lost) this.troubled.set(this.lane(bar.lane).worker, (this.troubled.get(this.lane(bar.lane).worker) ?? 0) + 1);
    if (bar.lost || (bar.attempt > 1 && bar.count === 1)) {
      const others = this.attempts.get(bar.task);
      if (others) others.push(bar);
      else this.attempts.set(bar.task, [bar]);
      others?.sort((a, b) => a.attempt - b.attempt);
    }
    const lane = this.lane(bar.lane);
    if (before && before[0] === bar.lane && before[1] === bar.begin) return;
    if (before) this.lane(before[0]).dirty = true;
    if (before?.[0] !== bar.lane) lane.bars.push(bar);
    const last = lane.bars.at(-2);
    if (before || (last && last.begin > bar.begin)) lane.dirty = true;
  }

  drop(key) {
    const bar = this.bars.get(key);
    if (!bar) return;
    this.forget(bar);
    this.bars.delete(key);
    bar.dropped = true;
    this.lane(bar.lane).dirty = true;
  }

  forget(bar) {
    this.running.delete(bar);
    if (bar.lost) {
      const { worker } = this.lane(bar.lane);
      this.troubled.set(worker, this.troubled.get(worker) - 1);
    }
    const others = this.attempts.get(bar.task);
    const at = others ? others.indexOf(bar) : -1;
    if (at >= 0) others.splice(at, 1);
    if (others && !others.length) this.attempts.delete(bar.task);
  }

  lane(name) {
    let lane = this.lanes.get(name);
    if (!lane) this.lanes.set(name, (lane = new Lane(name)));
    return lane;
  }

  /** The bar of the next attempt of a failed, lost or gone one. */
  next(bar) {
    return this.attempts.get(bar.task)?.find((other) => other.attempt > bar.attempt) ?? null;
  }

  /** The failed, lost or gone bar that a bar makes good. */
  before(bar) {
    return this.attempts.get(bar.task)?.findLast((other) => other.attempt < bar.attempt && other.lost) ?? null;
  }

  /**
   * The lanes to draw: every slot of every worker, the workers as they joined, their lanes together.
   * When more than `fit`, those with troubles come first.
   */
  order(workers, fit) {
    for (const [name, row] of Object.entries(workers)) {
      if (row.state === "retired" || row.state === "unknown") continue; // only what they did
      for (let slot = 0; slot < Math.min(row.slots, 64); slot += 1) this.lane(`${name}·${slot}`);
    }
    const places = new Map(Object.keys(workers).map((name, i) => [name, i]));
    const place = (lane) => places.get(lane.worker) ?? places.size;
    const stays = (lane) => lane.bars.length || (workers[lane.worker]?.state ?? "retired") !== "retired";
    const lanes = [...this.lanes.values()].filter(stays);
    const rank = (lane) => {
      if (lanes.length <= fit) return 0;
      return TROUBLE[workers[lane.worker]?.state] ?? (this.troubled.get(lane.worker) ? 2 : 3);
    };
    const keys = new Map(lanes.map((lane) => [lane, [rank(lane), place(lane), Number(lane.slot) || 0]]));
    lanes.sort((a, b) => {
      const [one, two] = [keys.get(a), keys.get(b)];
      return one[0] - two[0] || one[1] - two[1] || a.worker.localeCompare(b.worker) || one[2] - two[2];
    });
    lanes.forEach((lane, i) => { lane.at = i; });
    return lanes;
  }
}
