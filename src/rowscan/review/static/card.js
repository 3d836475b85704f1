// Card: one line or field, cut out of its picture, with its text in a control and the doubtful
// characters marked.

import { control } from "./control.js";
import { frame, paint, position } from "./cutout.js";
import { percent, say } from "./words.js";

const SURE = 0.9; // as `rowscan evaluate` counts what is "wrong and sure"
/** A space that is doubtful has to be seen. */
const visible = (character) => (character === " " ? "␣" : character);
const APART = 30; // pixels between the marks of two characters: the width of "or 7"

/** The characters that a model was not sure of. */
function doubtful(line) {
  return (line.characters ?? []).filter((c) => c.confidence < SURE);
}

/** Places from 0 to 1 in order, moved so far to the right that none covers the one before. */
function spread(places, width) {
  const least = Math.min(APART / width, 1 / (places.length + 1));
  let last = -1;
  return places.map((place) => (last = Math.max(place, last + least)));
}

export class Card {
  #view = document.createElement("div");
  #canvas = document.createElement("canvas");
  #marks = document.createElement("div");
  #check = document.createElement("p");
  #picture = null;

  /** `picture` is the image that shows the line, and its width and height in pixels of the line. */
  constructor(line, picture, [number, count], hears) {
    this.line = line;
    this.#picture = picture;
    this.element = document.createElement("div");
    this.element.className = "card";
    this.element.dataset.line = line.line;
    this.#view.className = "view";
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", say("crop", line.field ?? number, count));
    this.#canvas.addEventListener("click", () => hears.onWhole(line));
    this.#marks.className = "marks";
    this.#view.append(this.#canvas, this.#marks);
    this.#marks.id = `marks-${line.line}`;
    this.sureness = document.createElement("span");
    this.sureness.className = "sureness";
    if (line.field) this.#nameField();
    this.element.append(this.#view);
    if (!this.isPicture) this.element.append(this.#row(number, count, hears));
    if (line.field && !this.isPicture) this.#addCheck();
    this.seal();
  }

  /** Whether nothing is asked: a field that is kept as a picture. */
  get isPicture() {
    return this.line.kind === "text";
  }

  /** Whether a person has to look: any line, or a doubtful field that nobody has decided on. */
  get isAsked() {
    return !this.line.field || (this.line.doubtful && this.line.state === "read");
  }

  #nameField() {
    const { field, doubtful: large } = this.line;
    this.element.classList.add("of-form");
    this.element.classList.toggle("large", Boolean(large));
    const head = document.createElement("div");
    head.className = "field-name";
    const name = document.createElement("b");
    name.textContent = field;
    head.append(name, this.sureness);
    this.element.append(head);
  }

  #row(number, count, hears) {
    const { line } = this;
    const label = line.field ? say("fieldOf", line.field) : say("field", number, count);
    this.control = control(line, label, (text) => hears.onType(line, text));
    this.control.target.setAttribute("aria-description", this.#described());
    const row = document.createElement("div");
    row.className = "row";
    row.append(this.control.element);
    if (line.field) return row;
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "remove";
    remove.textContent = "×";
    remove.setAttribute("aria-label", say("remove"));
    remove.title = say("remove");
    remove.addEventListener("click", () => hears.onRemove(line));
    row.append(this.sureness, remove);
    return row;
  }

  get field() {
    return this.control?.target;
  }

  #described() {
    return doubtful(this.line)
      .map((c) => say("doubt", visible(c.character), percent(c.confidence), c.runner_up?.character))
      .join(". ");
  }

  #addCheck() {
    this.#check.className = "check";
    this.#check.setAttribute("aria-live", "polite");
    this.element.append(this.#check);
    this.tellCheck();
  }

  /** Say what is expected in a field, and what is wrong with what stands there. It forbids nothing. */
  tellCheck() {
    const { status, broken = [] } = this.line;
    const states = { ...say("fieldStates") };
    if (!this.line.box[2]) states.unreadable = states.missing;
    const rules = broken.map((rule) => states[rule] ?? say("rule", rule));
    const wrong = [...new Set([states[status], ...rules])].filter(Boolean);
    this.#check.classList.toggle("wrong", wrong.length > 0);
    this.#check.textContent = [say("expected", this.line), ...wrong].filter(Boolean).join(" · ");
  }

