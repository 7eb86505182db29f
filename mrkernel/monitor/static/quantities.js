// Numbers as people read them: as monitor/quantities.py writes them.

// `toLocaleString` would make one of these each time.
const FORMATS = [0, 1].map((digits) => new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));

function grouped(number, digits = 0) {
  return FORMATS[digits].format(number);
}

function scaled(number, units) {
  let scale = 0;
  while (Math.abs(number) >= 999.5 && scale < units.length - 1) {
    number /= 1000;
    scale += 1;
  }
  const digits = scale === 0 || Math.abs(number) >= 9.95 ? 0 : 1;
  return `${grouped(number, digits)} ${units[scale]}`.trim();
}

export function bytesText(count) {
  return scaled(count, ["B", "kB", "MB", "GB", "TB", "PB"]);
}

export function countText(count) {
  return Math.abs(count) < 100000 ? grouped(count) : scaled(count, ["", "k", "M", "G", "T"]);
}

export function secondsText(seconds) {
  if (seconds < 0.995) return `${Math.max(seconds, 0).toFixed(2)} s`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

export function plural(count, noun) {
  return `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;
}
