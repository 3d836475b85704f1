// The button that switches between light and dark. `theme.js` sets the theme of an earlier visit.

import { remember, say } from "./words.js";

export class ThemeButton {
  #button;
  #system = matchMedia("(prefers-color-scheme: dark)");

  /** `onChange` is called after each change, of the system's theme too. */
  constructor(button, { onChange = () => {} } = {}) {
    this.#button = button;
    const changed = () => {
      this.name();
      onChange();
    };
    button.addEventListener("click", () => {
      const theme = this.#isDark() ? "light" : "dark";
      document.documentElement.dataset.theme = theme;
      remember("theme", theme);
      changed();
    });
    this.#system.addEventListener("change", changed);
  }

  /** Say in the language of the page which theme the button leads to. */
  name() {
    this.#button.dataset.words = this.#isDark() ? "light" : "dark";
    this.#button.textContent = say(this.#button.dataset.words);
  }

  #isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : this.#system.matches;
  }
}
