// The timeline behind and beside its bars: lanes, names, deaths, the time.

import { tickText } from "./scale.js";
import { TEXT_H } from "./sheet.js";

/** Stripes of the workers and the grid of time. */
export function paintGround(ctx, sheet) {
  const { colours, lanes, rowHeight, scale, height, width } = sheet;
  for (let i = sheet.first; i < sheet.end; i += 1) {
    const lane = lanes[i];
    if (lane.odd) {
      ctx.fillStyle = colours.panel;
      ctx.fillRect(0, sheet.y(lane), width, rowHeight);
    }
  }
  ctx.strokeStyle = colours.line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const at of scale.ticks().at) {
    const x = Math.round(scale.x(at)) + 0.5;
    ctx.moveTo(x, 0);
    ctx.lineTo(x, height);
  }
  ctx.stroke();
  paintNames(ctx, sheet);
}

function paintNames(ctx, sheet) {
  const { colours, lanes, rowHeight, workers, scale } = sheet;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  const wide = rowHeight >= TEXT_H;
  for (let i = sheet.first; i < sheet.end; i += 1) {
    const lane = lanes[i];
    const state = workers[lane.worker]?.state ?? "unknown";
    const y = sheet.y(lane);
    const unwell = state === "suspect" || state === "barred";
    const colour = state === "dead" ? colours.fail : unwell ? colours.warn : colours.dim;
    if (!wide) {
      // Too low for names: a mark for those that are not well.
      if (state !== "alive") {
        ctx.fillStyle = colour;
        ctx.fillRect(scale.left - 5, y, 3, Math.max(rowHeight, 1));
      }
      if (!lane.leads || lane.size * rowHeight < 9) continue;
    }
    const first = lane.leads || i === sheet.first;
    const sign = !first ? "" : state === "dead" ? "✗ " : unwell ? "◐ " : "";
    ctx.fillStyle = colour;
    const size = wide ? 11 : Math.min(9, lane.size * rowHeight);
    ctx.font = `${first && wide && lane.size !== 1 ? 600 : 400} ${size}px ${colours.font}`;
    const middle = y + (wide ? rowHeight : lane.size * rowHeight) / 2;
    ctx.fillText(wide ? `${sign}${lane.name}` : lane.worker, scale.left - 8, middle + 0.5, scale.left - 10);
  }
}

/** Where a worker died its lanes end, with the reason. */
export function paintDeaths(ctx, sheet) {
  const { colours, lanes, rowHeight, scale, workers, now } = sheet;
  for (let i = sheet.first; i < sheet.end; i += 1) {
    const lane = lanes[i];
    const row = workers[lane.worker];
    if (!row || row.lost_at === null || row.lost_at === undefined) continue;
    const x = sheet.x(row.lost_at);
    const end = scale.right; // nothing comes here any more
    const y = sheet.y(lane);
    if (x > scale.right || end <= x) continue;
    ctx.fillStyle = colours.zone;
    ctx.fillRect(Math.max(x, scale.left), y, end - Math.max(x, scale.left), rowHeight);
    if (row.state !== "dead") continue;
    ctx.fillStyle = colours.fail;
    ctx.fillRect(x - 0.75, y, 1.5, rowHeight);
    const left = Math.max(x, scale.left) + 8;
    if (!lane.leads || rowHeight < TEXT_H || scale.right - left < 40) continue;
    const last = lane.bars.at(-1);
    if (last && sheet.x(last.end ?? now) > left + 4) continue;
    ctx.font = `600 11px ${colours.font}`;
    ctx.textAlign = "left";
    const text = cut(ctx, `✗ ${row.end || "died"}`, scale.right - left - 4, sheet);
    ctx.fillStyle = colours.bg;
    ctx.fillRect(left - 3, y + 3, widthOf(ctx, text, sheet) + 6, rowHeight - 6);
    ctx.fillStyle = colours.fail;
    ctx.fillText(text, left, y + rowHeight / 2 + 0.5);
  }
}

function cut(ctx, text, room, sheet) {
  const width = widthOf(ctx, text, sheet);
  if (width <= room) return text;
  let end = Math.floor((text.length * room) / width);
  while (end > 1 && ctx.measureText(`${text.slice(0, end)}…`).width > room) end -= 1;
  return `${text.slice(0, end)}…`;
}

