// Before anything is painted: the theme that was chosen on an earlier visit. Not a module, since
// those wait until the page has been parsed, and it would flash.
try {
  const chosen = localStorage.getItem("rowscan.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; the system's theme is good enough.
}
