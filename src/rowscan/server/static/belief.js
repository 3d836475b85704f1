// Belief: what the networks thought step by step, as an animation with two views: the line model
// along a line of writing, and the digit model down one digit.

import { Rows } from "./rows.js";
import { Strip } from "./strip.js";
import { say } from "./words.js";

const DURATION = { line: 2600, rows: 1100 }; // milliseconds for all steps

const at = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Belief {
  #views = { line: new Strip(at("strip")), rows: new Rows() };
  #has = { line: false, rows: false };
  #name = "line";
  #step = 0;
  #frame = 0;
  #answer = ""; // the text of the line, as it was read
  #onStep;

  /** `onView` is called with the view that is chosen, `onStep` with each step along a line. */
  constructor({ onView, onStep }) {
    this.#onStep = onStep;
    at("slider").addEventListener("input", () => {
      cancelAnimationFrame(this.#frame);
      this.#show(Number(at("slider").value));
    });
    at("play").addEventListener("click", () => this.#play());
    for (const name of ["line", "rows"]) {
      at(`view-${name}`).addEventListener("click", () => {
        if (name === this.#name) return;
        this.#name = name;
        this.#arrange();
        onView();
      });
    }
    new ResizeObserver(() => this.redraw()).observe(at("growth"));
  }

  get view() {
    return this.#name;
  }

  /** There is nothing to show. */
  clear() {
    cancelAnimationFrame(this.#frame);
    this.#has = { line: false, rows: false };
    at("growth").hidden = true;
    at("belief-hint").hidden = false;
    this.#onStep(null);
  }

  /** Show the explanation of a line, played from left to right or up to one of its characters. */
  setLine(found, character = null) {
    this.#answer = found.text;
    this.#take("line", found);
    if (character === null && !still.matches) this.#play();
    else this.#show(character === null ? this.#view.steps : this.#view.stepOf(character));
  }

  /** Show the explanation of a digit, row by row. */
  setRows(found) {
    this.#take("rows", found);
    if (still.matches) this.#show(found.belief.length);
    else this.#play();
  }

  /** Draw again: in another size, language or colour. */
  redraw() {
    if (this.#has[this.#name] && this.#step) this.#show(this.#step);
  }

  get #view() {
    return this.#views[this.#name];
  }

  #take(name, found) {
    cancelAnimationFrame(this.#frame);
    this.#name = name;
    this.#has[name] = true;
    this.#views[name].set(found);
    at("growth").hidden = false;
    at("belief-hint").hidden = true;
    this.#arrange();
    at("slider").max = this.#view.steps;
  }

  #arrange() {
    cancelAnimationFrame(this.#frame);
    this.#step = 0;
    for (const name of ["line", "rows"]) {
      at(`${name}-view`).hidden = name !== this.#name;
      at(`view-${name}`).setAttribute("aria-pressed", String(name === this.#name));
    }
    this.#onStep(null);
  }

  #play() {
    const { steps } = this.#view;
    const start = performance.now();
    cancelAnimationFrame(this.#frame);
    const frame = (now) => {
      const share = Math.min(Math.max((now - start) / DURATION[this.#name], 0), 1);
      this.#show(Math.max(1, Math.round(share * steps)));
      if (share < 1) this.#frame = requestAnimationFrame(frame);
    };
    this.#frame = requestAnimationFrame(frame);
  }

  #show(step) {
    const last = step === this.#view.steps;
    const text = this.#view.show(step);
    this.#step = step;
    at("step").textContent = text;
    at("slider").value = step;
    at("slider").setAttribute("aria-valuetext", text);
    if (this.#name === "rows") {
      at("path").textContent = last ? this.#view.way() : "";
      return;
    }
    const soFar = this.#view.soFar(step);
    at("so-far").textContent = soFar || "–";
    const changed = last && soFar !== this.#answer && !this.#answer.includes("?");
    at("path").textContent = changed ? say("lookedAgain", this.#answer) : "";
    this.#onStep(last ? null : step);
  }
}
