// Control: where the text of a line or field is typed, ticked or chosen. Each has `value`, `element`,
// `focus()`, `target`: what has the focus, and `clear()` where nothing may be written.

import { say } from "./words.js";

let groups = 0;

/** A text to type. */
function typed(line, label, onType) {
  const field = document.createElement("input");
  field.className = "field";
  field.type = "text";
  field.value = line.text;
  field.autocomplete = "off";
  field.spellcheck = false;
  field.maxLength = 1000;
  field.setAttribute("autocapitalize", "off");
  // A phone's keyboard of digits lacks most signs.
  field.inputMode = /^[\d.,]*$/.test(line.text) ? "decimal" : "text";
  field.setAttribute("aria-label", label);
  field.addEventListener("input", () => onType(field.value));
  return {
    element: field,
    target: field,
    get value() {
      return field.value;
    },
    focus: () => field.focus(),
    clear() {
      field.value = "";
      onType("");
    },
  };
}

/** Something to tick or to choose: an input with its text. */
function option(type, text, { name = "", checked }) {
  const label = document.createElement("label");
  label.className = "option";
  const input = document.createElement("input");
  input.className = "field";
  input.type = type;
  input.name = name;
  input.checked = checked;
  const said = document.createElement("span");
  said.textContent = text;
  label.append(input, said);
  return { label, input, said };
}

/** A box to tick. */
function ticked(line, label, onType) {
  const { label: element, input, said } = option("checkbox", "", { checked: line.text === "yes" });
  input.indeterminate = line.text === ""; // it could not be seen
  const tell = () => {
    said.textContent = input.indeterminate ? "?" : say(input.checked ? "ticked" : "notTicked");
  };
  tell();
  input.setAttribute("aria-label", label);
  input.addEventListener("change", () => {
    tell();
    onType(input.checked ? "yes" : "no");
  });
  return {
    element,
    target: input,
    get value() {
      return input.indeterminate ? "" : input.checked ? "yes" : "no";
    },
    focus: () => input.focus(),
  };
}

/** One of several options, or none of them. */
function chosen(line, label, onType) {
  const element = document.createElement("div");
  element.className = "options";
  element.setAttribute("role", "radiogroup");
  element.setAttribute("aria-label", label);
  const name = `choice-${groups++}`;
  // Where two boxes are marked, what was read is both.
  const inputs = [...new Set([...(line.options ?? []), line.text, ""])].map((text) => {
    const one = option("radio", text || say("noOption"), { name, checked: line.text === text });
    one.input.value = text;
    one.input.addEventListener("change", () => onType(text));
    element.append(one.label);
    return one.input;
  });
  const current = () => inputs.find((input) => input.checked);
  return {
    element,
    get target() {
      return current() ?? inputs[0];
    },
    get value() {
      return current()?.value ?? line.text;
    },
    focus() {
      this.target.focus();
    },
    clear() {
      inputs.find((input) => input.value === "").checked = true;
      onType("");
    },
  };
}

/** The control for a line, or for a field of its kind; `onType` hears each change. */
export function control(line, label, onType) {
  const make = { tick: ticked, choice: chosen }[line.kind] ?? typed;
  return make(line, label, onType);
}
