// Amounts are integers in a currency's minor unit, as everywhere in the service: 4999 USD is 49.99.
// No number here has a fraction. The page has the digits of each currency (ISO 4217) from the
// service's table.

import { element } from "./dom.js";
import { FieldError } from "./field_errors.js";

const digits = new Map(Array.from(document.querySelectorAll("#currencies option"),
  (option) => [option.value, Number(option.dataset.digits)]));

// money shows an amount, aligned with others.
export const money = (minor, currency) =>
  element("span", { className: "money" }, formatMoney(minor, currency));

// formatMoney is an amount as text: formatMoney(-123456789, "USD") is "−1 234 567.89 USD". Every
// amount of the service is a safe integer.
export function formatMoney(minor, currency) {
  if (!digits.has(currency)) { // the currency is newer than this page
    return `${minor} minor units of ${currency}`;
  }
  const [, sign, whole, fraction] = /^(-?)(\d+)(.*)$/.exec(typedMoney(minor, currency));
  return `${sign && "−"}${whole.replace(/\B(?=(\d{3})+$)/g, "\u202f")}${fraction} ${currency}`;
}

// typedMoney is an amount as a person types it: typedMoney(-5, "USD") is "-0.05".
export function typedMoney(minor, currency) {
  const exponent = digits.get(currency);
  const [, sign, figures] = /^(-?)(\d+)$/.exec(String(minor));
  const padded = figures.padStart(exponent + 1, "0");
  const whole = padded.slice(0, padded.length - exponent);
  return sign + whole + (exponent > 0 ? "." + padded.slice(-exponent) : "");
}

// parseMoney converts an amount that was typed in major units, in the field of this name, into
// minor units: parseMoney("49.9", "USD") is 4990. It never rounds: it refuses too many digits.
export function parseMoney(text, currency, name = "amount") {
  const exponent = digits.get(currency);
  if (exponent === undefined) {
    throw new FieldError("currency", `${currency || "An empty text"} is not a currency. ` +
      "Its code has three letters, such as USD.");
  }
  const match = /^(\d+)(?:\.(\d+))?$/.exec(text.trim());
  if (!match) {
    const example = exponent > 0 ? "49." + "9".repeat(exponent) : "4999";
    throw new FieldError(name, `“${text}” is not an amount. Write it as ${example}.`);
  }
  const fraction = match[2] ?? "";
  if (fraction.length > exponent) {
    throw new FieldError(name,
      `${currency} has ${exponent} decimal digits, and “${text}” has ${fraction.length}.`);
  }
  const minor = Number(match[1] + fraction.padEnd(exponent, "0"));
  if (!Number.isSafeInteger(minor)) { // 2⁵³ − 1, by the contract
    throw new FieldError(name, `“${text}” is more than any amount may be.`);
  }
  return minor;
}
