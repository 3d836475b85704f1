// Sets the theme of an earlier visit before anything is painted. Not a module, because modules
// wait until the page has been parsed, and the page would flash.
try {
  const chosen = localStorage.getItem("rowscan.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage can be forbidden; then the theme of the system is used.
}
