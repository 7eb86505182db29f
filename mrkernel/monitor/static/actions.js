// Buttons for what can be done from here: drawn only if the source offers it.

import { make, mark, say, show } from "./page.js";

/** Whether `source.act(name, …)` works; `source.actions` may change while the view lives. */
export function offers(source, name) {
  return typeof source?.act === "function" && [...(source.actions ?? [])].includes(name);
}

/**
 * One button. With `ask` it asks first, in place: a host may forbid dialogs.
 * `source.act(name, about)` may return a promise; its error is said beside the button.
 */
export class Action {
  constructor(parent, source, { name, label, busy, ask, about = {} }) {
    Object.assign(this, { source, name, label, busy, ask, about });
    this.box = make("span", "mrk-action", parent);
    this.button = make("button", "mrk-button", this.box, { type: "button", "data-action": name });
    this.button.textContent = label;
    this.button.addEventListener("click", () => (ask ? this.arm(true) : this.run()));
    if (ask) {
      this.question = make("span", "mrk-ask", this.box, { role: "group", "aria-label": ask });
      make("span", "", this.question).textContent = ask;
      this.yes = make("button", "mrk-button mrk-danger", this.question, { type: "button" });
      this.yes.textContent = label;
      this.yes.addEventListener("click", () => this.run());
      this.no = make("button", "mrk-button", this.question, { type: "button" });
      this.no.textContent = "No";
      this.no.addEventListener("click", () => this.arm(false));
      this.question.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        this.arm(false);
      });
      show(this.question, false);
    }
    this.refused = make("span", "mrk-refused", this.box, { role: "alert" });
  }

  draw(wanted = true) {
    show(this.box, wanted && offers(this.source, this.name));
  }

  arm(armed) {
    show(this.question, armed);
    show(this.button, !armed);
    (armed ? this.no : this.button).focus();
  }

  async run() {
    if (this.ask) this.arm(false);
    this.button.disabled = true;
    say(this.button, this.busy ?? `${this.label} …`);
    say(this.refused, "");
    try {
      await this.source.act(this.name, this.about);
    } catch (error) {
      say(this.refused, String(error?.message ?? error));
    } finally {
      this.button.disabled = false;
      say(this.button, this.label);
      mark(this.button, "data-tried", true);
    }
  }
}