  /** Show how sure the text is, or that somebody has decided. */
  seal() {
    const { state, confidence } = this.line;
    const decided = state === "accepted" || state === "typed";
    this.element.classList.toggle("sealed", state === "accepted");
    const shown = !decided && confidence !== null && !this.isPicture;
    this.sureness.textContent = shown ? percent(confidence) : "";
  }

  /** Draw the line as large as there is room; its box has to be in the picture. */
  draw(room) {
    const missing = !this.line.box[2]; // of a form whose page is not there
    this.#view.hidden = missing;
    if (missing) return;
    const part = frame(this.line, this.#picture);
    paint(this.#canvas, part, this.#picture, room);
    this.#mark(part);
  }

  /** Below the picture what was read, each character under its ink. */
  #mark(part) {
    const small = this.line.field && !this.line.doubtful;
    const characters = small ? [] : (this.line.characters ?? []);
    this.#marks.hidden = characters.length === 0;
    const doubted = new Set(doubtful(this.line));
    const middles = characters.map(({ box }) => position(part, box));
    const places = spread(middles, this.#canvas.clientWidth || 1);
    const marks = characters.map((c, i) => {
      const rival = doubted.has(c) && c.runner_up;
      const mark = document.createElement(rival ? "button" : "span");
      mark.className = "mark";
      mark.classList.toggle("doubtful", doubted.has(c));
      const read = document.createElement("b");
      read.textContent = doubted.has(c) ? visible(c.character) : c.character;
      mark.append(read);
      if (rival) {
        mark.type = "button";
        mark.tabIndex = -1; // the keyboard has r
        mark.setAttribute("aria-label", say("or", visible(rival.character)));
        const other = document.createElement("small");
        other.textContent = say("or", visible(rival.character));
        mark.append(other);
        mark.addEventListener("click", () => this.swap(i));
      }
      mark.style.left = `${100 * places[i]}%`;
      return mark;
    });
    this.#marks.replaceChildren(...marks);
  }

  /** Whether the field holds what was read, so that characters have their places in it. */
  get #asRead() {
    return this.isText && this.field.value.length === (this.line.characters ?? []).length;
  }

  /** Whether its control is a text to type. */
  get isText() {
    return this.field?.type === "text";
  }

  /** Select the next doubtful character after the caret; after the last one, the first. */
  selectDoubtful(from = 0) {
    if (this.isPicture) return;
    this.control.focus();
    if (!this.isText) return;
    if (this.#asRead) {
      const { characters } = this.line;
      const doubted = doubtful(this.line);
      const places = [...characters.keys()].filter((i) => doubted.includes(characters[i]));
      const i = places.find((place) => place >= from) ?? places[0];
      if (i !== undefined) return this.field.setSelectionRange(i, i + 1);
    }
    const end = this.field.value.length;
    this.field.setSelectionRange(end, end);
  }

  /** Put the runner-up of a character into the field; again, what was read. */
  swap(i = this.#swappable()) {
    const character = this.line.characters?.[i];
    if (!character?.runner_up || !this.#asRead) return;
    const { value } = this.field;
    const other = value[i] === character.character ? character.runner_up.character : character.character;
    this.field.focus();
    this.field.value = value.slice(0, i) + other + value.slice(i + 1);
    this.field.setSelectionRange(i, i + 1);
    this.field.dispatchEvent(new Event("input"));
  }

  /** The selected character if it has a runner-up, or else the most doubtful one. */
  #swappable() {
    const characters = this.line.characters ?? [];
    const { selectionStart, selectionEnd } = this.field;
    if (selectionEnd === selectionStart + 1 && characters[selectionStart]?.runner_up) return selectionStart;
    const open = [...characters.keys()].filter((i) => characters[i].runner_up);
    return open.sort((a, b) => characters[a].confidence - characters[b].confidence)[0];
  }
}
