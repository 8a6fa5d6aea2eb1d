// Errors of a form. Each is shown once: at its field, or in the form's report if it has no field.

import { element } from "./dom.js";

// FieldError is a mistake in the input of one field.
export class FieldError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

export function clearErrors(form) {
  for (const error of form.querySelectorAll(".field > .error")) {
    error.remove();
  }
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

// showError shows an error at a field, and tells whether the form has that field.
export function showError(form, name, text) {
  const input = form?.querySelector(`.field [name="${CSS.escape(name)}"]`);
  if (!input) {
    return false;
  }
  const id = `error-${++shown}`;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby",
    [input.getAttribute("aria-describedby"), id].filter(Boolean).join(" "));
  input.closest(".field").append(element("p", { className: "error", id }, text));
  return true;
}

let shown = 0; // makes ids

// focusError puts the focus on the first field with an error.
export const focusError = (form) => form.querySelector("[aria-invalid]")?.focus();
