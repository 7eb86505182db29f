// Arrows from what was lost to what makes it good.

import { TEXT_H } from "./sheet.js";

const CALM_ARROWS = 60; // more arrows than this at once are faint straight lines
const BUNDLE = 40; // so many are drawn in one go: where they cross within it they are not darker

/** Who took up what was lost: as many arrows as there are in sight. */
export function paintArrows(ctx, sheet) {
  const { index } = sheet;
  const seen = [];
  for (const bars of index.attempts.values()) {
    for (const bar of bars) {
      if (!bar.lost) continue;
      const next = index.next(bar);
      if (next && inSight(bar, next, sheet)) seen.push([bar, next]);
    }
  }
  ctx.globalAlpha = Math.min(1, Math.max(0.22, CALM_ARROWS / seen.length));
  if (seen.length > CALM_ARROWS) paintCrowd(ctx, seen, sheet);
  else for (const [bar, next] of seen) paintArrow(ctx, bar, next, sheet);
  ctx.globalAlpha = 1;
}

// Which way many went is seen, and each of them when it is pointed at.
function paintCrowd(ctx, seen, sheet) {
  const { index, rowHeight } = sheet;
  const reach = Math.max(rowHeight * 0.8, 6); // of one that leads out of sight
  ctx.strokeStyle = sheet.colours.fail;
  ctx.lineWidth = rowHeight < TEXT_H ? 1 : 1.4;
  for (let i = 0; i < seen.length; i += BUNDLE) {
    ctx.beginPath();
    for (const [bar, next] of seen.slice(i, i + BUNDLE)) {
      const [one, two] = [index.lane(bar.lane), index.lane(next.lane)];
      const x1 = sheet.x(lostAt(bar, sheet)), y1 = sheet.y(one) + rowHeight / 2;
      const x2 = sheet.x(next.begin), y2 = sheet.y(two) + rowHeight / 2;
      const part = sheet.shows(two) ? 1 : Math.min(1, reach / Math.hypot(x2 - x1, y2 - y1));
      ctx.moveTo(x1, y1);
      ctx.lineTo(x1 + (x2 - x1) * part, y1 + (y2 - y1) * part);
    }
    ctx.stroke();
  }
}

// A finished task was lost when its worker was, and not when it ended.
function lostAt(bar, { index, workers, now }) {
  const end = bar.end ?? now;
  return bar.state === "gone" ? Math.max(end, workers[index.lane(bar.lane).worker]?.lost_at ?? end) : end;
}

function inSight(bar, next, sheet) {
  const { index, scale, zero } = sheet;
  // An arrow from far above would only strike through what is here.
  if (!sheet.shows(index.lane(bar.lane))) return false;
  const [from, to] = [lostAt(bar, sheet) - zero, next.begin - zero];
  return Math.max(from, to) >= scale.from && Math.min(from, to) <= scale.to;
}

/** From where an attempt was lost to the begin of the one that makes it good. `whole`: from its bar on. */
export function paintArrow(ctx, bar, next, sheet, { whole = false } = {}) {
  const { colours, rowHeight, index } = sheet;
  const [one, two] = [index.lane(bar.lane), index.lane(next.lane)];
  const x0 = sheet.x(bar.end ?? sheet.now), x1 = sheet.x(lostAt(bar, sheet)), y1 = sheet.y(one) + rowHeight / 2;
  const x2 = sheet.x(next.begin), y2 = sheet.y(two) + rowHeight / 2;
  const head = Math.min(6, Math.max(3, rowHeight / 3));
  const bend = Math.min(34, Math.max(10, Math.abs(x2 - x1) / 2));
  // One that leads out of sight is cut short: its direction is told.
  const far = !whole && !sheet.shows(two);
  const path = () => {
    ctx.beginPath();
    ctx.moveTo(whole ? x0 : x1, y1);
    if (whole) ctx.lineTo(x1, y1);
    if (far) {
      const down = Math.sign(y2 - y1) * Math.min(rowHeight * 0.8, 16);
      ctx.bezierCurveTo(x1 + 7, y1, x1 + 7, y1 + down / 2, x1 + 7, y1 + down);
    } else if (one === two) ctx.lineTo(x2 - head, y2);
    else ctx.bezierCurveTo(x1 + bend, y1, x2 - bend - head, y2, x2 - head + 1, y2);
    ctx.stroke();
  };
  ctx.strokeStyle = colours.bg;
  ctx.lineWidth = 3.5;
  path();
  ctx.strokeStyle = colours.fail;
  ctx.lineWidth = rowHeight < TEXT_H ? 1 : bar.state === "gone" && !whole ? 1.1 : 1.6;
  ctx.setLineDash(bar.state === "gone" ? [4, 3] : []);
  path();
  ctx.setLineDash([]);
  if (far) return;
  ctx.fillStyle = colours.fail;
  if (head < 4) {
    ctx.fillRect(x2 - 2, y2 - 1, 3, 2);
    return;
  }
  const tip = () => {
    ctx.beginPath();
    ctx.moveTo(x2 + 1, y2);
    ctx.lineTo(x2 - head, y2 - head * 0.75);
    ctx.lineTo(x2 - head, y2 + head * 0.75);
    ctx.closePath();
  };
  tip();
  ctx.strokeStyle = colours.bg;
  ctx.lineWidth = 2;
  ctx.stroke();
  tip();
  ctx.fill();
}
