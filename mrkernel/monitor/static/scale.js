// Time on the screen: from seconds to pixels and back, and where to put the ticks.

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
const TICK_PX = 76; // ticks stand at least so far apart

export class Scale {
  constructor(from, to, left, right) {
    Object.assign(this, { from, to, left, right });
    this.perSecond = (right - left) / Math.max(to - from, 1e-9);
  }

  x(seconds) {
    return this.left + (seconds - this.from) * this.perSecond;
  }

  seconds(x) {
    return this.from + (x - this.left) / this.perSecond;
  }

  /** The seconds of the ticks, and the step between them. */
  ticks() {
    const least = TICK_PX / this.perSecond;
    let step = STEPS.find((each) => each >= least) ?? Math.ceil(least / 86400) * 86400;
    if (least < 1) {
      const power = 10 ** Math.floor(Math.log10(least));
      step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least * 0.999);
    }
    const at = [];
    for (let i = Math.ceil(this.from / step - 1e-6); i * step <= this.to + step * 1e-6; i += 1) at.push(i * step);
    return { at, step };
  }
}

/** A tick's text: "0.25 s", "15 s", "3 min", "2:30 min", "1:05 h". */
export function tickText(seconds, step) {
  const two = (n) => String(n).padStart(2, "0");
  if (step < 1) return `${seconds.toFixed(Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)))} s`;
  const whole = Math.round(seconds);
  if (whole < 120 && step < 60) return `${whole} s`;
  if (whole >= 3600) return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))} h`;
  return whole % 60 ? `${Math.floor(whole / 60)}:${two(whole % 60)} min` : `${whole / 60} min`;
}

/** Where the axis of a running job ends: ahead of now, and standing still for a while. */
export function axisEnd(now) {
  let end = 1;
  while (end < now * 1.015) end *= 1.1;
  return end;
}
