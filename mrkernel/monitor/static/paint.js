// Draws the timeline's bars on a canvas. Hue tells the phase, fill tells the state.

import { paintArrows } from "./arrows.js";
import { paintDeaths, paintGround } from "./ground.js";
import { TEXT_H } from "./sheet.js";

/** The CSS colours that are painted with; see `readColours`. */
export const PAINTS = [
  "bg", "ink", "dim", "line", "panel", "map", "reduce", "fail", "warn", "onhue",
  "map-run", "reduce-run", "map-gone", "reduce-gone", "killed", "fail-soft", "zone",
];
const ROUND = 3;
const LOW_H = 6; // in rows lower than this a bar is a plain rectangle
const FAIL_W = 3; // a failure is seen however short it was
const LETTER = 6.1; // about the width of a letter of a label, in pixels

/** Hatches in the alarm colour, for one theme and one pixel ratio. */
export function makeHatches(colours, ratio) {
  const hatch = (lines) => {
    const canvas = document.createElement("canvas");
    const size = 6;
    canvas.width = canvas.height = Math.round(size * ratio);
    const ctx = canvas.getContext("2d");
    ctx.scale(canvas.width / size, canvas.height / size);
    ctx.fillStyle = colours["fail-soft"];
    ctx.fillRect(0, 0, size, size);
    ctx.strokeStyle = colours.fail;
    ctx.lineWidth = 1.4;
    ctx.beginPath();
    for (const sign of lines) {
      for (const shift of [-size, 0, size]) {
        ctx.moveTo(shift - 1, sign > 0 ? size + 1 : -1);
        ctx.lineTo(shift + size + 1, sign > 0 ? -1 : size + 1);
      }
    }
    ctx.stroke();
    const pattern = ctx.createPattern(canvas, "repeat");
    pattern.setTransform(new DOMMatrix().scale(size / canvas.width));
    return pattern;
  };
  return { lost: hatch([1]), failed: hatch([1, -1]) };
}

function textThatFits(bar, room) {
  if (bar.count > 1) {
    const many = `${bar.count} ${bar.phase}s`;
    if (many.length * LETTER <= room) return many;
    const few = `×${bar.count}`;
    return few.length * LETTER <= room ? few : "";
  }
  const sign = bar.state === "failed" || bar.state === "lost" ? "✗ " : "";
  const whole = sign + bar.task;
  if (whole.length * LETTER <= room) return whole;
  const number = bar.task.slice(bar.task.lastIndexOf("-") + 1);
  return number.length * LETTER <= room ? number : "";
}

/** Everything up to the newest picture: lanes, ended and running bars, arrows. */
export function paintBars(ctx, sheet) {
  const { colours, scale, lanes, rowHeight, height, width, zero } = sheet;
  ctx.clearRect(0, 0, width, height);
  paintGround(ctx, sheet);
  ctx.save();
  ctx.beginPath();
  ctx.rect(scale.left, 0, scale.right - scale.left, height);
  ctx.clip();
  const plain = new Map(), failures = []; // fill → places
  const special = [], texts = [], combs = [];
  const low = rowHeight < LOW_H;
  for (let i = sheet.first; i < sheet.end; i += 1) {
    const lane = lanes[i];
    let inked = -1, inkedFill = "";
    for (let j = lane.first(scale.from + zero); j < lane.bars.length; j += 1) {
      const bar = lane.bars[j];
      if (bar.begin - zero > scale.to) break;
      const place = sheet.place(bar, lane);
      if (!low && (bar.lost || bar.backup || bar.retry)) special.push([bar, place]);
      else {
        const fill = plainFill(bar);
        // Of bars narrower than a pixel one a pixel is enough.
        if (fill === inkedFill && place.x + place.w <= inked) continue;
        [inked, inkedFill] = [place.x + place.w, fill];
        if (fill === "fail") {
          place.w = Math.max(place.w, FAIL_W);
          failures.push(place);
          continue;
        }
        // A hair between neighbours, while there is room for one.
        if (place.w > 4 && bar.end !== null) place.w -= 1;
        const places = plain.get(fill);
        if (places) places.push(place);
        else plain.set(fill, [place]);
        if (bar.count > 1 && place.w > 12 && rowHeight >= TEXT_H) combs.push(place);
      }
      if (place.w > 14 && rowHeight >= TEXT_H) texts.push([bar, place]);
    }
  }
  for (const [fill, places] of plain) {
    // What runs is open to the right: `paintNow` goes on there.
    fillPlaces(ctx, places, colours[fill], fill.endsWith("-run") ? [ROUND, 0, 0, ROUND] : ROUND);
  }
  fillPlaces(ctx, failures, colours.fail);
  paintCombs(ctx, combs, colours);
  for (const [bar, place] of special) paintSpecial(ctx, bar, place, sheet);
  paintTexts(ctx, texts, sheet);
  paintArrows(ctx, sheet);
  paintDeaths(ctx, sheet);
  ctx.restore();
}

