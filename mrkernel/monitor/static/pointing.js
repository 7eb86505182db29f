// The hands on the timeline: pointer, wheel and keys.

const DRAG_PX = 5; // a shorter drag is a click

export class Pointing {
  constructor(timeline) {
    this.timeline = timeline;
    const { view } = timeline;
    this.drag = null;
    this.x = null;
    view.addEventListener("pointermove", (event) => this.moved(event));
    view.addEventListener("pointerdown", (event) => this.pressed(event));
    view.addEventListener("pointerup", (event) => this.released(event));
    view.addEventListener("pointercancel", () => this.stop());
    view.addEventListener("pointerleave", () => {
      if (!this.drag) timeline.point(null);
    });
    view.addEventListener("dblclick", () => timeline.whole());
    view.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    view.addEventListener("keydown", (event) => this.typed(event));
    view.addEventListener("focus", () => timeline.painted && timeline.place());
    view.addEventListener("blur", () => timeline.painted && timeline.place());
  }

  at(event) {
    const box = this.timeline.glass.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  moved(event) {
    const { timeline } = this;
    if (!timeline.painted) return;
    const [x, y] = this.at(event);
    this.x = x;
    if (!this.drag) {
      timeline.point(timeline.painted.find(x, y));
      return;
    }
    const { scale } = timeline.painted;
    const one = Math.max(Math.min(this.drag, x), scale.left), two = Math.min(Math.max(this.drag, x), scale.right);
    const far = two - one > DRAG_PX;
    timeline.chosen.hidden = !far;
    timeline.chosen.style.transform = `translateX(${one}px)`;
    timeline.chosen.style.width = `${Math.max(0, two - one)}px`;
    if (far) timeline.point(null);
  }

  pressed(event) {
    const { timeline } = this;
    if (event.button !== 0 || event.pointerType === "touch" || !timeline.painted) return;
    const [x] = this.at(event);
    if (x < timeline.painted.scale.left || x > timeline.width) return; // names, scroll bar
    this.drag = x;
    timeline.view.setPointerCapture(event.pointerId);
  }

  released(event) {
    const { timeline } = this;
    if (this.drag === null && event.pointerType !== "touch") return;
    const [x, y] = this.at(event);
    const begin = this.drag ?? x;
    this.stop();
    if (Math.abs(x - begin) <= DRAG_PX) {
      timeline.focus(timeline.painted.find(x, y));
      return;
    }
    const { scale } = timeline.painted;
    const [one, two] = [scale.seconds(Math.max(Math.min(begin, x), scale.left)), scale.seconds(Math.min(Math.max(begin, x), scale.right))];
    timeline.look(one, two);
  }

  stop() {
    this.drag = null;
    this.timeline.chosen.hidden = true;
  }

  // The plain wheel belongs to the page and to the lanes.
  wheeled(event) {
    const { timeline } = this;
    if (!timeline.painted) return;
    const { scale } = timeline.painted;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      event.preventDefault();
      timeline.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 150), scale.seconds(this.at(event)[0]));
      return;
    }
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (!timeline.range || !sideways || (!event.shiftKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY))) return;
    event.preventDefault();
    timeline.shift(sideways / scale.perSecond);
  }

  typed(event) {
    const { timeline } = this;
    if (!timeline.painted || event.ctrlKey || event.metaKey || event.altKey) return;
    const span = timeline.painted.scale.to - timeline.painted.scale.from;
    const keys = {
      ArrowRight: () => this.walk(1, event.shiftKey && span / 10),
      ArrowLeft: () => this.walk(-1, event.shiftKey && -span / 10),
      ArrowDown: () => this.climb(1),
      ArrowUp: () => this.climb(-1),
      Home: () => this.edge(0),
      End: () => this.edge(-1),
      Enter: () => this.follow(),
      t: () => this.trouble(),
      "+": () => timeline.zoom(0.5, this.middle()),
      "=": () => timeline.zoom(0.5, this.middle()),
      "-": () => timeline.zoom(2, this.middle()),
      0: () => timeline.whole(),
      f: () => timeline.followNow(!timeline.follow),
      Escape: () => timeline.focus(null),
    };
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || (event.key === "Escape" && !timeline.focused)) return;
    event.preventDefault();
    // Notebooks have keys of their own.
    event.stopPropagation();
    act();
  }

  middle() {
    const { focused, zero, now } = this.timeline;
    return focused ? ((focused.end ?? now) + focused.begin) / 2 - zero : undefined;
  }

  lane() {
    return this.timeline.index.lane(this.timeline.focused.lane);
  }

  // The first step is to the newest bar of the first lane in sight.
  begin() {
    const { timeline } = this;
    const lane = timeline.lanes.slice(timeline.painted.first).find((each) => each.bars.length);
    if (lane) timeline.focus(lane.bars.at(-1));
  }

  walk(step, seconds) {
    const { timeline } = this;
    if (seconds) timeline.shift(seconds);
    else if (!timeline.focused) this.begin();
    else {
      const { bars } = this.lane();
      const bar = bars[bars.indexOf(timeline.focused) + step];
      if (bar) timeline.focus(bar);
    }
  }

  climb(step) {
    const { timeline } = this;
    if (!timeline.focused) {
      this.begin();
      return;
    }
    const { focused, lanes, now } = timeline;
    const middle = ((focused.end ?? now) + focused.begin) / 2;
    for (let i = this.lane().at + step; i >= 0 && i < lanes.length; i += step) {
      const bar = lanes[i].near(middle, Infinity, now);
      if (bar) {
        timeline.focus(bar);
        return;
      }
    }
  }

  edge(at) {
    if (!this.timeline.focused) this.begin();
    else this.timeline.focus(this.lane().bars.at(at));
  }

  /** Along the arrow: to the attempt that makes it good, or back to the first. */
  follow() {
    const { timeline } = this;
    const bar = timeline.focused;
    if (!bar) return;
    const next = timeline.index.next(bar) ?? timeline.index.attempts.get(bar.task)?.[0];
    if (next && next !== bar) timeline.focus(next);
  }

  /** To the next thing that went wrong after the focused bar, then to the first again. */
  trouble() {
    const { timeline } = this;
    const lost = [...timeline.index.bars.values()].filter((bar) => bar.lost);
    lost.sort((a, b) => (a.end ?? 0) - (b.end ?? 0) || (a.key < b.key ? -1 : 1));
    const at = lost.indexOf(timeline.focused);
    const bar = at >= 0 ? lost[(at + 1) % lost.length] : (lost.find((each) => each.end > (timeline.focused?.end ?? -1)) ?? lost[0]);
    if (bar) timeline.focus(bar);
  }
}
