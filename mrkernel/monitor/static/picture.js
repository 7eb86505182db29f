// Pictures and the deltas between them: as monitor/picture.py has them.

const FEED_LIMIT = 200;
const COLLECTIONS = ["workers", "troubles", "bars"];

export class PictureGap extends Error {}

/** A copy that `apply` may change: the host keeps its snapshot, and shows it to other views. */
export function ownPicture(snapshot) {
  const picture = { ...snapshot };
  for (const name of COLLECTIONS) if (picture[name]) picture[name] = { ...picture[name] };
  return picture;
}

/** Change the picture in place (copying thousands of rows ten times a second would cost) and return it. */
export function apply(picture, delta) {
  if (!picture || delta.seq !== picture.seq + 1) throw new PictureGap(`delta ${delta.seq} does not follow`);
  Object.assign(picture, delta.set);
  picture.seq = delta.seq;
  for (const [name, keys] of Object.entries(delta.drop ?? {})) {
    for (const key of keys) delete picture[name][key];
  }
  for (const [name, rows] of Object.entries(delta.put ?? {})) {
    picture[name] ??= {};
    Object.assign(picture[name], rows);
  }
  if (delta.feed?.length) {
    const lines = new Map([...picture.feed, ...delta.feed].map((line) => [line.n, line]));
    picture.feed = [...lines.values()].sort((a, b) => a.n - b.n).slice(-FEED_LIMIT);
    picture.older = picture.feed[0].n;
  }
  return picture;
}
