// Light, dark, or as the system has it; remembered where the browser allows.

const CHOICES = ["system", "light", "dark"];
const KEY = "chaski-theme";

/** Makes a button change the theme. */
export function theme(button) {
  let choice = remembered();
  apply(choice, button);
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    try { localStorage.setItem(KEY, choice); } catch { /* Then it lasts as long as the page. */ }
    apply(choice, button);
  });
}

function apply(choice, button) {
  if (choice === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  button.textContent = `Theme: ${choice}`;
}

function remembered() {
  try {
    const choice = localStorage.getItem(KEY);
    return CHOICES.includes(choice) ? choice : "system";
  } catch {
    return "system";
  }
}