// The colour of a bar that is nothing but filled.
function plainFill({ state, phase }) {
  if (state === "failed" || state === "lost") return "fail";
  if (state === "killed") return "killed";
  return state === "running" ? `${phase}-run` : state === "gone" ? `${phase}-gone` : phase;
}

function fillPlaces(ctx, places, colour, radius = ROUND) {
  ctx.fillStyle = colour;
  // Round corners are seen only on what is large enough, and cost.
  ctx.beginPath();
  for (const { x, y, w, h } of places) {
    if (w >= 7 && h >= 9) ctx.roundRect(x, y, w, h, radius);
    else ctx.fillRect(x, y, w, h);
  }
  ctx.fill();
}

// Several short tasks in one bar: a comb at its foot.
function paintCombs(ctx, places, colours) {
  ctx.strokeStyle = colours.bg;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const { x, y, w, h } of places) {
    for (let at = x + 4; at < x + w - 2; at += 4) {
      ctx.moveTo(at, y + h - 4);
      ctx.lineTo(at, y + h);
    }
  }
  ctx.stroke();
}

function paintSpecial(ctx, bar, { x, y, w, h }, sheet) {
  const { colours, hatches } = sheet;
  const hue = colours[bar.phase];
  const open = bar.state === "running";
  const round = w >= 6 && h >= 8 ? ROUND : 0;
  const radius = open ? [round, 0, 0, round] : round;
  const inset = h >= 6 ? 0.75 : 0;
  const outline = (colour, dash, line = 1.5) => {
    ctx.strokeStyle = colour;
    ctx.lineWidth = line;
    ctx.setLineDash(dash);
    ctx.beginPath();
    if (open) {
      ctx.moveTo(x + w, y + inset);
      ctx.lineTo(x + inset, y + inset);
      ctx.lineTo(x + inset, y + h - inset);
      ctx.lineTo(x + w, y + h - inset);
    } else ctx.roundRect(x + inset, y + inset, Math.max(w - 2 * inset - 0.5, 0.5), Math.max(h - 2 * inset, 0.5), round);
    ctx.stroke();
    ctx.setLineDash([]);
  };
  const fill = (colour) => {
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.roundRect(x, y, open ? w : Math.max(w - 0.5, 1), h, radius);
    ctx.fill();
  };
  if (bar.state === "failed" || bar.state === "lost") {
    const seen = Math.max(w, FAIL_W);
    ctx.fillStyle = seen < 5 ? colours.fail : hatches[bar.state];
    ctx.fillRect(x, y, seen, h);
    if (w >= 5 && h >= 6) outline(colours.fail, []);
  } else if (bar.state === "gone") {
    fill(colours[`${bar.phase}-gone`]);
    ctx.strokeStyle = colours.fail;
    ctx.lineWidth = 1.2;
    ctx.beginPath();
    const arm = Math.min(w / 2 - 1, h / 2 - 2, 5);
    const [cx, cy] = [x + w / 2, y + h / 2];
    // Its text, if there is one, keeps the middle: strike through the sides.
    ctx.moveTo(x + 1, cy);
    ctx.lineTo(x + w - 2, cy);
    if (arm > 1.5 && w < 26) {
      ctx.moveTo(cx - arm, cy - arm);
      ctx.lineTo(cx + arm, cy + arm);
      ctx.moveTo(cx + arm, cy - arm);
      ctx.lineTo(cx - arm, cy + arm);
    }
    ctx.stroke();
  } else if (bar.backup) {
    if (bar.state === "done") {
      fill(colours[bar.phase]);
      outline(colours.bg, [3, 2]);
    } else {
      fill(colours.bg);
      outline(bar.state === "killed" ? colours.dim : hue, [3, 2]);
    }
  } else if (bar.state === "killed") fill(colours.killed);
  else fill(colours[bar.state === "running" ? `${bar.phase}-run` : bar.phase]);
  if (bar.retry && !bar.lost) outline(colours.fail, [], 2);
}

function paintTexts(ctx, texts, { colours, scale }) {
  ctx.font = `11px ${colours.font}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  for (const [bar, { x, y, w, h }] of texts) {
    // A bar that begins out of sight has its text where it is seen.
    const left = Math.max(x, scale.left) + 5;
    const text = textThatFits(bar, x + w - left - 4);
    if (!text) continue;
    const middle = y + h / 2 + 0.5;
    if (bar.state === "failed" || bar.state === "lost" || bar.state === "gone") {
      ctx.fillStyle = bar.state === "gone" ? colours[`${bar.phase}-gone`] : colours["fail-soft"];
      ctx.fillRect(left - 1, y + 2, text.length * LETTER + 3, h - 4);
    }
    ctx.fillStyle = bar.state === "done" ? colours.onhue : bar.state === "killed" && bar.backup ? colours.dim : colours.ink;
    if (bar.state === "failed" || bar.state === "lost") ctx.fillStyle = colours.fail;
    ctx.fillText(text, left, middle);
  }
}

