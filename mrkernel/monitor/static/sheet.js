// What of the timeline is in sight, and where on the screen it is.

export const TEXT_H = 13; // rows lower than this carry no text

export class Sheet {
  /**
   * scale: seconds since the job began → pixels. lanes: in order. index: see lanes.js. rowHeight, top
   * (how far it is scrolled), height, width: pixels. zero: `at` of the begin. now: `at` of the picture.
   */
  constructor(parts) {
    Object.assign(this, parts);
    this.first = Math.max(0, Math.floor(this.top / this.rowHeight));
    this.end = Math.min(this.lanes.length, Math.ceil((this.top + this.height) / this.rowHeight));
  }

  x(at) {
    return this.scale.x(at - this.zero);
  }

  y(lane) {
    return lane.at * this.rowHeight - this.top;
  }

  shows(lane) {
    return lane.at >= this.first && lane.at < this.end;
  }

  /** Where a bar is, in pixels of the canvas. */
  place(bar, lane = this.index.lane(bar.lane)) {
    const { scale, rowHeight } = this;
    const left = Math.max(this.x(bar.begin), scale.left - 4);
    const right = Math.min(this.x(bar.end ?? this.now), scale.right + 4);
    // Whole pixels: edges between them are blurred, and cost.
    const gap = rowHeight >= 10 ? Math.min(3, Math.round(rowHeight / 7)) : 0;
    const h = rowHeight - (gap ? 2 * gap : rowHeight >= 3 ? 1 : 0);
    return { x: left, y: this.y(lane) + gap, w: Math.max(right - left, 1), h };
  }

  /** The bar at a point of the canvas, or the nearest within a few pixels. */
  find(x, y) {
    const lane = this.lanes[Math.floor((y + this.top) / this.rowHeight)];
    if (!lane || x < this.scale.left) return null;
    return lane.near(this.scale.seconds(x) + this.zero, 4 / this.scale.perSecond, this.now);
  }
}