/** What moves between pictures: running bars grow, now goes on, who is silent is marked. */
export function paintNow(ctx, sheet, now, pulse) {
  const { colours, scale, lanes, rowHeight, height, width, workers, index } = sheet;
  ctx.clearRect(0, 0, width, height);
  const nowX = sheet.x(now);
  ctx.save();
  ctx.beginPath();
  ctx.rect(scale.left, 0, scale.right - scale.left, height);
  ctx.clip();
  for (const bar of index.running) {
    const lane = index.lane(bar.lane);
    if (!sheet.shows(lane)) continue;
    const { x, y, w, h } = sheet.place(bar, lane);
    const grown = Math.min(nowX, scale.right) - x - w;
    if (grown > 0) {
      ctx.fillStyle = bar.backup ? colours.bg : colours[`${bar.phase}-run`];
      ctx.fillRect(x + w, y, grown, h);
      ctx.fillStyle = bar.backup ? colours[bar.phase] : colours.fail;
      if ((bar.retry || bar.backup) && h >= 5) for (const edge of [y, y + h - 1.5]) ctx.fillRect(x + w, edge, grown, 1.5);
    }
    if (nowX < scale.left) continue;
    ctx.globalAlpha = pulse;
    ctx.fillStyle = colours[bar.phase];
    ctx.fillRect(Math.max(nowX - 3, x), y, Math.min(3, nowX - x), h);
    ctx.globalAlpha = 1;
  }
  for (let i = sheet.first; i < sheet.end; i += 1) {
    const row = workers[lanes[i].worker];
    if (row?.state !== "suspect") continue;
    const x = sheet.x(row.beat);
    const y = sheet.y(lanes[i]) + rowHeight / 2;
    ctx.strokeStyle = colours.warn;
    ctx.lineWidth = Math.min(2.5, rowHeight / 2);
    ctx.setLineDash([2, 3]);
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(nowX, y);
    ctx.stroke();
    ctx.setLineDash([]);
    if (rowHeight >= TEXT_H && lanes[i].leads && scale.right - nowX > 64) {
      ctx.fillStyle = colours.warn;
      ctx.font = `600 11px ${colours.font}`;
      ctx.textBaseline = "middle";
      ctx.textAlign = "left";
      ctx.fillText("◐ silent", nowX + 6, y + 0.5);
    }
  }
  ctx.fillStyle = colours.ink;
  if (nowX <= scale.right + 1) ctx.fillRect(nowX - 0.5, 0, 1, height);
  ctx.restore();
}

// Measuring texts is the dearest part of an axis. `widths` lives as long as the fonts stay.
function widthOf(ctx, text, { widths }) {
  let width = widths.get(text);
  if (width === undefined) {
    if (widths.size > 2000) widths.clear();
    widths.set(text, (width = ctx.measureText(text).width));
  }
  return width;
}

/** The axis below the lanes. `now` null: the job is over. */
export function paintAxis(ctx, sheet, now) {
  const { colours, scale, width } = sheet;
  ctx.clearRect(0, 0, width, 22);
  ctx.font = `11px ${colours.font}`;
  ctx.textBaseline = "middle";
  ctx.strokeStyle = colours.line;
  ctx.beginPath();
  ctx.moveTo(scale.left, 0.5);
  ctx.lineTo(scale.right, 0.5);
  ctx.stroke();
  const { at, step } = scale.ticks();
  const nowX = now === null ? -1 : sheet.x(now);
  for (const seconds of at) {
    const x = scale.x(seconds);
    const text = tickText(seconds, step);
    const half = widthOf(ctx, text, sheet) / 2;
    // The first stands under its lane's begin, the last within the sheet.
    const middle = Math.min(Math.max(x, scale.left + half - 6), width - half - 1);
    if (nowX >= 0 && Math.abs(middle - nowX) < half + 20) continue;
    ctx.fillStyle = colours.dim;
    ctx.textAlign = "center";
    ctx.fillText(text, middle, 12);
  }
  if (nowX < scale.left || nowX > scale.right + 1) return;
  ctx.font = `600 11px ${colours.font}`;
  ctx.textAlign = "center";
  ctx.fillStyle = colours.ink;
  const half = widthOf(ctx, "now", sheet) / 2;
  ctx.fillText("now", Math.min(nowX, width - half - 1), 12);
  ctx.fillRect(nowX - 0.5, 0, 1, 5);
}
