// Elements and colours. All data reaches the page through textContent and attributes.

export function make(tag, className, parent, attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

// Writing the same text again would still cost a layout, and reading it back costs too.
export function say(node, text) {
  if (node.mrkSaid === text) return;
  node.mrkSaid = text;
  // A new node of text would have the styles around it looked up anew.
  if (text && node.firstChild) node.firstChild.data = text;
  else node.textContent = text;
}

export function mark(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

let ids = 0;

export function freshId() {
  return `mrk-${(ids += 1)}`;
}

/** A titled part of a pane; `note` stands dimmed behind the title. */
export function titled(parent, className, text) {
  const box = make("section", `mrk-part ${className}`, parent, { "aria-label": text });
  const head = make("div", "mrk-title", box);
  const title = make("h4", "", head);
  title.textContent = text;
  const note = make("span", "mrk-aside", head);
  return { box, head, title, note };
}

/** Light or dark? Whatever is really behind us: the nearest ancestor that has a background. */
export function isDark(node) {
  const kind = document.body.dataset.vscodeThemeKind;
  if (kind) return kind !== "vscode-light" && kind !== "vscode-high-contrast-light";
  for (let at = node.parentElement; at; at = at.parentElement) {
    const numbers = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
    if (numbers.length >= 3 && (numbers[3] ?? 1) > 0.5) {
      return 0.299 * numbers[0] + 0.587 * numbers[1] + 0.114 * numbers[2] < 128;
    }
  }
  // Nobody has one: what the browser writes with on its own ground.
  const before = node.style.color;
  node.style.color = "CanvasText";
  const [red] = getComputedStyle(node).color.match(/[\d.]+/g).map(Number);
  node.style.color = before;
  return red > 128;
}

/** The value of our CSS colours, for a canvas: `{ink: "rgb(…)", …}`. */
export function readColours(probe, names) {
  const style = getComputedStyle(probe);
  const colours = {};
  for (const name of names) {
    probe.style.color = `var(--mrk-${name})`;
    colours[name] = style.color;
  }
  colours.font = style.fontFamily;
  return colours;
}

const CALM = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)");

export function calm() {
  return CALM?.matches ?? false;
}
